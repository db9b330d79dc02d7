package queue

import (
	"context"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// PublishHook is put around publishing, for tracing and metrics. Queues hold no
// connection and know no tracer, so a hook rides in the context: see
// [WithPublishHook]. Make one, share it by its address, and do not change it then:
// it is called concurrently.
type PublishHook struct {
	// Begin is called, in the caller's goroutine, before messages are written: once
	// for each queue that a call publishes to, timers included. ctx is the call's.
	//
	// The headers that it returns are added to those messages, where the caller has
	// not set them; what no message can have is left out. done, where not nil, is
	// told what came of it.
	//
	// The publish waits for both: they should return at once. A panic is logged
	// with [slog.Default], once for each hook, and changes nothing.
	Begin func(ctx context.Context, p Publishing) (headers map[string]string, done func(Published))

	panicked atomic.Bool
}

// Publishing is what a call is about to publish to one queue.
type Publishing struct {
	// Outbox is the quoted name of the table.
	Outbox, Queue string
	Messages      int
}

// Published is what came of it. The messages exist once the transaction commits.
type Published struct {
	Publishing
	// IDs are those of the messages that were stored: fewer than Messages where
	// there were timers already.
	IDs []int64
	// Took is the time of the whole call, all its queues included.
	Took time.Duration
	// Err is what the call returned.
	Err error
}

type hooksKey struct{}

// WithPublishHook returns a context in which publishing goes through the hook.
// Several add up; one that is there already is not added again. Where two set the
// same header, the later one's holds. What handlers publish goes through the hooks
// of the context that [Worker.Run] was given, and of their middleware.
//
// A message's headers come from three places: what the caller sets goes first,
// then what hooks add, then what is carried on from the message being handled. A
// tracestate is added only together with its traceparent.
func WithPublishHook(ctx context.Context, h *PublishHook) context.Context {
	hooks, _ := ctx.Value(hooksKey{}).([]*PublishHook)
	if h == nil || slices.Contains(hooks, h) {
		return ctx
	}
	return context.WithValue(ctx, hooksKey{}, append([]*PublishHook{h}, hooks...))
}

// publication is one call that publishes, with what its context adds to the
// messages.
type publication struct {
	from   *Delivery // the message being handled; nil: none
	hooked []hooked  // by queue; nil where there is no hook
	queues []int     // of each draft: its place in hooked
	began  time.Time
}

// hooked is the part of a publication that goes to one queue.
type hooked struct {
	Publishing
	headers map[string]string
	done    []func(Published)
}

// beginPublication begins a call that publishes the drafts. Its end must be called.
func beginPublication(ctx context.Context, drafts []Draft) (p publication) {
	p.from, _ = FromContext(ctx)
	hooks, _ := ctx.Value(hooksKey{}).([]*PublishHook)
	if len(hooks) == 0 {
		return p
	}
	type place struct {
		table postgres.Names
		queue string
	}
	p.began, p.queues = time.Now(), make([]int, len(drafts))
	at := map[place]int{}
	for i := range drafts {
		q := drafts[i].queue
		key := place{queue: q.name}
		if q.table != nil {
			key.table = q.table.Names()
		}
		n, ok := at[key]
		if !ok {
			n = len(p.hooked)
			at[key] = n
			p.hooked = append(p.hooked, hooked{Publishing: Publishing{Queue: q.name}})
			if q.table != nil {
				p.hooked[n].Outbox = q.table.String()
			}
		}
		p.hooked[n].Messages++
		p.queues[i] = n
	}
	for i := range p.hooked {
		for _, h := range hooks {
			p.hooked[i].begin(ctx, h)
		}
	}
	return p
}

// begin calls one hook. Those before it have set their headers, which hold.
func (q *hooked) begin(ctx context.Context, h *PublishHook) {
	if h.Begin == nil {
		return
	}
	defer h.recovered()
	headers, done := h.Begin(ctx, q.Publishing)
	q.headers = underlay(q.headers, headers)
	if done != nil {
		q.done = append(q.done, func(p Published) {
			defer h.recovered()
			done(p)
		})
	}
}

// recovered is deferred around calls of the hook.
func (h *PublishHook) recovered() {
	if r := recover(); r != nil && !h.panicked.Swap(true) {
		slog.Default().Error("a publish hook panicked; it is logged once, and called again",
			slog.Any("error", &PanicError{Value: r, Stack: debug.Stack()}))
	}
}

// complete adds to the envelope of the i-th draft what the context has for it.
func (p *publication) complete(i int, e *envelope) {
	if p.hooked != nil {
		e.headers = underlay(e.headers, p.hooked[p.queues[i]].headers)
	}
	if p.from == nil {
		return
	}
	if e.correlationID == "" {
		e.correlationID = p.from.CorrelationID()
	}
	if _, own := e.headers[HeaderTraceparent]; own {
		return
	}
	if parent := p.from.Header(HeaderTraceparent); parent != "" {
		carried := map[string]string{HeaderTraceparent: parent}
		if state := p.from.Header(HeaderTracestate); state != "" {
			carried[HeaderTracestate] = state
		}
		e.headers = underlay(e.headers, carried)
	}
}

// underlay returns headers with more added where it has none of that name and a
// message can have them. It changes neither. A tracestate belongs to its
// traceparent, so none is added to another.
func underlay(headers, more map[string]string) map[string]string {
	if len(more) == 0 {
		return headers
	}
	_, traced := headers[HeaderTraceparent]
	out := make(map[string]string, len(headers)+len(more))
	for name, value := range more {
		if checkHeader(name, value) == nil && !(traced && name == HeaderTracestate) {
			out[name] = value
		}
	}
	maps.Copy(out, headers)
	return out
}

// end tells the hooks what came of it. ids are those of the drafts in their order,
// zero for one of which nothing was stored; after an error they do not matter.
func (p *publication) end(ids []int64, err error) {
	if p.hooked == nil {
		return
	}
	took := time.Since(p.began)
	stored := make([][]int64, len(p.hooked))
	if err == nil {
		for i, id := range ids {
			if id != 0 {
				n := p.queues[i]
				stored[n] = append(stored[n], id)
			}
		}
	}
	for i, q := range p.hooked {
		for _, done := range q.done {
			done(Published{Publishing: q.Publishing, IDs: stored[i], Took: took, Err: err})
		}
	}
}
