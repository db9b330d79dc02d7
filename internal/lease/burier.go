package lease

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

const (
	// graveBatch is how many dead letters one statement writes.
	graveBatch = 500
	// maxGraves is how many may wait for a broken dead-letter table. What comes
	// beyond is handed back to the queue, with graveDelay before its next run.
	maxGraves  = 10_000
	graveDelay = time.Minute
	// strikes is how many writes in a row may fail before the table gets a rest:
	// enough to narrow a full batch down to the one message that is the cause.
	strikes = 4
)

// burier writes dead letters. It has a goroutine and statements of its own, so
// that a dead-letter table that is missing or broken holds up nothing else:
// the rows stay where they are, leased, until it is mended.
type burier struct {
	*Engine
	signal chan struct{}
	stop   context.CancelFunc // ends the goroutine
	cut    context.CancelFunc // ends the write that is under way
	done   sync.WaitGroup

	mu      sync.Mutex
	waiting []entry
	taken   int // off the list, being written

	size int // of the next batch; touched by whoever writes
}

func newBurier(e *Engine) *burier {
	return &burier{Engine: e, signal: make(chan struct{}, 1), size: graveBatch}
}

// start writes in the background until close.
func (b *burier) start(ctx context.Context) {
	calls, cut := context.WithCancel(ctx)
	ctx, b.stop = context.WithCancel(ctx)
	b.cut = cut
	b.done.Go(func() { b.run(ctx, calls) })
}

// close ends the background writing, and waits for it. A write that is under way
// is cut off only when ctx ends.
func (b *burier) close(ctx context.Context) {
	b.stop()
	defer context.AfterFunc(ctx, b.cut)()
	b.done.Wait()
}

// add hands entries over. It never blocks.
func (b *burier) add(graves []entry) {
	if len(graves) == 0 {
		return
	}
	b.mu.Lock()
	free := max(0, maxGraves-len(b.waiting)-b.taken)
	fits := min(free, len(graves))
	b.waiting = append(b.waiting, graves[:fits]...)
	b.mu.Unlock()
	b.handBack(graves[fits:], graveDelay)
	nudge(b.signal)
}

// handBack returns messages to their queue instead of burying them.
func (b *burier) handBack(graves []entry, delay time.Duration) {
	for i := range graves {
		graves[i].outcome.Kind = store.Release
		graves[i].outcome.Delay = delay
	}
	b.ledger.opened(len(graves))
	b.ledger.add(graves...)
}

// run writes until ctx ends; calls is the context of the writes.
func (b *burier) run(ctx, calls context.Context) {
	var backoff time.Duration
	for {
		var again <-chan time.Time
		switch {
		case backoff > 0:
			again = time.After(backoff)
		case b.len() > 0: // somebody has a row locked
			again = time.After(lockedPause)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-b.signals(backoff):
		}
		if err := b.write(calls); err != nil && ctx.Err() == nil {
			b.log.Error("cannot write dead letters; the messages stay in their queue, leased, and are tried again",
				slog.Int("messages", b.len()), b.failed(err))
			backoff = min(maxBackoff, max(firstBackoff, 2*backoff))
		} else {
			backoff = 0
		}
	}
}

// signals is heard only while writes succeed; after a failure the backoff rules.
func (b *burier) signals(backoff time.Duration) <-chan struct{} {
	if backoff > 0 {
		return nil
	}
	return b.signal
}

// write writes what is waiting, a batch at a time. After a failure the batch
// goes to the end of the list and the next one is smaller: where one message is
// the cause, the others pass it. What somebody has locked waits for the next call.
func (b *burier) write(ctx context.Context) error {
	var postponed []entry
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waiting = append(b.waiting, postponed...)
	}()
	for failures := 0; ; {
		batch := b.next()
		if len(batch) == 0 {
			return nil
		}
		outcomes := make([]store.Outcome, len(batch))
		for i, en := range batch {
			outcomes[i] = en.outcome
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		began := time.Now()
		moved, locked, err := b.cfg.Store.Bury(call, outcomes)
		cancel()
		b.tellBuried(batch, moved, time.Since(began), err)
		if err != nil {
			b.size = max(1, len(batch)/8)
			b.putBack(batch)
			if failures++; failures == strikes || ctx.Err() != nil {
				return err
			}
			continue
		}
		failures = 0
		b.size = min(graveBatch, 2*b.size)
		batch, left := part(batch, locked)
		for _, en := range left {
			en.outcome.Locked = true
			postponed = append(postponed, en)
		}
		b.finish(batch, moved)
	}
}

// next takes a batch off the list.
func (b *burier) next() []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(b.size, len(b.waiting))
	batch := append([]entry(nil), b.waiting[:n]...)
	b.waiting, b.taken = b.waiting[n:], n
	return batch
}

// putBack returns a batch whose write failed, or whose answer was lost.
func (b *burier) putBack(batch []entry) {
	for i := range batch {
		batch[i].again = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting, b.taken = append(b.waiting, batch...), 0
}

func (b *burier) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// finish ends the stay of a written batch.
func (b *burier) finish(batch []entry, moved []int64) {
	ok := make(map[int64]struct{}, len(moved))
	for _, id := range moved {
		ok[id] = struct{}{}
	}
	b.mu.Lock()
	b.taken = 0
	b.mu.Unlock()
	gone := make([]*hand, len(batch))
	for i, en := range batch {
		gone[i] = en.hand
		if _, did := ok[en.outcome.ID]; !did && !en.again {
			b.log.Warn("lease was lost before the dead letter was written; somebody else has the message",
				slog.String("queue", en.hand.lane.Name), slog.Int64("message_id", en.hand.ID))
			b.tellLost(en.hand, true)
		}
	}
	b.hands.drop(gone...)
}

// giveUp hands everything that is still waiting back, at the end of a drain.
func (b *burier) giveUp() {
	b.mu.Lock()
	rest := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	b.handBack(rest, 0)
}
