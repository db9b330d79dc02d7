package typedtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/typed"
	"github.com/letterbox-go/letterbox/typed/typedtest"
)

// inExample stands where a test has its t.
type inExample struct{ testing.TB }

func (inExample) Helper()                  {}
func (inExample) Context() context.Context { return context.Background() }
func (inExample) Output() io.Writer        { return io.Discard }

func Example() {
	var t inExample // a test has its own
	type Welcome struct{ Name string }
	mails := typed.NewQueue[Welcome]("mails.welcome")

	box := queuetest.New(t)
	box.Deliver(mails.Handle(func(_ context.Context, w Welcome) error {
		if w.Name == "" {
			return queue.Permanent(errors.New("nobody to welcome"))
		}
		return nil
	}))
	_, err := mails.PublishBatch(t.Context(), queue.Autocommit(box), []Welcome{{"Ada"}, {""}})
	fmt.Println(err)

	m := typedtest.RequirePublished(t, box, mails, func(w Welcome) bool { return w.Name == "Ada" })
	fmt.Println(m.Value, m.ContentType())
	fmt.Println(typedtest.RequireDead(t, box, mails, nil).Error)
	// Output:
	// <nil>
	// {Ada} application/json
	// nobody to welcome
}
