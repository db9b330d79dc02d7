package queue

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// MaxDelay is the longest delay of a message: ten years.
const MaxDelay = 10 * 365 * 24 * time.Hour

// Draft is a message that is ready to be published. Make it with [Queue.Draft]
// or a typed queue's Draft. It is immutable.
type Draft struct {
	queue         Queue
	payload       []byte
	contentType   string
	correlationID string
	headers       map[string]string
	delay         time.Duration
	err           error
}

// PublishOption changes one message.
type PublishOption interface{ applyPublish(*Draft) }

type publishOption func(*Draft)

func (o publishOption) applyPublish(d *Draft) { o(d) }

// Headers adds headers to the message, strings by name. Repeated, the later
// value of a name holds. Default: none but the envelope's. The envelope's own
// names, "content-type" and "correlation_id", are refused with
// [ErrInvalidHeader]. All headers together may have [MaxHeaders] bytes.
func Headers(h map[string]string) MessageOption {
	return publishOption(func(d *Draft) {
		if d.headers == nil {
			d.headers = make(map[string]string, len(h))
		}
		maps.Copy(d.headers, h)
	})
}

// CorrelationID sets the id that ties together the messages of one story.
// Default, and "": that of the message being handled when the context is a
// handler's, else a new random UUID. Repeated, the last holds.
func CorrelationID(id string) MessageOption {
	return publishOption(func(d *Draft) { d.correlationID = id })
}

// ContentType says how the payload is encoded. Default, and "": none. A typed
// queue sets it, and it is not needed there. Repeated, the last holds.
func ContentType(t string) MessageOption {
	return publishOption(func(d *Draft) { d.contentType = t })
}

// Delay makes the message due later, by the database's clock at the publish
// (the start of the transaction). Default, and zero: at once. Below zero or
// above [MaxDelay] is [ErrInvalidDelay]. Repeated, the last holds.
func Delay(after time.Duration) PublishOption {
	return publishOption(func(d *Draft) { d.delay = after })
}

// check finds what is wrong with the draft by itself.
func (d *Draft) check() {
	switch {
	case d.err != nil:
	case d.queue.Err() != nil:
		d.err = d.queue.Err()
	case d.queue.Fits(d.payload) != nil:
		d.err = d.queue.Fits(d.payload)
	case d.delay < 0 || d.delay > MaxDelay:
		d.err = fmt.Errorf("%w: %v, it may be 0 to %v", ErrInvalidDelay, d.delay, MaxDelay)
	}
}

// BadDraft is a draft that Publish refuses with err. It lets those who encode
// payloads report a failure where all other failures come back.
func (q Queue) BadDraft(err error) Draft { return Draft{queue: q, err: err} }

// seal turns the draft, the i-th of the publication, into a row.
func (d *Draft) seal(p *publication, i int) (store.Draft, error) {
	if d.err == nil && d.queue.table == nil {
		d.err = fmt.Errorf("draft: %w", ErrNotMade)
	}
	if d.err != nil {
		return store.Draft{}, d.err
	}
	e := envelope{contentType: d.contentType, correlationID: d.correlationID, headers: d.headers}
	p.complete(i, &e)
	if e.correlationID == "" {
		e.correlationID = uuid.NewString()
	}
	headers, err := e.encode()
	if err != nil {
		return store.Draft{}, err
	}
	return store.Draft{Queue: d.queue.name, Payload: d.payload, Headers: headers, Delay: d.delay}, nil
}

// Publish writes messages in the transaction tx and returns their ids in the
// order of the drafts: they exist if and only if tx commits, and are delivered
// after that. Drafts may be of different queues. It is one round trip, the
// notification of the workers included; batches of more than about 5,000
// messages or 8 MB take a few. No drafts is no error, and does nothing.
//
// Errors name the queue, and wrap [ErrNoTransaction], [ErrTooLarge],
// [ErrInvalidHeader], [ErrInvalidName], [ErrInvalidDelay], [ErrNoTable], what a
// codec returned, or what the database did. Problems of the drafts themselves
// are found before anything is sent, and leave tx as it was.
//
// It is as safe for concurrent use as tx is; a transaction is not.
func Publish(ctx context.Context, tx Tx, drafts ...Draft) ([]int64, error) {
	if len(drafts) == 0 {
		return nil, nil
	}
	p := beginPublication(ctx, drafts)
	ids, err := publish(ctx, tx, &p, drafts)
	p.end(ids, err)
	return ids, err
}

func publish(ctx context.Context, tx Tx, p *publication, drafts []Draft) ([]int64, error) {
	rows := make([]store.Draft, len(drafts))
	for i := range drafts {
		var err error
		if rows[i], err = drafts[i].seal(p, i); err != nil {
			return nil, fmt.Errorf("publish to queue %q: %w", drafts[i].queue.name, err)
		}
	}
	ids := make([]int64, 0, len(drafts))
	table := func(i int) *postgres.Table { return drafts[i].queue.table }
	err := access.Runs(ctx, tx, len(drafts), table, func(tx access.Tx, t *postgres.Table, i, end int) error {
		some, err := access.Publish(ctx, tx, t, rows[i:end])
		if err != nil {
			return fmt.Errorf("publish to %s: %w", which(drafts[i:end]), access.Explain(t, err))
		}
		ids = append(ids, some...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// which names the queues of drafts for an error.
func which(drafts []Draft) string {
	first := drafts[0].queue.name
	for _, d := range drafts {
		if d.queue.name != first {
			return fmt.Sprintf("queue %q and others", first)
		}
	}
	return fmt.Sprintf("queue %q", first)
}
