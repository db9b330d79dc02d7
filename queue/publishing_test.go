package queue

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/matryer/is"
)

// adding is a hook that adds headers.
func adding(headers map[string]string) *PublishHook {
	return &PublishHook{Begin: func(context.Context, Publishing) (map[string]string, func(Published)) { return headers, nil }}
}

func TestPublishHook_AddsHeadersBetweenTheCallersAndThoseCarriedOn(t *testing.T) {
	t.Parallel()
	handled := &Delivery{rawHeaders: []byte(`{"content-type":"x","correlation_id":"story","traceparent":"handled","tracestate":"handled","tenant":"a"}`)}
	for _, tt := range []struct {
		name          string
		caller        map[string]string
		hooks         []*PublishHook // as they are added
		from          *Delivery
		want          map[string]string
		correlationID string
	}{
		{name: "nothing"},
		{
			name: "what is handled goes on", from: handled, correlationID: "story",
			want: map[string]string{"traceparent": "handled", "tracestate": "handled"},
		},
		{
			name: "a hook comes before it", from: handled, correlationID: "story",
			hooks: []*PublishHook{adding(map[string]string{"traceparent": "hook"})},
			want:  map[string]string{"traceparent": "hook"}, // and the other's tracestate does not belong to it
		},
		{
			name: "a hook without a trace changes nothing of it", from: handled, correlationID: "story",
			hooks: []*PublishHook{adding(map[string]string{"baggage": "hook"}), adding(nil), {}},
			want:  map[string]string{"traceparent": "handled", "tracestate": "handled", "baggage": "hook"},
		},
		{
			name: "the caller comes before both", from: handled, correlationID: "story",
			caller: map[string]string{"traceparent": "caller", "baggage": "caller"},
			hooks:  []*PublishHook{adding(map[string]string{"traceparent": "hook", "tracestate": "hook", "baggage": "hook", "more": "hook"})},
			want:   map[string]string{"traceparent": "caller", "baggage": "caller", "more": "hook"},
		},
		{
			name:  "a later hook comes before an earlier one",
			hooks: []*PublishHook{adding(map[string]string{"a": "first", "b": "first"}), adding(map[string]string{"b": "second"})},
			want:  map[string]string{"a": "first", "b": "second"},
		},
		{
			name:  "what no message can have is left out",
			hooks: []*PublishHook{adding(map[string]string{"content-type": "x", "correlation_id": "x", "": "x", "nul": "\x00", "fine": "x"})},
			want:  map[string]string{"fine": "x"},
		},
		{
			name: "a hook that panics adds nothing",
			hooks: []*PublishHook{
				{Begin: func(context.Context, Publishing) (map[string]string, func(Published)) { panic("a hook's own affair") }},
				adding(map[string]string{"a": "x"}),
			},
			want: map[string]string{"a": "x"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			ctx := t.Context()
			if tt.from != nil {
				ctx = tt.from.Context(ctx)
			}
			for _, h := range tt.hooks {
				ctx = WithPublishHook(ctx, h)
			}
			p := beginPublication(ctx, []Draft{New("q").Draft(nil)})
			callers := maps.Clone(tt.caller)
			e := envelope{headers: callers}
			p.complete(0, &e)
			is.True(maps.Equal(e.headers, tt.want))
			is.True(maps.Equal(callers, tt.caller)) // the draft's own are not touched
			is.Equal(e.correlationID, tt.correlationID)
			_, err := e.encode()
			is.NoErr(err)
		})
	}
}

func TestPublishHook_IsToldOncePerQueueAndCall(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var told []Published
	hook := &PublishHook{Begin: func(_ context.Context, p Publishing) (map[string]string, func(Published)) {
		return nil, func(done Published) {
			is.Equal(done.Publishing, p)
			is.True(done.Took > 0)
			done.Took = 0
			told = append(told, done)
			panic("which changes nothing")
		}
	}}
	ctx := WithPublishHook(WithPublishHook(t.Context(), hook), hook) // once is enough
	a, b := New("a"), New("b").In(Outbox{Schema: "other"})

	ids, err := Publish(ctx, obliging{ids: "1"}, a.Draft(nil), b.Draft(nil), a.Draft(nil))
	is.NoErr(err)
	is.Equal(len(ids), 3)
	is.Equal(told, []Published{
		{Publishing: Publishing{Outbox: `"outbox"`, Queue: "a", Messages: 2}, IDs: []int64{1, 1}},
		{Publishing: Publishing{Outbox: `"other"."outbox"`, Queue: "b", Messages: 1}, IDs: []int64{1}},
	})

	told = nil
	_, err = Publish(ctx, nil, a.Draft(nil))
	is.Equal(told, []Published{{Publishing: Publishing{Outbox: `"outbox"`, Queue: "a", Messages: 1}, Err: err}})
	is.True(errors.Is(err, ErrNoTransaction))

	told = nil
	_, err = Publish(ctx, obliging{}, Draft{}) // of no queue
	is.Equal(told, []Published{{Publishing: Publishing{Messages: 1}, Err: err}})
	is.True(errors.Is(err, ErrNotMade))
}
