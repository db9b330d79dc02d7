// Package retry says when a message whose handler failed is handled again.
//
// A [Policy] looks at one [Failure] and answers with a [Decision]: [After] some
// delay, or [GiveUp], which makes the message a dead letter. Policies are
// values: they keep no state, read no clock and do no I/O, so one value serves
// any number of queues and goroutines, and a test needs nothing but a literal.
//
// # Choosing a policy
//
// Say nothing, and [Default] applies: delays of 1 s, 2 s, 4 s and so on, ten
// attempts in all, which takes about eight and a half minutes.
//
// Otherwise write a literal. What is left out has a safe meaning:
//
//	retry.Exponential{First: 100 * time.Millisecond}      // doubling, ten attempts
//	retry.Constant{Delay: time.Minute, MaxAttempts: 60}   // once a minute, for an hour
//	retry.Linear{First: time.Second, Step: 5 * time.Second}
//	retry.Never{}                                         // the first failure is final
//
// # Limits
//
// [Constant], [Linear] and [Exponential] take the same four settings.
//
//   - MaxAttempts counts attempts in all, the first included: with 3, a message
//     is handled at most three times and waits twice. Zero means 10.
//     [Unlimited] means no limit, and has to be written out, because a message
//     that can never succeed then never leaves the table.
//   - MaxElapsed is about the time since the first attempt began: the policy
//     gives up when the next attempt would begin later than that. Zero means
//     no limit.
//   - MaxDelay is the longest delay, jitter included. Zero means [Ceiling].
//   - Jitter is the fraction by which a delay is spread to both sides, from 0
//     (none) to 1. With 0.2, a delay of 10 s falls between 8 s and 12 s. Where
//     the upper end lies above MaxDelay the range ends there, so that capped
//     delays stay spread out; and jitter takes no delay below a millisecond.
//
// The spread is computed from the id of the message and the attempt, not drawn
// from a generator: a thousand messages that fail together come back spread
// out, and the same failure is always decided in the same way.
//
// # Choosing by error
//
// [ByError] picks a policy by the error: the first rule that matches decides,
// and the fallback where none does. [Is] matches as errors.Is does, [As] by
// type, as errors.As does, and [When] by a condition on an error of a type:
//
//	retry.ByError(retry.Default(),
//		retry.Is(ErrNoSuchAccount, retry.Never{}),
//		retry.As[*net.DNSError](retry.Constant{Delay: time.Second}),
//		retry.When(func(e *pgconn.PgError) bool { return e.Code == "40001" }, retry.Constant{}),
//	)
//
// # A policy of one's own
//
// [Func] makes a policy of a function; a type with a Decide method is one as
// well. What such a policy is asked to keep is said at [Policy].
//
// # What cannot go wrong
//
// [Validate] finds the mistakes that can be seen beforehand, all at once.
// [Resolve] is how a worker asks a policy: one that panics or makes no sensible
// decision is replaced by [Default] for that failure, so that a faulty policy
// neither loses a message nor keeps it in a tight loop.
//
// No delay is longer than [Ceiling], whatever the attempt: arithmetic saturates
// instead of overflowing.
package retry
