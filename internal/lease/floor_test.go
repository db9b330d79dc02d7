package lease

import (
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestFloor_ForgetMakesASweepDueThatOnlyALaterOneAnswers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	began := time.Now()
	at := func(n int) time.Time { return began.Add(time.Duration(n) * time.Millisecond) }
	var f floor
	f.moved(true, false, began)
	f.sweptAt(at(0), at(1), time.Second) // long: the next is seconds away
	is.True(!f.since(at(2)).IsZero())

	f.forget(at(3))
	f.moved(false, false, at(4)) // what another claim brings changes nothing
	is.True(f.since(at(5)).IsZero())
	f.sweptAt(at(2), at(6), time.Second)
	is.True(f.since(at(7)).IsZero())
	f.sweptAt(at(4), at(8), time.Second)
	is.True(!f.since(at(9)).IsZero())
}
