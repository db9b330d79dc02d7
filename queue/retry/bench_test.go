package retry_test

import (
	"fmt"
	"testing"

	"github.com/letterbox-go/letterbox/queue/retry"
)

func BenchmarkResolve(b *testing.B) {
	byError := retry.ByError(retry.Default(),
		retry.Is(errMissing, retry.Never{}),
		retry.As[*statusError](retry.Constant{Delay: s}),
		retry.When(func(e *statusError) bool { return e.code == 429 }, retry.Never{}),
	)
	for _, bb := range []struct {
		name   string
		policy retry.Policy
	}{
		{"never", retry.Never{}},
		{"constant", retry.Constant{Delay: s}},
		{"linear", retry.Linear{First: s, Step: s, Jitter: 0.2}},
		{"default", retry.Default()},
		{"byerror", byError},
	} {
		b.Run("policy="+bb.name, func(b *testing.B) {
			b.ReportAllocs()
			f := failure(5)
			f.Err = fmt.Errorf("handle: %w", errBusy)
			for b.Loop() {
				if _, err := retry.Resolve(bb.policy, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestResolve_DoesNotAllocate keeps what the benchmark shows. It cannot run in
// parallel: allocations are counted for the whole process.
func TestResolve_DoesNotAllocate(t *testing.T) {
	for _, p := range []retry.Policy{
		retry.Never{},
		retry.Constant{Delay: s},
		retry.Linear{Step: s, Jitter: 0.2},
		retry.Default(),
		retry.ByError(retry.Default(), retry.Is(errMissing, retry.Never{})),
	} {
		f := failure(5)
		if n := testing.AllocsPerRun(1000, func() { retry.Resolve(p, f) }); n != 0 {
			t.Errorf("%T allocates %v times", p, n)
		}
	}
}
