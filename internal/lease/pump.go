package lease

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// claimedAtOnce bounds the rows that one round trip asks for over all queues.
const claimedAtOnce = 2 * maxClaim

// Backoff between tries when the store fails.
const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

const (
	// callTimeout is how long one call of the store may take; longer means that
	// the connection hangs.
	callTimeout = 15 * time.Second
	// stopWait is how much longer it may take once the engine is told to stop.
	stopWait = time.Second
)

// maxTrips is how many exchanges may be under way: while PostgreSQL works on one,
// the answer to another is read and handled. The second is for large ones alone,
// for under little load it would only make two small ones of one.
const maxTrips = 2

// trip is an exchange that is under way, or has come back.
type trip struct {
	entries []entry
	claims  []store.Claim
	sent    time.Time
	done    store.Exchanged
	err     error
	alone   bool // no other was under way meanwhile
}

// pump is the engine's heart: one goroutine that settles and claims.
type pump struct {
	*Engine
	flying  []*trip
	landed  chan *trip // room for all
	polled  time.Time  // when the last look was made
	next    int        // lane that is asked first, in turn
	timer   *time.Timer
	orphans []store.Claim // claims whose answer was lost
	backoff time.Duration // above zero while the store fails
	session int64         // the listening session that knows which lanes sleep; zero: none
}

func newPump(e *Engine) *pump {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &pump{Engine: e, timer: timer, landed: make(chan *trip, maxTrips)}
}

// run goes on until ctx ends and all trips have come back.
func (p *pump) run(ctx context.Context) {
	if len(p.lanes) == 0 {
		<-ctx.Done()
		return
	}
	defer func() { _ = p.landAll() }() // what failed is written by the drain
	for ctx.Err() == nil {
		if err := p.step(ctx); err != nil {
			p.stumbled(ctx, err)
			continue
		}
		p.doze(ctx)
		p.rest(ctx)
	}
}

// doze tells publishers which queues have fallen asleep, and which are awake
// again. A queue that falls asleep is claimed from once more: what was committed
// without a notification before is found by that.
func (p *pump) doze(ctx context.Context) {
	if p.cfg.Sleeper == nil || !p.listening.Load() || ctx.Err() != nil {
		return
	}
	if heard := p.heard.Load(); heard != p.session {
		p.session = heard
		for _, l := range p.lanes {
			l.asleep = false
		}
	}
	var awake, asleep []*lane
	now := time.Now()
	for _, l := range p.lanes {
		if l.rouses() {
			awake = append(awake, l)
		}
		switch {
		case l.hot || l.asked > 0: // there may be more
		case l.attentive:
			l.sleepUntil(now.Add(attentivePause))
		case l.dozes() && now.Before(l.askAt):
			l.sleepUntil(l.askAt)
		case l.dozes():
			asleep = append(asleep, l)
		}
	}
	if len(awake)+len(asleep) == 0 || len(p.flying) > 0 {
		return // a last claim must begin later, and come back last
	}
	// A call that is cut off costs the session: it may take its time.
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), dozeTimeout)
	defer cancel()
	err := func(ctx context.Context) error {
		if len(awake) > 0 {
			if err := p.cfg.Sleeper.Rouse(ctx, laneNames(awake)); err != nil {
				return err
			}
			for _, l := range awake {
				l.awake()
			}
		}
		if len(asleep) == 0 {
			return nil
		}
		may, err := p.cfg.Sleeper.Doze(ctx, laneNames(asleep))
		if err != nil {
			return err
		}
		for i, l := range asleep {
			if l.answered(may[i], time.Now()); l.asleep {
				l.hot = true // for the last claim
			} else {
				l.sleepUntil(l.askAt)
			}
		}
		return nil
	}(call)
	if err != nil { // the session is gone; until there is another, we poll
		p.log.Debug("cannot tell that queues are asleep", p.failed(err))
		for _, l := range append(awake, asleep...) {
			l.sleepUntil(time.Now().Add(longestGap))
		}
	}
}

// bounded calls f with a context that does not end with ctx, for a statement
// that is cut off leaves everything unknown, but with a bound of its own.
func (e *Engine) bounded(ctx context.Context, f func(context.Context) error) error {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(stopWait, cancel)
		context.AfterFunc(call, func() { t.Stop() })
	})
	defer stop()
	return f(call)
}

// step does what is to be done now: takes in what has come back, settles, claims,
// looks.
func (p *pump) step(ctx context.Context) error {
	if err := p.landSome(); err != nil {
		return err
	}
	if len(p.orphans) > 0 {
		if err := p.bounded(ctx, p.returnOrphans); err != nil {
			return err
		}
	}
	// Outcomes come first: a look that fails or is slow must not hold them up.
	for p.exchange(ctx) {
	}
	if len(p.flying) == 0 && !time.Now().Before(p.nextPoll()) {
		if err := p.bounded(ctx, p.look); err != nil {
			return err
		}
		p.recovered()
	}
	return nil
}

// recovered ends a row of failures.
func (p *pump) recovered() {
	if p.backoff > 0 {
		p.backoff = 0
		p.log.Info("delivery goes on", slog.Any("queues", p.names()))
		for _, l := range p.lanes {
			l.vitals.well()
		}
	}
}

// stumbled waits after a failure, longer each time. The first failure in a row
// is an error for people to see; the rest are for those who look closely.
func (p *pump) stumbled(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the drain has its own tries
	}
	for _, l := range p.lanes {
		l.vitals.failed(p.cfg.Explain(err))
	}
	p.session = 0 // the store may be elsewhere by now: the publishers there are told anew
	level := slog.LevelDebug
	if p.backoff == 0 {
		level = slog.LevelError
	}
	p.backoff = min(maxBackoff, max(firstBackoff, 2*p.backoff))
	p.log.Log(ctx, level, "cannot reach the outbox; trying again",
		slog.Any("queues", p.names()), p.failed(err), slog.Duration("backoff", p.backoff))
	wait := p.backoff/2 + rand.N(p.backoff/2+1)
	p.timer.Reset(wait)
	select {
	case <-ctx.Done():
	case <-p.timer.C:
	}
	p.timer.Stop()
}

// look asks once for all queues what is due, what will be, and whether leases
// have expired.
func (p *pump) look(ctx context.Context) error {
	watches := make([]store.Watch, len(p.lanes))
	for i, l := range p.lanes {
		watches[i] = store.Watch{Queue: l.Name, ExpiredAfter: l.Lease}
	}
	now := time.Now()
	seen, err := p.cfg.Store.Look(ctx, watches)
	p.tellLook(time.Since(now), err)
	if err != nil {
		return err
	}
	p.polled = now
	for i, l := range p.lanes {
		l.expired = l.expired || seen[i].Expired
		if !seen[i].HasNext {
			l.vitals.seen(now, 0)
			continue
		}
		l.vitals.seen(now, -seen[i].NextDue)
		if seen[i].NextDue <= 0 {
			l.hot = true
		} else {
			l.sleepUntil(now.Add(seen[i].NextDue))
		}
	}
	return nil
}

func (p *pump) nextPoll() time.Time {
	if p.polled.IsZero() {
		return time.Time{}
	}
	return p.polled.Add(p.pollEvery())
}

// exchange sends the outcomes that are due and claims what the lanes want, in one
// round trip. It returns false when there is neither, or too little for a second
// trip.
func (p *pump) exchange(ctx context.Context) bool {
	now := time.Now()
	for _, l := range p.lanes {
		l.rouse(now)
	}
	if !p.mayDepart() {
		return false
	}
	var entries []entry
	if at, any := p.ledger.due(now); any && !now.Before(at) {
		entries = p.takeEntries()
	}
	claims := p.claims(now)
	if len(claims) > 0 && len(entries) == 0 && len(p.flying) == 0 {
		entries = p.takeEntries() // they travel for nothing
	}
	if len(entries) == 0 && len(claims) == 0 {
		return false
	}
	t := p.depart(entries, claims)
	go func() { // landAll waits for it
		_ = p.bounded(ctx, func(ctx context.Context) error {
			p.travel(ctx, t)
			return nil
		})
		p.landed <- t
	}()
	return true
}

// mayDepart reports whether there may be another trip: the first always; a second
// if it is large, or if the first only settles, which is no reason to start late
// what has come meanwhile.
func (p *pump) mayDepart() bool {
	switch len(p.flying) {
	case 0:
		return true
	case maxTrips:
		return false
	}
	for _, l := range p.lanes {
		if l.hot && l.deep && l.room() >= enough || p.onlySettling() && l.wants() {
			return true
		}
	}
	return p.ledger.full()
}

// onlySettling reports whether no claim is under way.
func (p *pump) onlySettling() bool {
	return !slices.ContainsFunc(p.flying, func(t *trip) bool { return len(t.claims) > 0 })
}

// send makes a round trip and waits for it.
func (p *pump) send(ctx context.Context, entries []entry, claims []store.Claim) error {
	t := p.depart(entries, claims)
	p.travel(ctx, t)
	return p.land(t)
}

// depart puts a trip under way.
func (p *pump) depart(entries []entry, claims []store.Claim) *trip {
	t := &trip{entries: entries, claims: claims, sent: time.Now(), alone: len(p.flying) == 0}
	for _, other := range p.flying {
		other.alone = false
	}
	p.flying = append(p.flying, t)
	return t
}

// travel is the round trip itself. It touches nothing of the pump's.
func (p *pump) travel(ctx context.Context, t *trip) {
	outcomes := make([]store.Outcome, len(t.entries))
	for i, en := range t.entries {
		outcomes[i] = en.outcome
	}
	t.done, t.err = p.cfg.Store.Exchange(ctx, outcomes, t.claims)
}

// landSome takes in what has come back. After a failure it waits for the rest.
func (p *pump) landSome() error {
	for {
		select {
		case t := <-p.landed:
			if err := p.land(t); err != nil {
				return errors.Join(err, p.landAll())
			}
		default:
			return nil
		}
	}
}

// landAll waits for all trips.
func (p *pump) landAll() (err error) {
	for len(p.flying) > 0 {
		err = errors.Join(err, p.land(<-p.landed))
	}
	return err
}

// land takes in one answer.
func (p *pump) land(t *trip) error {
	p.flying = slices.DeleteFunc(p.flying, func(other *trip) bool { return other == t })
	for _, en := range t.entries {
		if en.hand.counted {
			en.hand.lane.freeing--
		}
	}
	for _, c := range t.claims {
		p.byName[c.Queue].asked -= c.Limit
	}
	now := time.Now()
	p.tellTrip(t, now)
	if t.err != nil {
		p.ledger.giveBack(t.entries)
		if !errors.Is(t.err, store.ErrRefused) { // else they got nothing
			p.orphans = append(p.orphans, t.claims...)
		}
		return t.err
	}
	p.recovered()
	p.written(t.entries, t.done, t.sent)
	p.ledger.reuse(t.entries)
	for i, c := range t.claims {
		p.deliver(c, t.done.Batches[i], t, now)
	}
	return nil
}

// takeEntries empties the ledger of what the pump writes. Messages that are
// settled already are forgotten, and dead letters go to the burier.
func (p *pump) takeEntries() []entry {
	entries := p.ledger.take(time.Now())
	var graves, done []entry
	kept := entries[:0]
	for _, en := range entries {
		switch en.outcome.Kind {
		case 0:
			done = append(done, en)
		case store.Bury:
			p.uncount(en.hand) // a broken dead-letter table must not fill the lane
			graves = append(graves, en)
		default:
			if en.hand.counted {
				en.hand.lane.freeing++
			}
			kept = append(kept, en)
		}
	}
	p.forget(done)
	p.burier.add(graves)
	return kept
}

// forget ends the messages' stay in the engine.
func (p *pump) forget(entries []entry) {
	if len(entries) == 0 {
		return
	}
	gone := make([]*hand, len(entries))
	for i, en := range entries {
		gone[i] = en.hand
		p.uncount(en.hand)
	}
	p.hands.drop(gone...)
}

func (p *pump) uncount(h *hand) {
	if h.counted {
		h.counted = false
		h.lane.inHand--
	}
}

// claims gathers what the lanes want, beginning with another lane each time so
// that the bound on the sum is fair.
func (p *pump) claims(now time.Time) []store.Claim {
	var claims []store.Claim
	sum := 0
	for i := range p.lanes {
		l := p.lanes[(p.next+i)%len(p.lanes)]
		if sum < claimedAtOnce && l.wants() {
			c := l.claim(now)
			l.asked += c.Limit
			claims = append(claims, c)
			sum += c.Limit
		}
	}
	p.next = (p.next + 1) % len(p.lanes)
	return claims
}

// written closes the entries that were sent, at the given time, but for those whose
// rows are locked.
func (p *pump) written(entries []entry, done store.Exchanged, sent time.Time) {
	if len(entries) == 0 {
		return
	}
	entries, locked := part(entries, done.Locked)
	for _, en := range locked {
		p.uncount(en.hand) // who locks many must not fill the lane
	}
	p.ledger.postpone(locked, time.Now())
	all := len(done.Settled) == len(entries)
	var ok map[int64]struct{}
	if !all {
		ok = make(map[int64]struct{}, len(done.Settled))
		for _, id := range done.Settled {
			ok[id] = struct{}{}
		}
	}
	for _, en := range entries {
		_, took := ok[en.outcome.ID]
		took = took || all
		switch {
		case !took && !en.again:
			p.log.Warn("lease was lost before the outcome was written; somebody else has the message",
				slog.String("queue", en.hand.lane.Name), slog.Int64("message_id", en.hand.ID))
			p.tellLost(en.hand, true)
		case en.outcome.Kind != store.Ack: // just now, or by a try whose answer was lost
			en.hand.lane.sleepUntil(sent.Add(en.outcome.Delay))
		}
	}
	p.forget(entries)
}

// part takes the entries with the given ids out.
func part(entries []entry, ids []int64) (rest, out []entry) {
	if len(ids) == 0 {
		return entries, nil
	}
	for _, en := range entries {
		if slices.Contains(ids, en.outcome.ID) {
			out = append(out, en)
		} else {
			rest = append(rest, en)
		}
	}
	return rest, out
}

// deliver hands the rows of a claim to the slots. The channel has room for all
// that a lane may hold, so it never blocks.
func (p *pump) deliver(c store.Claim, b store.Batch, t *trip, now time.Time) {
	l := p.byName[c.Queue]
	l.took(c, b, t.sent, now, t.alone)
	if len(b.Messages) == 0 {
		return
	}
	if c.ExpiredAfter > 0 {
		p.judge(p.hands.outlived(b.Messages))
	}
	p.ledger.opened(len(b.Messages))
	taken := p.hands.take(l, b.Messages, t.sent)
	l.filling.Lock()
	defer l.filling.Unlock()
	for _, h := range taken {
		l.work <- h
	}
}

// returnOrphans gives back what claims took whose answer never came.
func (p *pump) returnOrphans(ctx context.Context) error {
	queues := make([]string, len(p.orphans))
	tokens := make([]uuid.UUID, len(p.orphans))
	for i, c := range p.orphans {
		queues[i], tokens[i] = c.Queue, c.Token
	}
	if err := p.cfg.Store.Return(ctx, queues, tokens); err != nil {
		return err
	}
	for _, c := range p.orphans {
		p.byName[c.Queue].hot = true
	}
	p.orphans = nil
	return nil
}

// rest waits until something is to be done: an answer, an outcome, a call, a due
// time, the next poll, or the end. What needs the first trip waits for an answer.
func (p *pump) rest(ctx context.Context) {
	now := time.Now()
	until := now.Add(time.Hour)
	sooner := func(at time.Time) {
		if at.Before(until) {
			until = at
		}
	}
	if len(p.flying) == 0 {
		sooner(p.nextPoll())
		if at, any := p.ledger.due(now); any {
			sooner(at)
		}
	}
	if len(p.flying) < maxTrips && p.onlySettling() {
		for _, l := range p.lanes {
			if l.called.Load() || l.wants() {
				return
			}
			if !l.wake.IsZero() {
				sooner(l.wake)
			}
		}
	}
	if !until.After(now) {
		return
	}
	p.timer.Reset(until.Sub(now))
	defer p.timer.Stop()
	select {
	case t := <-p.landed:
		p.landed <- t // there is room: it has just been made
	case <-ctx.Done():
	case <-p.ledger.signal:
	case <-p.wake:
	case <-p.timer.C:
	}
}

func (p *pump) names() []string { return laneNames(p.lanes) }

func laneNames(lanes []*lane) []string {
	names := make([]string, len(lanes))
	for i, l := range lanes {
		names[i] = l.Name
	}
	return names
}
