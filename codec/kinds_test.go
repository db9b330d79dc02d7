package codec_test

import (
	"encoding/json"
	"time"
)

// kinds is a message with one of everything that messages are made of.
type kinds struct {
	stamp
	*origin
	ID       int64             `json:"id"`
	Name     string            `json:"name"`
	Note     *string           `json:"note,omitempty"`
	UUID     [16]byte          `json:"uuid"`
	Raw      json.RawMessage   `json:"raw"`
	Blob     []byte            `json:"blob"`
	At       time.Time         `json:"at"`
	Wait     time.Duration     `json:"wait"`
	Tags     []string          `json:"tags"`
	Labels   map[string]string `json:"labels"`
	Counts   map[int64]uint32  `json:"counts"`
	Parent   *kinds            `json:"parent"`
	Lines    []line            `json:"lines"`
	Anything any               `json:"anything"`
	Ratio    float64           `json:"ratio"`
	Flag     bool              `json:"flag"`
	//lint:ignore U1000 an unexported field is neither written nor read
	hidden int
}

type stamp struct {
	Version int `json:"version"`
}

type origin struct {
	Host string `json:"host"`
}

type line struct {
	SKU   string `json:"sku"`
	Count uint16 `json:"count"`
}

func filled() kinds {
	note := "left at the door"
	return kinds{
		stamp:    stamp{Version: 3},
		ID:       1<<62 + 1,
		Name:     `<b> & "ü" 世界`,
		Note:     &note,
		UUID:     [16]byte{0: 1, 15: 0xff},
		Raw:      json.RawMessage(`{"a":[1,2]}`),
		Blob:     []byte{0, 1, 0xfe, 0xff},
		At:       time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC),
		Wait:     90 * time.Second,
		Tags:     []string{"a", ""},
		Labels:   map[string]string{"k": "v", "": "empty"},
		Counts:   map[int64]uint32{-1: 1, 1 << 40: 1<<32 - 1},
		Parent:   &kinds{ID: -1, Raw: json.RawMessage(`null`)},
		Lines:    []line{{SKU: "x", Count: 1}, {SKU: "y", Count: 65535}},
		Anything: map[string]any{"s": "t", "f": 1.5, "n": nil, "l": []any{true}},
		Ratio:    0.1,
		Flag:     true,
	}
}
