package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Pause implements [store.Pauser].
func (v *View) Pause(ctx context.Context, queue string) (changed bool, err error) {
	err = v.do(ctx, func() (wait bool) {
		if changed = v.pausedSince(queue).IsZero(); changed {
			v.paused[queue] = v.tx.now
		}
		return false
	})
	return changed, err
}

// Resume implements [store.Pauser].
func (v *View) Resume(ctx context.Context, queue string) (changed bool, err error) {
	err = v.do(ctx, func() (wait bool) {
		if changed = !v.pausedSince(queue).IsZero(); changed {
			v.paused[queue] = time.Time{}
			v.told = append(v.told, queue)
		}
		return false
	})
	return changed, err
}

// Paused implements [store.Pauser].
func (v *View) Paused(ctx context.Context) (list []store.Pause, err error) {
	err = v.do(ctx, func() (wait bool) {
		all := maps.Clone(v.s.paused)
		maps.Copy(all, v.paused)
		for _, queue := range slices.Sorted(maps.Keys(all)) {
			if since := all[queue]; !since.IsZero() {
				list = append(list, store.Pause{Queue: queue, Since: since})
			}
		}
		return false
	})
	return list, err
}

// pausedSince is when the queue was paused, as the transaction sees it; zero: it
// is not. It is called under the lock.
func (v *View) pausedSince(queue string) time.Time {
	if since, ours := v.paused[queue]; ours {
		return since
	}
	return v.s.paused[queue]
}
