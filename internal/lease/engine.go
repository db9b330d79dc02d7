package lease

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Process runs claimed messages of one queue and returns one outcome for each,
// in their order. It must not panic. ctx is cancelled with a cause, [ErrLost] or
// [ErrShutdown], when running on is of no use; Process is then expected to
// return soon, and still says what became of each message. It keeps nothing of
// the slice when it has returned.
type Process func(ctx context.Context, work []store.Claimed) []store.Outcome

// Queue configures the delivery of one queue.
type Queue struct {
	Name string
	// Concurrency is how many Process calls run at once; at least one.
	Concurrency int
	// Batch is the most messages that one call gets; at least one.
	Batch int
	// Ahead is how many messages are claimed beyond those being processed; below
	// zero, as many as run times say, at most 2,000.
	Ahead int
	// Lease is how long a claim lasts without being extended.
	Lease   time.Duration
	Process Process
	// Hold, where not nil, handles the queue instead of Process: one call
	// takes up to the claim's limit of messages, handles and settles them in a
	// transaction of its own, without a lease. Where it holds any, it calls found
	// with them before it handles them. Ahead is then of no meaning. It must not
	// panic.
	Hold func(ctx context.Context, c store.Claim, found func(Held)) (Held, error)
}

// Config is what an engine needs. The caller has checked it.
type Config struct {
	Store  store.Store
	Queues []Queue
	// Poll is how often to look for what no notification told, while
	// notifications come; BlindPoll while they do not.
	Poll, BlindPoll time.Duration
	// Grace is how long running work may go on after the engine is told to stop.
	Grace time.Duration
	Log   *slog.Logger
	// Sleeper, where not nil, is told when queues fall asleep, for notifications
	// come only to those that do.
	Sleeper Sleeper
	// Explain turns an error of the store into one for people, and nil into nil;
	// may be nil.
	Explain func(error) error
	// Observer, where not nil, is told what happens.
	Observer Observer
}

// Bounds of the end of a drain, after the grace period.
const (
	// cancelWait is how long cancelled work may take to return.
	cancelWait = 2 * time.Second
	// lastWrites is how long the final writes may take.
	lastWrites = 2 * time.Second
	// DrainBound is the longest that Run goes on after the grace period.
	DrainBound = cancelWait + lastWrites + time.Second
)

// Engine delivers the messages of some queues of one table.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	lanes  []*lane
	byName map[string]*lane
	held   map[string]*holder // queues with Hold
	hands  *hands
	ledger *ledger
	pump   *pump
	burier *burier
	untold []string // the drain's: queues whose other workers are to be told

	wake      chan struct{} // Wake, SetListening
	stopping  atomic.Bool
	listening atomic.Bool
	heard     atomic.Int64 // how often listening began: a new session knows of no sleep

	slots sync.WaitGroup
}

// New returns an engine that is not yet running.
func New(cfg Config) *Engine {
	if cfg.Explain == nil {
		cfg.Explain = func(err error) error { return err }
	}
	e := &Engine{
		cfg:    cfg,
		log:    cfg.Log,
		byName: map[string]*lane{},
		held:   map[string]*holder{},
		hands:  newHands(),
		ledger: newLedger(),
		wake:   make(chan struct{}, 1),
	}
	for _, q := range cfg.Queues {
		if q.Hold != nil {
			e.held[q.Name] = newHolder(q)
			continue
		}
		l := newLane(q)
		e.lanes = append(e.lanes, l)
		e.byName[q.Name] = l
	}
	e.pump = newPump(e)
	e.burier = newBurier(e)
	return e
}

// Wake says that a queue has something to claim; queues of others are ignored.
// Safe from any goroutine.
func (e *Engine) Wake(queue string) {
	if l := e.byName[queue]; l != nil {
		l.call()
		nudge(e.wake)
	}
	if h := e.held[queue]; h != nil {
		h.call()
	}
}

// WakeAll is [Engine.Wake] for every queue: notifications may have been missed.
func (e *Engine) WakeAll() {
	for _, l := range e.lanes {
		l.call()
	}
	nudge(e.wake)
	for _, h := range e.held {
		h.call()
	}
}

// SetListening says whether notifications are coming in, which decides how
// often to poll. Safe from any goroutine.
func (e *Engine) SetListening(yes bool) {
	if o := e.cfg.Observer; o != nil {
		o.Listening(yes)
	}
	if yes {
		e.heard.Add(1)
	}
	if e.listening.Swap(yes) == yes {
		return
	}
	nudge(e.wake)
	for _, h := range e.held { // one for each: it wakes others if there is much
		h.call()
	}
}

// UnfinishedError says that work was still running when a drain ended. The
// rows keep their leases until those run out; others take them then.
type UnfinishedError struct{ Messages int }

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("%d messages were still being handled when the drain ended; their leases run out by themselves", e.Messages)
}

// Run delivers until ctx ends, then drains. It returns nil after a clean drain
// and an [*UnfinishedError] where work had to be left running. All goroutines
// but those running such work have ended when it returns. An engine runs once.
func (e *Engine) Run(ctx context.Context) error {
	// Work must outlive ctx by the grace period, with ctx's values.
	base := context.WithoutCancel(ctx)
	work, cancelWork := context.WithCancelCause(base)
	defer cancelWork(nil)

	for _, l := range e.lanes {
		for range l.Concurrency {
			e.slots.Go(func() { e.slot(work, l) })
		}
	}
	for _, h := range e.held {
		for range h.Concurrency {
			e.slots.Go(func() {
				e.hold(ctx, work, h)
				e.tell(base, []string{h.Name})
			})
		}
	}

	// Leases are kept until the drain is over.
	keep, stopKeeping := context.WithCancel(base)
	var keeper sync.WaitGroup
	keeper.Go(func() { e.keep(keep) })
	e.burier.start(base)

	e.pump.run(ctx)
	err := e.drain(base, cancelWork)
	stopKeeping()
	keeper.Wait()
	return err
}

// tell has other workers look what is due, and when: what this one has put off, it
// alone knows of, and it leaves. It is tried once, as they look anyhow in a while.
func (e *Engine) tell(ctx context.Context, queues []string) {
	if len(queues) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	if err := e.cfg.Store.Tell(ctx, queues); err != nil {
		e.log.Debug("cannot tell other workers what is due", slog.Any("queues", queues), e.failed(err))
	}
}

// failed turns an error of the store into a log line's value.
func (e *Engine) failed(err error) slog.Attr { return slog.Any("error", e.cfg.Explain(err)) }
