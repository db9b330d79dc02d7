package lease

import (
	"context"
	"log/slog"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// noOutcome is the delay before a message is claimed again for which Process
// returned nothing: a fault of ours, which must neither lose it nor spin.
const noOutcome = time.Second

// slot is one unit of a lane's concurrency: it takes work and runs it, until
// the pump closes the channel.
func (e *Engine) slot(ctx context.Context, l *lane) {
	work := make([]*hand, 0, l.Batch)
	for h := range l.work {
		if e.stopping.Load() {
			e.settle(h, store.Outcome{Kind: store.Release})
			continue
		}
		work = append(work[:0], h)
		if l.Batch > 1 {
			l.filled()
		}
		for len(work) < l.Batch {
			next, ok := l.more()
			if !ok {
				break
			}
			work = append(work, next)
		}
		e.process(ctx, l, work)
	}
}

// filled waits until the messages of a claim are all there.
func (l *lane) filled() {
	l.filling.Lock()
	defer l.filling.Unlock()
}

// more takes another message if one is there.
func (l *lane) more() (*hand, bool) {
	select {
	case h, ok := <-l.work:
		return h, ok
	default:
		return nil, false
	}
}

// process runs one piece of work and enters its outcomes.
func (e *Engine) process(ctx context.Context, l *lane, work []*hand) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, lost, late := e.hands.begin(work, time.Now(), cancel)
	for _, h := range late {
		e.log.Warn("lease ran out before the handler began", slog.String("queue", l.Name), slog.Int64("message_id", h.ID))
	}
	for _, h := range lost {
		e.ledger.add(entry{hand: h}) // nothing to write
	}
	if len(work) == 0 {
		return
	}
	rows := work[0].row[:]
	if len(work) > 1 {
		rows = make([]store.Claimed, len(work))
		for i, h := range work {
			rows[i] = h.row[0]
		}
	}
	began := time.Now()
	outcomes := l.Process(ctx, rows)
	ran := time.Since(began)
	l.ran(ran, len(work))

	for i, h := range work {
		o := store.Outcome{Kind: store.Release, Delay: noOutcome}
		if i < len(outcomes) {
			o = outcomes[i]
		} else {
			e.log.Error("a message got no outcome", slog.String("queue", h.lane.Name), slog.Int64("message_id", h.ID))
		}
		o.Ran = ran
		e.settle(h, o)
	}
}

// settle enters the outcome of one message.
func (e *Engine) settle(h *hand, o store.Outcome) {
	o.Lease, h.row[0] = h.Lease, store.Claimed{}
	lost := e.hands.settle(h)
	if lost && o.Kind != 0 {
		// Somebody else may have the row by now; the token guard would turn
		// the write away.
		e.log.Warn("lease was lost while the message was handled; the outcome is not written",
			slog.String("queue", h.lane.Name), slog.Int64("message_id", h.ID))
		o.Kind = 0
	}
	e.ledger.add(entry{hand: h, outcome: o})
}
