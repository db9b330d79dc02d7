package retry_test

import (
	"fmt"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// The delays of the default policy. Its jitter is taken away here, to show the
// delays that are spread.
func ExampleDefault() {
	policy := retry.Default()
	policy.Jitter = 0
	for attempt := range policy.MaxAttempts {
		fmt.Println(attempt+1, policy.Decide(retry.Failure{ID: 1, Attempt: attempt + 1}))
	}
	// Output:
	// 1 retry after 1s
	// 2 retry after 2s
	// 3 retry after 4s
	// 4 retry after 8s
	// 5 retry after 16s
	// 6 retry after 32s
	// 7 retry after 1m4s
	// 8 retry after 2m8s
	// 9 retry after 4m16s
	// 10 give up
}
