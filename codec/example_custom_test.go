package codec_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"

	"github.com/letterbox-go/letterbox/codec"
)

// csvPlaced writes an order as one line of CSV. It has no state, and is safe for concurrent use.
type csvPlaced struct{}

func (csvPlaced) ContentType() string { return "text/csv; header=absent" }

func (csvPlaced) Append(dst []byte, v Placed) ([]byte, error) {
	line := bytes.NewBuffer(dst)
	w := csv.NewWriter(line)
	if err := w.Write([]string{strconv.FormatInt(v.ID, 10), v.Note}); err != nil {
		return nil, err
	}
	w.Flush()
	return line.Bytes(), w.Error()
}

func (csvPlaced) Decode(data []byte, v *Placed) error {
	records, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		return err // names a line and a column, and quotes nothing
	}
	if len(records) != 1 || len(records[0]) != 2 {
		return errors.New("want one line of two columns")
	}
	v.ID, err = strconv.ParseInt(records[0][0], 10, 64)
	if err != nil {
		return errors.New("the first column is no number") // the text of err would quote it
	}
	v.Note = records[0][1]
	return nil
}

// A codec of one's own is listed like any other. Here it writes, and what was written in JSON before is still read.
func ExampleCodec() {
	set, err := codec.NewSet[Placed](csvPlaced{}, codec.JSON[Placed]())
	if err != nil {
		fmt.Println(err)
	}

	data, err := set.Append(nil, Placed{ID: 1, Note: "fragile, heavy"})
	fmt.Printf("%q %v\n", data, err)

	placed, err := set.Decode("text/csv", data)
	fmt.Printf("%+v %v\n", placed, err)

	placed, err = set.Decode("application/json", []byte(`{"id":2}`))
	fmt.Printf("%+v %v\n", placed, err)

	_, err = set.Decode("text/csv", []byte("one,fragile"))
	fmt.Println(err)
	// Output:
	// "1,\"fragile, heavy\"\n" <nil>
	// {ID:1 Note:fragile, heavy} <nil>
	// {ID:2 Note:} <nil>
	// codec: decode codec_test.Placed from "text/csv": the first column is no number
}
