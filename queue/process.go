package queue

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue/retry"
)

// Reasons of dead letters: the column failure_reason. The first three are the
// reference system's.
const (
	ReasonMaxDeliveries = "max_deliveries"
	ReasonRetryTerminal = "retry_terminal"
	ReasonRejected      = "rejected"
	ReasonDecodeError   = "decode_error"
)

// processor turns claimed rows into outcomes: the engine's one callback.
type processor struct {
	set    settings
	ground ground // for the forms with a transaction
	table  *postgres.Table
	log    *slog.Logger

	each  Handler      // Handle, HandleTx
	inTx  bool         // HandleTx
	batch BatchHandler // HandleBatch

	batchTx BatchTxHandler // HandleBatchTx
	holds   atomic.Int64   // how many messages its transactions take; zero: as many as may be

	queue   string
	witness *witness // nil where nobody observes
}

func newProcessor(c configured, g ground, log *slog.Logger) *processor {
	p := &processor{
		set:     c.set,
		ground:  g,
		table:   c.queue.table,
		log:     log.With(slog.String("queue", c.queue.name)),
		batchTx: c.form.batchTx,
		queue:   c.queue.name,
	}
	switch {
	case c.form.each != nil:
		p.each = chain(p.bound(c.form.each), c.set.middleware)
	case c.form.tx != nil:
		p.each, p.inTx = chain(p.transact(c.form.tx), c.set.middleware), true
	case c.form.batch != nil:
		p.batch = chain(p.boundBatch(c.form.batch), c.set.batchMiddleware)
	}
	return p
}

// bound gives the handler the time that the settings allow.
func (p *processor) bound(h Handler) Handler {
	if p.set.timeout == 0 {
		return h
	}
	return func(ctx context.Context, d *Delivery) error {
		return within(ctx, p.set.timeout, func(ctx context.Context) error { return h(ctx, d) })
	}
}

func (p *processor) boundBatch(h BatchHandler) BatchHandler {
	if p.set.timeout == 0 {
		return h
	}
	return func(ctx context.Context, batch []*Delivery) (outcomes []error) {
		_ = within(ctx, p.set.timeout, func(ctx context.Context) error {
			outcomes = h(ctx, batch)
			return nil
		})
		return outcomes
	}
}

// within calls f with a context that ends after d; zero: never.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return f(ctx)
}

// process handles messages one by one.
func (p *processor) process(ctx context.Context, rows []store.Claimed) []store.Outcome {
	out := make([]store.Outcome, len(rows))
	for i := range rows {
		out[i] = p.one(ctx, &rows[i])
	}
	return out
}

func (p *processor) one(ctx context.Context, row *store.Claimed) store.Outcome {
	d := newDelivery(row)
	if o, refused := p.refuse(d); refused {
		return o
	}
	began := time.Now()
	err := guard(d.Context(ctx), p.each, d)
	if p.inTx {
		return p.decideTx(ctx, d, err, time.Since(began))
	}
	return p.decide(ctx, d, err, time.Since(began))
}

// processBatch handles messages together.
func (p *processor) processBatch(ctx context.Context, rows []store.Claimed) []store.Outcome {
	out := make([]store.Outcome, len(rows))
	batch := newDeliveries(rows)
	at := make([]int, 0, len(rows)) // where in out
	kept := batch[:0]
	for i, d := range batch {
		if o, refused := p.refuse(d); refused {
			out[i] = o
			continue
		}
		kept, at = append(kept, d), append(at, i)
	}
	if batch = kept; len(batch) == 0 {
		return out
	}
	began := time.Now()
	errs, panicked := guardBatch(ctx, p.batch, batch)
	ran := time.Since(began)
	for i, d := range batch {
		err := panicked
		if panicked == nil {
			err = errs[i]
		}
		out[at[i]] = p.decide(ctx, d, err, ran)
	}
	return out
}

// refuse ends a message before it is run: one that was claimed too often, by
// workers that died with it.
func (p *processor) refuse(d *Delivery) (store.Outcome, bool) {
	if !p.tooOften(d.Deliveries) {
		return store.Outcome{}, false
	}
	return p.bury(d, ReasonMaxDeliveries, &DeliveriesError{Deliveries: d.Deliveries, Limit: p.set.maxDeliveries}), true
}

func (p *processor) tooOften(deliveries int64) bool {
	return p.set.maxDeliveries > 0 && deliveries > p.set.maxDeliveries
}

// decide turns what a handler said, by a call or by its return value, into what
// becomes of the row.
func (p *processor) decide(ctx context.Context, d *Delivery, err error, ran time.Duration) store.Outcome {
	switch said := d.verdict(); said.kind {
	case saidAck:
		return store.Outcome{Kind: store.Ack}
	case saidReject:
		return p.bury(d, ReasonRejected, errors.New(said.reason))
	case saidNack:
		if err == nil {
			err = errNacked
		}
		if said.delay >= 0 {
			err = &retryAfterError{err, said.delay}
		}
		return p.failed(d, err, ran)
	}
	if err == nil && p.set.ack == Manual {
		if o, over := p.cancelled(ctx, d); over {
			return o
		}
		p.log.Warn("handler returned without ack, nack or reject; the retry policy decides", p.about(d))
		return p.failed(d, ErrNotSettled, ran)
	}
	if err == nil {
		return store.Outcome{Kind: store.Ack}
	}
	// These say what is to become of the message, whatever has become of the context meanwhile.
	var (
		snooze      *snoozeError
		discard     *discardError
		undecodable *undecodableError
		permanent   *permanentError
	)
	switch {
	case errors.As(err, &snooze):
		return store.Outcome{Kind: store.Release, Delay: snooze.delay, Reason: reasonSnoozed}
	case errors.As(err, &discard):
		p.log.Info("message discarded", p.about(d), slog.String("reason", p.text(errors.New(discard.reason))))
		return store.Outcome{Kind: store.Ack, Reason: reasonDiscarded}
	case errors.As(err, &undecodable):
		return p.bury(d, ReasonDecodeError, err)
	}
	if o, over := p.cancelled(ctx, d); over {
		return o
	}
	switch {
	case errors.As(err, &permanent):
		return p.bury(d, ReasonRetryTerminal, err)
	case p.set.ack == RejectOnError:
		return p.bury(d, ReasonRejected, err)
	}
	return p.failed(d, err, ran)
}

// cancelled is what becomes of a message whose handler was told to stop: that is no
// failure of its own.
func (p *processor) cancelled(ctx context.Context, d *Delivery) (store.Outcome, bool) {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, lease.ErrShutdown):
		p.log.Debug("handler was cancelled by shutdown; the message is handed back", p.about(d))
	case errors.Is(cause, lease.ErrLost):
		// Its own lease, whose outcome is not written; or another's of its batch.
	default:
		return store.Outcome{}, false
	}
	return store.Outcome{Kind: store.Release}, true
}

// failed asks the retry policy.
func (p *processor) failed(d *Delivery, err error, ran time.Duration) store.Outcome {
	f := retry.Failure{Queue: d.Queue, ID: d.ID, Attempt: d.Attempt, Elapsed: ran, Err: err}
	if !d.FirstAttemptAt.IsZero() {
		f.Elapsed = d.ClaimedAt.Sub(d.FirstAttemptAt) + ran // both by the database's clock
	}
	decision, wrong := retry.Resolve(p.set.retry(d), f)
	if wrong != nil {
		p.log.Error("retry policy failed; the default policy decides", p.about(d), slog.Any("error", wrong))
	}
	delay, again := decision.Delay()
	if !again {
		return p.bury(d, ReasonRetryTerminal, err)
	}
	var after *retryAfterError
	if errors.As(err, &after) {
		delay = after.delay
	}
	p.log.Debug("handler failed; the message is tried again", p.about(d), slog.Int64("attempt", d.Attempt),
		slog.Duration("delay", delay), slog.String("error", p.text(err)))
	return store.Outcome{Kind: store.Retry, Delay: delay}
}

// bury makes a dead letter, or, where those are off, an end without one.
func (p *processor) bury(d *Delivery, reason string, err error) store.Outcome {
	text := p.text(err)
	if !p.set.deadLetters {
		p.log.Error("message failed for good and is deleted, for dead letters are off",
			p.about(d), slog.String("reason", reason), slog.String("error", text))
		return store.Outcome{Kind: store.Ack, Reason: reason}
	}
	p.log.Warn("message becomes a dead letter", p.about(d), slog.String("reason", reason), slog.String("error", text))
	return store.Outcome{Kind: store.Bury, Reason: reason, Error: text}
}

// text renders an error for people, short enough to store. A renderer that
// panics must not cost the message.
func (p *processor) text(err error) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = "(the error could not be rendered)"
		}
	}()
	return cut(p.set.render(err), maxErrorText)
}

// maxErrorText is how much of an error's text a dead letter keeps, in bytes.
const maxErrorText = 8 << 10

// cut makes s valid for a text column and cuts it on a character boundary.
func cut(s string, most int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

func (p *processor) about(d *Delivery) slog.Attr { return slog.Int64("message_id", d.ID) }
