package retry

import "time"

// spread moves a delay within its range of jitter: evenly between
// delay*(1-jitter) and delay*(1+jitter), and no further than longest. The range
// is cut there rather than its results, which would bring half of all capped
// delays to the same instant. Nor does jitter make a delay shorter than the
// shortest, so that a delay never turns into a hot loop.
func spread(delay time.Duration, jitter float64, longest time.Duration, f Failure) time.Duration {
	if jitter == 0 {
		return delay
	}
	reach := time.Duration(jitter * float64(delay))
	low := max(delay-reach, min(delay, shortest))
	high := min(delay+reach, longest) // at most two years: no overflow
	// Rounding may take the product to the far end, or some nanoseconds past it.
	offset := time.Duration(fraction(f.ID, f.Attempt) * float64(high-low))
	return min(low+offset, high)
}

// fraction is a number in [0, 1), evenly distributed over ids and attempts, and
// always the same for the same two.
//
// It is the number at place attempt in the sequence that SplitMix64 makes from
// a seed of the id. The id is mixed first, because a sequence from a plain
// number contains those of others, shifted. SplitMix64 is by Steele, Lea and
// Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, with
// the constants that Vigna uses in https://prng.di.unimi.it/splitmix64.c.
func fraction(id, attempt int64) float64 {
	const golden = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	seed := mix(uint64(id) + golden)
	z := mix(seed + uint64(attempt)*golden)
	return float64(z>>11) / (1 << 53) // the 53 bits that a float64 holds
}

// mix is the output function of SplitMix64: a bijection in which each bit of
// the input changes half of those of the output.
func mix(z uint64) uint64 {
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
