package postgres

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// PeekPlace is where a page ends. The zero place is before all.
type PeekPlace struct {
	// At is a time in microseconds since 1970, or "infinity" or "-infinity".
	At string
	ID int64
	// Tie says that it is within a large tie, which is read from Pivot on and then,
	// Below, up to Pivot.
	Tie, Below bool
	Pivot      int64
}

const (
	// lastID is behind all messages of a time.
	lastID = math.MaxInt64
	// firstMicros is the first time that PostgreSQL has.
	firstMicros = -210866803200000000
)

// String is the place as text for people's hands.
func (p PeekPlace) String() string {
	s := p.At + "." + strconv.FormatInt(p.ID, 10)
	switch {
	case p.Below:
		s += "b" + strconv.FormatInt(p.Pivot, 10)
	case p.Tie:
		s += "a" + strconv.FormatInt(p.Pivot, 10)
	}
	return s
}

var peekPlace = regexp.MustCompile(`^(-?\d+|-?infinity)\.(-?\d+)(?:([ab])(-?\d+))?$`)

// ParsePeekPlace reads what [PeekPlace.String] wrote; ok is false where it did not.
func ParsePeekPlace(text string) (p PeekPlace, ok bool) {
	m := peekPlace.FindStringSubmatch(text)
	if m == nil {
		return p, false
	}
	p = PeekPlace{At: m[1], Tie: m[3] != "", Below: m[3] == "b"}
	p.ID, _ = strconv.ParseInt(m[2], 10, 64)
	p.Pivot, _ = strconv.ParseInt(m[4], 10, 64)
	return p, p.String() == text && p.inRange()
}

// inRange says that PostgreSQL has such a time.
func (p PeekPlace) inRange() bool {
	us, err := strconv.ParseInt(p.At, 10, 64)
	return err != nil && strings.HasSuffix(p.At, "infinity") || err == nil && us >= firstMicros && us < math.MaxInt64
}

// from is where a walk begins: at a time, behind an id.
func (p PeekPlace) from() (at string, id int64) {
	switch {
	case p == PeekPlace{}:
		return "-infinity", math.MinInt64
	case p.ID != lastID:
		return p.time(), p.ID
	case p.At == "-infinity":
		return PeekPlace{At: strconv.FormatInt(firstMicros, 10)}.time(), math.MinInt64
	}
	us, _ := strconv.ParseInt(p.At, 10, 64)
	return PeekPlace{At: strconv.FormatInt(us+1, 10)}.time(), math.MinInt64
}

// time is the place's time as PostgreSQL reads it.
func (p PeekPlace) time() string {
	us, err := strconv.ParseInt(p.At, 10, 64)
	if err != nil {
		return p.At
	}
	at := fromMicros(&us)
	if year := at.Year(); year < 1 {
		return fmt.Sprintf("%04d-%s BC", 1-year, at.Format("01-02 15:04:05.999999+00"))
	}
	return timestamp(at)
}
