package retry_test

import (
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// All that is wrong with a policy is reported at once.
func ExampleValidate() {
	fmt.Println(retry.Validate(retry.Exponential{First: time.Hour, MaxDelay: time.Minute, Jitter: 20}))
	// Output:
	// retry.Exponential: First is 1h0m0s, above MaxDelay, 1m0s
	// retry.Exponential: Jitter is 20, not a fraction from 0 to 1
}
