package codec

// JSONOption is an option of [JSON].
type JSONOption interface{ applyJSON(*jsonSettings) }

// MsgPackOption is an option of [MsgPack].
type MsgPackOption interface{ applyMsgPack(*msgPackSettings) }

// Option is an option of both [JSON] and [MsgPack].
type Option interface {
	JSONOption
	MsgPackOption
}

type jsonSettings struct {
	strict    bool
	useNumber bool
}

type msgPackSettings struct {
	strict bool
	tag    string
}

// Strict makes a field of the payload that T does not have an error. The default is to pass over it, so that a producer
// can add a field before its consumers know it. Given twice, it means the same.
//
// The error does not name the field, since a key is part of the payload (T may be a map in disguise, keyed by customers);
// the bytes are in the dead letter.
func Strict() Option { return strict{} }

type strict struct{}

func (strict) applyJSON(s *jsonSettings)       { s.strict = true }
func (strict) applyMsgPack(s *msgPackSettings) { s.strict = true }

// UseNumber makes a number that is read into an interface a [encoding/json.Number], which keeps all its digits. The
// default is float64, which holds integers exactly only up to 2^53. Numbers read into a field of a numeric type are exact
// either way. Given twice, it means the same.
func UseNumber() JSONOption { return useNumber{} }

type useNumber struct{}

func (useNumber) applyJSON(s *jsonSettings) { s.useNumber = true }

// Tag names the struct tag that gives a field its name in MessagePack where it has no `msgpack` tag. The default is
// "json", so that a queue which moves from JSON to MessagePack keeps the names that its readers know; the empty string
// means that only `msgpack` tags count. Given twice, the last one counts.
func Tag(name string) MsgPackOption { return tag(name) }

type tag string

func (t tag) applyMsgPack(s *msgPackSettings) { s.tag = string(t) }
