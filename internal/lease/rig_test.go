package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/store"
)

var errStore = errors.New("the store is broken")

// op is a method of the store.
type op string

const (
	exchange op = "exchange"
	bury     op = "bury"
	extend   op = "extend"
	giveBack op = "return"
	look     op = "look"
)

// call is one call of the store.
type call struct {
	op       op
	at       time.Time
	outcomes []store.Outcome
	claims   []store.Claim
	leases   []store.Lease
}

// faulty is a memory store that notes its calls, and in which a test decides
// what becomes of each.
type faulty struct {
	*memory.Store
	broken  atomic.Value // an error: the engine broke the store's contract
	payload []byte       // where not nil, of every message: so that large ones cost nothing

	mu     sync.Mutex
	calls  []call
	before func(ctx context.Context, c call) error // an error: the call is not made
	after  func(c call) error                      // an error: it was made, and the answer is lost
}

var _ store.Store = (*faulty)(nil)

// fail sets what becomes of calls; nil is nothing.
func (f *faulty) fail(before func(context.Context, call) error, after func(call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *faulty) do(ctx context.Context, c call, run func() error) error {
	c.at = time.Now()
	f.mu.Lock()
	f.calls = append(f.calls, c)
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil {
		if err := before(ctx, c); err != nil {
			return err
		}
	}
	if err := run(); err != nil {
		return err
	}
	if after != nil {
		return after(c)
	}
	return nil
}

// made lists the calls of the given kinds so far, or all.
func (f *faulty) made(ops ...op) []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []call
	for _, c := range f.calls {
		for _, o := range ops {
			if c.op == o {
				out = append(out, c)
			}
		}
		if len(ops) == 0 {
			out = append(out, c)
		}
	}
	return out
}

// forget starts the count anew.
func (f *faulty) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = nil
}

func (f *faulty) Exchange(ctx context.Context, outcomes []store.Outcome, claims []store.Claim) (done store.Exchanged, err error) {
	f.check(outcomes, claims)
	err = f.do(ctx, call{op: exchange, outcomes: outcomes, claims: claims}, func() (err error) {
		done, err = f.Store.Exchange(ctx, outcomes, claims)
		return err
	})
	if err != nil {
		return store.Exchanged{}, err
	}
	for _, b := range done.Batches {
		for i := range b.Messages {
			if f.payload != nil {
				b.Messages[i].Payload = f.payload
			}
		}
	}
	return done, nil
}

// check holds the engine to its half of the contract.
func (f *faulty) check(outcomes []store.Outcome, claims []store.Claim) {
	seen := map[store.Lease]bool{}
	for _, o := range outcomes {
		if seen[o.Lease] {
			f.broken.Store(fmt.Errorf("row %d appears twice", o.ID))
		}
		if o.Delay < 0 || o.Ran < 0 {
			f.broken.Store(fmt.Errorf("row %d: delay %v, ran %v", o.ID, o.Delay, o.Ran))
		}
		seen[o.Lease] = true
	}
	for _, c := range claims {
		if c.Limit <= 0 || c.Limit > maxClaim || c.Token == uuid.Nil {
			f.broken.Store(fmt.Errorf("claim of %d rows with token %v", c.Limit, c.Token))
		}
	}
}

func (f *faulty) Bury(ctx context.Context, outcomes []store.Outcome) (moved, locked []int64, err error) {
	err = f.do(ctx, call{op: bury, outcomes: outcomes}, func() (err error) {
		moved, locked, err = f.Store.Bury(ctx, outcomes)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return moved, locked, nil
}

func (f *faulty) Extend(ctx context.Context, leases []store.Lease) (held []int64, err error) {
	err = f.do(ctx, call{op: extend, leases: leases}, func() (err error) {
		held, err = f.Store.Extend(ctx, leases)
		return err
	})
	if err != nil {
		return nil, err
	}
	return held, nil
}

func (f *faulty) Return(ctx context.Context, queues []string, tokens []uuid.UUID) error {
	return f.do(ctx, call{op: giveBack}, func() error { return f.Store.Return(ctx, queues, tokens) })
}

func (f *faulty) Look(ctx context.Context, queues []store.Watch) (out []store.Outlook, err error) {
	err = f.do(ctx, call{op: look}, func() (err error) {
		out, err = f.Store.Look(ctx, queues)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// failing makes calls of the given kinds fail without effect.
func failing(ops ...op) func(context.Context, call) error {
	return func(_ context.Context, c call) error {
		for _, o := range ops {
			if c.op == o {
				return errStore
			}
		}
		return nil
	}
}

// hanging makes calls of the given kinds wait until they are given up.
func hanging(ops ...op) func(context.Context, call) error {
	return func(ctx context.Context, c call) error {
		for _, o := range ops {
			if c.op == o {
				<-ctx.Done()
				return ctx.Err()
			}
		}
		return nil
	}
}

// slow makes every call take d, in vain where its context ends before.
func slow(d time.Duration) func(context.Context, call) error {
	return func(ctx context.Context, _ call) error { return pause(ctx, d) }
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// line is one line of a log.
type line struct {
	level slog.Level
	text  string
}

// logbook collects what is logged.
type logbook struct {
	mu    sync.Mutex
	lines []line
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }
func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line{r.Level, r.Message})
	return nil
}

// count says how many lines there are of a level.
func (l *logbook) count(level slog.Level) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, li := range l.lines {
		if li.level == level {
			n++
		}
	}
	return n
}

// rig is an engine on a faulty store, in a bubble of time.
type rig struct {
	*faulty
	is     *is.I
	cfg    Config
	logs   *logbook
	engine *Engine
	cancel context.CancelFunc
	ended  chan error
}

// bubble runs a test in a bubble in which time passes only when everything
// waits. When it ends, no goroutine of the engine may be left: synctest fails.
func bubble(t *testing.T, test func(r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.abandon(t)
		test(r)
	})
}

// abandon ends the engine of a test that failed, for the failure to be seen.
func (r *rig) abandon(t *testing.T) {
	if !t.Failed() || r.cancel == nil {
		return
	}
	r.fail(nil, nil)
	r.cancel()
	<-r.ended
}

// pass lets time pass, and all that comes of it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func newRig(t *testing.T) *rig {
	f := &faulty{Store: memory.New()}
	r := &rig{faulty: f, is: is.New(t), logs: &logbook{}}
	r.cfg = Config{
		Store:     f,
		Poll:      20 * time.Second,
		BlindPoll: time.Second,
		Grace:     10 * time.Second,
		Log:       slog.New(r.logs),
	}
	return r
}

// queueOf is a queue with one slot that claims nothing ahead.
func queueOf(p Process) Queue {
	return Queue{Name: "q", Concurrency: 1, Batch: 1, Lease: time.Minute, Process: p}
}

// one is a Process for single messages.
func one(f func(ctx context.Context, m store.Claimed) store.Outcome) Process {
	return func(ctx context.Context, work []store.Claimed) []store.Outcome {
		out := make([]store.Outcome, len(work))
		for i, m := range work {
			out[i] = f(ctx, m)
		}
		return out
	}
}

// ack acknowledges everything.
var ack = one(func(context.Context, store.Claimed) store.Outcome { return store.Outcome{Kind: store.Ack} })

// start starts an engine that hears of what is published, and waits until it
// has nothing to do.
func (r *rig) start(queues ...Queue) {
	r.startDeaf(queues...)
	r.Listen(r.engine.Wake)
	r.engine.SetListening(true)
	synctest.Wait()
}

// startDeaf starts an engine that must poll.
func (r *rig) startDeaf(queues ...Queue) {
	r.cfg.Queues = queues
	r.engine = New(r.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.ended = make(chan error, 1)
	go func() {
		r.ended <- r.engine.Run(ctx)
		close(r.ended)
	}()
	synctest.Wait()
}

// stop stops the engine, and says how long its drain took.
func (r *rig) stop() (took time.Duration, err error) {
	began := time.Now()
	r.cancel()
	err = <-r.ended
	if broken := r.broken.Load(); broken != nil {
		r.is.NoErr(broken.(error))
	}
	return time.Since(began), err
}

// end stops the engine and wants a clean drain.
func (r *rig) end() {
	_, err := r.stop()
	r.is.NoErr(err)
}

func (r *rig) publish(drafts ...store.Draft) []int64 {
	ids, err := r.Publish(context.Background(), drafts...)
	r.is.NoErr(err)
	synctest.Wait()
	return ids
}

// drafts are n messages for the queue q.
func drafts(n int) []store.Draft {
	out := make([]store.Draft, n)
	for i := range out {
		out[i] = store.Draft{Queue: "q", Payload: []byte("payload")}
	}
	return out
}

// claimFor claims rows for a worker that is not there.
func (r *rig) claimFor(token uuid.UUID, n int) {
	got, err := r.Store.Exchange(context.Background(), nil, []store.Claim{{Queue: "q", Limit: n, Token: token}})
	r.is.NoErr(err)
	r.is.Equal(len(got.Batches[0].Messages), n)
}

// leased counts the rows that somebody holds.
func (r *rig) leased() (n int) {
	for _, row := range r.Rows() {
		if !row.ClaimedAt.IsZero() {
			n++
		}
	}
	return n
}

// crowd fills the burier's list, all but so many places, with what cannot be
// written. clear takes it off again.
func (r *rig) crowd(free int) (clear func()) {
	b := r.engine.burier
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = make([]entry, maxGraves-free)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waiting = slices.DeleteFunc(b.waiting, func(en entry) bool { return en.hand == nil })
	}
}

// inHand counts what the engine has claimed and not yet written back.
func (r *rig) inHand() int {
	r.engine.hands.mu.Lock()
	defer r.engine.hands.mu.Unlock()
	return len(r.engine.hands.all)
}

// tally counts deliveries by message.
type tally struct {
	mu   sync.Mutex
	seen map[int64]int
}

func (t *tally) add(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen = map[int64]int{}
	}
	t.seen[id]++
}

// ack is a Process that counts and acknowledges.
func (t *tally) ack() Process {
	return one(func(_ context.Context, m store.Claimed) store.Outcome {
		t.add(m.ID)
		return store.Outcome{Kind: store.Ack}
	})
}

// until lets time pass until n messages have been delivered.
func (t *tally) until(n int) {
	for {
		if got, _ := t.messages(); got >= n {
			return
		}
		pass(10 * time.Millisecond)
	}
}

// messages counts messages, and most how often one of them was delivered.
func (t *tally) messages() (n, most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, times := range t.seen {
		most = max(most, times)
	}
	return len(t.seen), most
}
