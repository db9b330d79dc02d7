package main

import (
	"math/rand/v2"
	"time"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// message is what is published. Key is its name in the audit: unlike an id, it exists before the publish.
type message struct {
	Key int64 `json:"key"`
	// Do is what the handler does, one step for each attempt; the last holds for all further ones.
	Do []step `json:"do"`
}

// step is what a handler does at one attempt, and the name of its outcome in the journal unless it says another.
type step string

const (
	stepOK        step = "ok"
	stepNap       step = "nap"       // takes a while, then is ok
	stepFail      step = "fail"      // returns an error
	stepPanic     step = "panic"     // of a batch too, and so fails all of it
	stepPermanent step = "permanent" // no retry can help
	stepReject    step = "reject"    // by hand
	stepNack      step = "nack"      // by hand
	stepDiscard   step = "discard"
	stepSnooze    step = "snooze"   // while the message is young
	stepBlock     step = "block"    // waits for the context, past the lease
	stepStubborn  step = "stubborn" // works past the lease and ignores the context
	stepDeadly    step = "deadly"   // kills its worker

	outcomeCancelled = "cancelled" // the context ended
)

// successes are the outcomes after which a message is over, and well.
const successes = `('ok', 'discard')`

// failures are the outcomes that count as an attempt.
const failures = `('fail', 'panic', 'permanent', 'reject', 'nack')`

const (
	leaseTime     = 3 * time.Second
	graceTime     = time.Second
	longerThan    = leaseTime + time.Second // the lease
	maxDeliveries = 40
	deadlyLimit   = 3
)

// The queues, one for each form of handler.
var (
	plain   = typed.NewQueue[message]("faults.plain")
	manual  = typed.NewQueue[message]("faults.manual")
	batch   = typed.NewQueue[message]("faults.batch")
	inTx    = typed.NewQueue[message]("faults.tx")
	batchTx = typed.NewQueue[message]("faults.batch-tx")
	chain   = typed.NewQueue[message]("faults.chain")
	timer   = typed.NewQueue[message]("faults.timer")
	deadly  = typed.NewQueue[message]("faults.deadly")
)

// mix is a weighted choice.
type mix[T any] []struct {
	weight int
	what   T
}

func (m mix[T]) pick(r *rand.Rand) T {
	total := 0
	for _, c := range m {
		total += c.weight
	}
	n := r.IntN(total)
	for _, c := range m {
		if n -= c.weight; n < 0 {
			return c.what
		}
	}
	panic("unreachable: the weights add up to the total")
}

// load is which queue a message goes to.
var load = mix[typed.Queue[message]]{
	{400, plain}, {80, manual}, {150, batch}, {150, inTx}, {150, batchTx}, {60, chain}, {60, timer}, {1, deadly},
}

// scripts are what handlers of most queues do.
var scripts = mix[[]step]{
	{800, []step{stepOK}},
	{60, []step{stepFail, stepOK}},
	{30, []step{stepPanic, stepOK}},
	{20, []step{stepFail, stepPanic, stepFail, stepOK}},
	{30, []step{stepNap}},
	{10, []step{stepPermanent}},
	{5, []step{stepFail}}, // until there is no attempt left
	{10, []step{stepSnooze}},
	{5, []step{stepDiscard}},
	{4, []step{stepBlock}},
	{3, []step{stepStubborn}},
}

// byHand are what handlers that acknowledge by hand do.
var byHand = mix[[]step]{
	{80, []step{stepOK}}, {10, []step{stepNack, stepOK}}, {5, []step{stepReject}}, {5, []step{stepFail, stepOK}},
}

// poisonOneIn is how many messages of the plain queue there are to one that does not decode.
const poisonOneIn = 100

// draw makes a message.
func draw(r *rand.Rand, key int64) (q typed.Queue[message], m message, poison bool) {
	q = load.pick(r)
	m = message{Key: key}
	switch q.Name() {
	case deadly.Name():
		m.Do = []step{stepDeadly}
	case manual.Name():
		m.Do = byHand.pick(r)
	case plain.Name():
		poison = r.IntN(poisonOneIn) == 0
		m.Do = scripts.pick(r)
	case batch.Name(), batchTx.Name():
		m.Do = scripts.pick(r)
		if s := m.now(1); (s == stepBlock || s == stepStubborn) && r.IntN(10) != 0 {
			m.Do = []step{stepOK} // a whole batch waits for each of them
		}
	default:
		m.Do = scripts.pick(r)
	}
	return q, m, poison
}

// now is the step for an attempt, which counts from 1.
func (m message) now(attempt int64) step {
	return m.Do[min(int(attempt), len(m.Do))-1]
}

// box is where everything happens.
var box = queue.Outbox{}
