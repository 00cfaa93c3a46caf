package poller

import (
	"hash/maphash"
	"time"

	"scomconnector/poller/alert"
)

// maxRepeats bounds the memory of repeats, as the delivered map is bounded. Beyond it everything is
// forgotten, and a few mere repeat counts go out.
const maxRepeats = 500_000

// repeats knows what the versions sent looked like, so that a change which is nothing but a repeat count
// can be told from any other. It lives in the term: the replicated state keeps only times, and a change whose
// predecessor was not seen in this term goes out. So a repeat may be sent that need not be; nothing
// else is ever held back. A nil *repeats holds back nothing.
type repeats struct {
	seed maphash.Seed
	sums map[alert.ID]uint64
}

func newRepeats() *repeats {
	return &repeats{seed: maphash.MakeSeed(), sums: make(map[alert.ID]uint64)}
}

// remember takes a as what was sent last of its id.
func (r *repeats) remember(a *alert.Alert) {
	if r == nil {
		return
	}
	if a.Closed() {
		delete(r.sums, a.ID)
		return
	}
	if len(r.sums) >= maxRepeats {
		clear(r.sums)
	}
	r.sums[a.ID] = r.sum(a)
}

func (r *repeats) forget(id alert.ID) {
	if r != nil {
		delete(r.sums, id)
	}
}

// only reports whether a differs from the version old, which was sent, in nothing but its repeat count
// and what SCOM writes along with that.
func (r *repeats) only(a *alert.Alert, old alert.Version) bool {
	if r == nil || a.ResolutionState != old.State {
		return false
	}
	sum, ok := r.sums[a.ID]
	return ok && sum == r.sum(a)
}

// sum is over everything but the repeat count, the time of the change, and who made it.
func (r *repeats) sum(a *alert.Alert) uint64 {
	c := *a
	c.RepeatCount, c.LastModifiedBy = 0, ""
	c.LastModified, c.TimeAdded, c.TimeResolved = time.Time{}, time.Time{}, time.Time{}
	return maphash.Comparable(r.seed, c)
}
