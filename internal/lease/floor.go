package lease

import "time"

const (
	// trail is how far behind the last due time seen a floored claim begins:
	// transactions that publish commit at most about this late, as a rule.
	trail = 200 * time.Millisecond
	// sweepShare is the part of the time that claims without a floor may take.
	// A floor spares the walk over index entries of rows that are long gone but
	// that an old snapshot keeps (measured: a plain claim falls to 20 % of its
	// speed after a minute); claims without one find what committed late.
	sweepShare = 0.05
	// maxSweepGap bounds how long a late commit below the floor can wait,
	// whatever the share.
	maxSweepGap = 5 * time.Second
)

// floor remembers how far a queue has been claimed, which is where the next claim
// begins. A claim without one is a sweep.
type floor struct {
	position  time.Time // due time of the newest row claimed, by the store's clock
	swept     time.Time // when the last sweep ended
	sweepTook time.Duration
	forgot    time.Time // when a sweep became due that none has answered; zero: none
}

// since is where a claim at now begins; zero for a sweep.
func (f *floor) since(now time.Time) time.Time {
	if f.position.IsZero() || !f.forgot.IsZero() || !now.Before(f.nextSweep()) {
		return time.Time{}
	}
	return f.position.Add(-trail)
}

func (f *floor) nextSweep() time.Time {
	gap := time.Duration(float64(f.sweepTook) * (1/sweepShare - 1))
	return f.swept.Add(min(gap, maxSweepGap))
}

// moved takes in that a claim, a sweep or not, found rows, the newest of them due
// at newest, and whether it found all that it asked for.
func (f *floor) moved(sweep, full bool, newest time.Time) {
	// A sweep that is full leaves more to take right above it, which may be below
	// the position: a backlog that was committed late.
	if newest.After(f.position) || (sweep && full) {
		f.position = newest
	}
}

// sweptAt takes in that a sweep that began at began has ended, and how long it took.
func (f *floor) sweptAt(began, now time.Time, took time.Duration) {
	f.swept = now
	f.sweepTook += (took - f.sweepTook) / 4
	if began.After(f.forgot) {
		f.forgot = time.Time{}
	}
}

// forget makes claims sweeps from now on, until one that begins afterwards has
// ended: what was claimed is where it was before.
func (f *floor) forget(now time.Time) { f.forgot = now }
