package queuetest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/queue"
)

// Box is a database in memory that has outboxes and nothing else. Each
// [queue.Outbox] that a queue names is there, empty at first. Make it with [New].
// It is safe for concurrent use, as a pool is; a transaction is not.
//
// Its clock stands still until [Box.Advance] moves it, or [Box.NewWorker] sets it
// going. It begins at [time.Now]: code that reckons due times from that is a little
// later than the clock of the box, unless the test runs in a bubble of
// testing/synctest.
type Box struct {
	t     testing.TB
	first *memory.Store // has the clock, and the tables of no name
	log   *slog.Logger

	mu         sync.Mutex
	stores     map[postgres.Names]*memory.Store
	hands      []*queue.Hand
	subscribed map[place]bool
	delivering bool // somebody is at it
	again      bool // and has to look once more
	gaveUp     bool // which the test has been told
}

type place struct {
	names postgres.Names
	queue string
}

var _ access.Memory = (*Box)(nil)

// New is a box with nothing in it. What its workers log goes to the test's output.
func New(t testing.TB) *Box {
	return &Box{
		t:          t,
		first:      memory.New(memory.Frozen()),
		log:        slog.New(slog.NewTextHandler(t.Output(), nil)),
		stores:     map[postgres.Names]*memory.Store{},
		subscribed: map[place]bool{},
	}
}

// Begin starts a transaction, as a pool does: what is published in it is there when
// it commits. Begin of a transaction makes a savepoint. A transaction that adds a
// timer which another is adding waits for that one's end, as on PostgreSQL.
func (b *Box) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &tx{box: b, under: b.first.Begin(pgx.ErrTxClosed), noSQL: noSQL{b}}, nil
}

// BeginTx is Begin: a transaction is read committed. Another isolation level, and a
// statement to begin with, are [ErrNoDatabase].
func (b *Box) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	if o.BeginQuery != "" || o.IsoLevel != "" && o.IsoLevel != pgx.ReadCommitted {
		return nil, b.refuse(fmt.Sprintf("BeginTx with %q %s", o.IsoLevel, o.BeginQuery))
	}
	return b.Begin(ctx)
}

// Now is the time by the clock of the box.
func (b *Box) Now() time.Time { return b.first.Now() }

// Store is where the messages of a table are. It is for package queue: outside this
// module, the types cannot be named.
func (b *Box) Store(n postgres.Names) *memory.Store {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stores[n]
	if s == nil {
		s = b.first.Beside()
		b.stores[n] = s
	}
	return s
}

// Deliver has the subscriptions handled at once: when a transaction commits, what is
// due is handled, on the goroutine of whoever commits, before Commit returns, one
// after the other in the order of due time and id; and so is what the handlers
// publish. What is there already is handled before Deliver returns.
//
// A message goes the way it goes in a worker: decoding, middleware, the handler in
// any of its forms, what it returns, the retry policy, the dead letters. Options
// are those of [queue.NewWorker]; those about leases and loops have no meaning.
// What is to be tried again, and what is due later, waits for [Box.Advance]. A
// handler that fails does not fail the commit: see [DeadLetters].
//
// While one goroutine delivers, it delivers what others commit too; they do not
// wait for it. Deliver can be called again, for other queues. What is wrong with
// subscriptions or options ends the test.
func (b *Box) Deliver(opts ...queue.WorkerOption) {
	b.t.Helper()
	hand, err := queue.NewHand(b, append([]queue.WorkerOption{queue.Logger(b.log)}, opts...)...)
	if err == nil {
		err = b.subscribe(hand)
	}
	if err != nil {
		b.t.Fatalf("queuetest: deliver: %v", err)
	}
	if err := hand.Start(b.t.Context()); err != nil {
		b.t.Fatalf("queuetest: deliver: %v", err)
	}
	b.mu.Lock()
	b.hands = append(b.hands, hand)
	b.mu.Unlock()
	b.deliver()
}

func (b *Box) subscribe(hand *queue.Hand) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range hand.Queues() {
		table, err := q.Table()
		if err != nil {
			return err
		}
		at := place{table.Names(), q.Name()}
		if b.subscribed[at] {
			return fmt.Errorf("queue %q is delivered already", q.Name())
		}
		b.subscribed[at] = true
	}
	return nil
}

// Advance moves the clock on by d, from one due message of [Box.Deliver] to the
// next, and delivers each at its time: a retry of a retry has its turn, too.
// Workers of [Box.NewWorker] find what has become due by themselves. In a handler
// it only moves the clock. Below zero is zero.
func (b *Box) Advance(d time.Duration) {
	b.t.Helper()
	until := b.Now().Add(d)
	for !b.busy() {
		due, ok := b.next()
		if !ok || due.At.After(until) {
			break
		}
		b.first.Advance(due.At.Sub(b.Now()))
		b.deliver()
	}
	b.first.Advance(until.Sub(b.Now()))
	b.deliver()
}

// NewWorker makes a worker with all its loops: [queue.NewWorker], with the same
// options and checks, on the box. It sets the clock of the box going, with
// [time.Now]. In a bubble of testing/synctest that is the bubble's time: the test
// sleeps through hours of retries, timers and leases in no time.
//
//	synctest.Test(t, func(t *testing.T) {
//		box := queuetest.New(t)
//		worker, err := box.NewWorker(placed.Handle(onPlaced))
//		...
//		go worker.Run(ctx)
//		...
//		time.Sleep(time.Hour)
//	})
//
// The context of Run must end before the bubble does. [queue.Background] is
// refused, for it wants a pool, and [queue.ListenOn].
func (b *Box) NewWorker(opts ...queue.WorkerOption) (*queue.Worker, error) {
	w, err := queue.NewMemoryWorker(b, append([]queue.WorkerOption{queue.Logger(b.log)}, opts...)...)
	if err != nil {
		return nil, err
	}
	b.first.Flow()
	return w, nil
}

// endless is how many times handlers may run in one go before that is taken for a
// chain that has no end.
const endless = 10_000

// deliver handles what is due, until nothing is. Where somebody is at it already,
// it leaves it to them.
func (b *Box) deliver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.again = true; b.delivering || b.gaveUp {
		return
	}
	b.delivering = true
	defer func() { b.delivering = false }() // a handler may end the test's goroutine
	for b.again && !b.gaveUp {
		b.again = false
		b.unlocked(b.deliverDue)
	}
}

// unlocked calls f without the lock.
func (b *Box) unlocked(f func()) {
	b.mu.Unlock()
	defer b.mu.Lock()
	f()
}

func (b *Box) deliverDue() {
	for n := 0; ; n++ {
		hand, due, ok := b.nextHand()
		if !ok || due.At.After(b.Now()) {
			return
		}
		err := hand.Deliver(b.t.Context())
		if n == endless {
			err = fmt.Errorf("%d messages have been delivered, and there is still one that is due: does a handler publish what it handles, or a policy retry without a delay?", n)
		}
		if err != nil {
			b.giveUp(err)
			return
		}
	}
}

// giveUp fails the test, and nothing is delivered at once any more.
func (b *Box) giveUp(err error) {
	b.t.Errorf("queuetest: %v", err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gaveUp = true
}

// next is what is delivered next.
func (b *Box) next() (queue.Due, bool) {
	_, due, ok := b.nextHand()
	return due, ok
}

func (b *Box) nextHand() (hand *queue.Hand, first queue.Due, ok bool) {
	b.mu.Lock()
	hands := b.hands
	b.mu.Unlock()
	for _, h := range hands {
		if due, there := h.Next(); there && (!ok || due.Compare(first) < 0) {
			hand, first, ok = h, due, true
		}
	}
	return hand, first, ok
}

// busy says that delivery is for others, or over.
func (b *Box) busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.delivering || b.gaveUp
}
