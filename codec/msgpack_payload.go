package codec

import "io"

// checkedPayload is a payload that was walked over, as the msgpack library reads it. The library takes the first byte of
// each value by ReadByte and what follows by Read, which tells whether it takes the body of an extension as bytes or
// steps into it.
type checkedPayload struct {
	data   []byte
	pos    int
	opaque []span // in order
	passed int    // how many of them lie before pos
}

func (p *checkedPayload) Read(b []byte) (int, error) {
	if p.pos >= len(p.data) && len(b) > 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[p.pos:])
	p.pos += n
	return n, nil
}

func (p *checkedPayload) ReadByte() (byte, error) {
	if p.pos >= len(p.data) {
		return 0, io.EOF
	}
	for p.passed < len(p.opaque) && p.pos >= p.opaque[p.passed].start {
		if p.pos < p.opaque[p.passed].end {
			return 0, &malformed{what: "an extension where another value is wanted", offset: int64(p.pos)}
		}
		p.passed++
	}
	c := p.data[p.pos]
	p.pos++
	return c, nil
}

// UnreadByte comes after a ReadByte only, which has let the byte pass.
func (p *checkedPayload) UnreadByte() error {
	p.pos--
	return nil
}
