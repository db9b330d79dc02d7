package lease

import (
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// When to look again for what a claim passed over because it was locked: if its
// transaction rolls back, nobody tells. A lock that lasts costs little.
const (
	firstAgain = 5 * time.Millisecond
	maxAgain   = time.Second
)

// passedOver is how long to wait before looking again, twice as long each time.
type passedOver struct{ pause time.Duration }

// took takes in how many messages a claim brought, and whether it passed over
// others. What lies below a floor may be locked still, although the claim above it
// passed nothing over.
func (p *passedOver) took(c store.Claim, messages int, over bool) {
	if messages > 0 || (!over && c.Since.IsZero()) {
		p.pause = 0
	}
}

// next is how long to wait this time.
func (p *passedOver) next() time.Duration {
	p.pause = min(max(firstAgain, 2*p.pause), maxAgain)
	return p.pause
}
