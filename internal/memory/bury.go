package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// DeadLetter is one row of the dead-letter table. Headers and Error are nil
// where the columns are null.
type DeadLetter struct {
	ID, OriginalID      int64
	Queue               string
	Payload, Headers    []byte
	TimerID             string
	Deliveries          int64
	CreatedAt, FailedAt time.Time
	Reason              string
	Error               *string
}

// maxReason is what the column of the reason holds, in characters.
const maxReason = 64

// Bury implements [store.Burier]. It fails where ctx has ended, a kind is
// wrong ([ErrKind]) or the table is broken ([Store.BreakDeadLetters]), and
// then nothing happened. A reason is cut to what its column holds, and text
// that PostgreSQL would not take is replaced, so that neither keeps a row
// from its grave.
func (s *Store) Bury(ctx context.Context, outcomes []store.Outcome) (moved, locked []int64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("bury: %w", err)
	}
	for _, o := range outcomes {
		if o.Kind != store.Bury {
			return nil, nil, fmt.Errorf("bury: row %d, kind %d: %w", o.ID, o.Kind, ErrKind)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadErr != nil {
		return nil, nil, fmt.Errorf("bury: %w", s.deadErr)
	}
	now := s.clock.now()
	for _, o := range outcomes {
		r := s.rows[o.ID]
		if r == nil || !r.heldBy(o.Lease) {
			continue
		}
		if s.locks[o.ID] != nil {
			locked = append(locked, o.ID)
			continue
		}
		s.remove(s.queue(r.Queue), r)
		s.lastDead++
		s.dead = append(s.dead, letterOf(s.lastDead, r, o, now))
		moved = append(moved, o.ID)
	}
	return moved, locked, nil
}

// letterOf is what a row becomes.
func letterOf(id int64, r *row, o store.Outcome, now time.Time) *DeadLetter {
	d := &DeadLetter{
		ID:         id,
		OriginalID: r.ID,
		Queue:      r.Queue,
		Payload:    r.Payload,
		Headers:    r.Headers,
		TimerID:    r.TimerID,
		Deliveries: r.Deliveries,
		CreatedAt:  r.CreatedAt,
		FailedAt:   now,
		Reason:     cut(text(o.Reason), maxReason),
	}
	if o.Error != "" {
		e := text(o.Error)
		d.Error = &e
	}
	return d
}

// DeadLetters is a copy of what the dead-letter table holds, by id.
func (s *Store) DeadLetters() []DeadLetter {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]DeadLetter, 0, len(s.dead))
	for _, l := range s.dead {
		d := *l
		d.Payload = slices.Clone(d.Payload)
		d.Headers = slices.Clone(d.Headers)
		if d.Error != nil {
			e := *d.Error
			d.Error = &e
		}
		out = append(out, d)
	}
	return out
}

// BreakDeadLetters makes every [Store.Bury] from now on fail with err, as
// where the dead-letter table cannot be written. Nil mends it.
func (s *Store) BreakDeadLetters(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadErr = err
}

// text is str as a text column takes it: in UTF-8, without NUL.
func text(str string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(str, "\uFFFD"), "\x00", "\uFFFD")
}

// cut is the first n characters of str.
func cut(str string, n int) string {
	for i := range str {
		if n == 0 {
			return str[:i]
		}
		n--
	}
	return str
}

// Inter writes a dead letter as it is but for its id, as a program that knows only
// the table would, and returns the id.
func (s *Store) Inter(d DeadLetter) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastDead++
	d.ID = s.lastDead
	d.CreatedAt, d.FailedAt = instant(d.CreatedAt), instant(d.FailedAt)
	s.dead = append(s.dead, &d)
	return d.ID
}
