package queue

import (
	"context"
	"errors"
	"maps"

	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// MessageOption goes with a message whichever way it is sent: it is a
// [PublishOption], and an option of package timers.
type MessageOption interface {
	PublishOption
	// ApplyTimer does nothing: it says that a timer can have the option.
	ApplyTimer(*store.TimerRules)
}

func (publishOption) ApplyTimer(*store.TimerRules) {}

// With returns the draft with further options, which come after its own.
func (d Draft) With(opts ...PublishOption) Draft {
	d.headers = maps.Clone(d.headers)
	for _, o := range opts {
		o.applyPublish(&d)
	}
	d.check()
	return d
}

// What follows is for package timers, which writes messages in a way of its own:
// outside this module, the types cannot be named.

// Publication begins a call that publishes the drafts, and gives them what a
// publish with ctx gives. row turns the i-th into what goes into a table, and says
// which; the queue is set even where there is an error. end must be called, with
// the ids that were stored, zero for none, or the error.
func Publication(ctx context.Context, drafts ...Draft) (row func(i int) (store.Draft, *postgres.Table, error), end func(ids []int64, err error)) {
	p := beginPublication(ctx, drafts)
	row = func(i int) (store.Draft, *postgres.Table, error) {
		row, err := drafts[i].seal(&p, i)
		row.Queue = drafts[i].queue.name
		return row, drafts[i].queue.table, err
	}
	return row, p.end
}

// Table is where the queue lives, or what is wrong with its construction.
func (q Queue) Table() (*postgres.Table, error) { return q.table, q.Err() }

// Options is a list of options as one, for those who build on several.
type Options []WorkerOption

func (l Options) applyWorker(w *workerSettings) {
	for _, o := range l {
		if o == nil {
			o = BadOption(errors.New("an option is nil"))
		}
		o.applyWorker(w)
	}
}
