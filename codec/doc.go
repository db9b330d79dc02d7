// Package codec turns typed values into the bytes of a message and back. It stands alone: nothing in it knows of queues or
// databases.
//
// # The plain case
//
// There is nothing to choose. A queue made with typed.NewQueue[OrderPlaced]("orders.placed") writes JSON, and reads JSON
// and MessagePack. Where another encoding is wanted, name it:
//
//	var Reminders = typed.NewQueue("orders.reminders", codec.MsgPack[Reminder]())
//
// The type parameter is inferred from the codec; a codec for another type does not compile.
//
// # Choosing a codec
//
// [JSON] is read by everything, by people too. [MsgPack] is smaller and faster to read, and knows bytes, times and maps
// with keys that are no strings; read its documentation before moving to it. [Bytes] leaves the payload alone. Anything
// else is a type with the three methods of [Codec].
//
// # Changing it later
//
// Each message carries its content type, and a [Set] reads by it, so that messages written in two ways can lie in one
// queue. The first codec of a set writes, and all of them read:
//
//  1. Give the new codec to every reader, after the old one. Between JSON and MessagePack this step is done already, since
//     both are always read.
//  2. Put it first. From here on it writes.
//  3. Take the old one away once no message written by it is left, in the table of dead letters either.
//
// # Messages from elsewhere
//
// Content types are compared without their parameters and without regard to case, and common variants are understood, as
// [Set.Decode] lists them. A service in Python (faststream-outbox) shares the table: it writes its JSON as
// "application/json", a str as "text/plain", and bytes without any content type. List [Bytes] to read the last of these.
//
// # Errors
//
// What cannot be encoded is an [EncodeError], what cannot be decoded a [DecodeError]; both name the Go type and wrap the
// cause. A panic in a codec, or in a method of the type that it calls, becomes one of them around a [PanicError].
//
// The texts of errors go to logs and to the table of dead letters, where payloads may not be. So they hold what is wrong,
// where it is, Go types and names of fields, and nothing of the payload, not even the name of an unknown field or the
// text of an error that a type's own UnmarshalJSON returned, since many of those quote. The original error is one
// errors.As away. For a codec of one's own, its texts are kept as they are, and the promise is its author's to keep.
//
// # Hostile payloads
//
// No payload ends the process. Memory and stack stay in proportion to the payload's size: a MessagePack header that
// claims two billion elements is refused before anything is allocated, and so is nesting deeper than 10,000, the limit of
// encoding/json. How long a payload may be is not this package's to say.
package codec
