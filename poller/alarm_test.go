package poller

import (
	"sync/atomic"
	"testing"
	"time"
)

// An alarm that is not the pipeline's own is told once when it begins and once when it ends, whoever leads by then; one that nobody
// knows anything about at the moment stays as it is.
func TestAForeignAlarmIsToldOnceOverTerms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const kind = "certificate-primary"
		var now atomic.Pointer[Alarm]
		r := newRig(t, nil)
		r.alarms = func() []Alarm {
			if a := now.Load(); a != nil {
				return []Alarm{*a}
			}
			return nil
		}
		r.begin()
		r.pass(10 * time.Second)
		r.wantOwn()
		now.Store(&Alarm{Kind: kind, Raised: true, Text: "ends soon", Cleared: "was renewed"})
		r.pass(10 * time.Second)
		r.wantOwn(kind + " 5")
		r.end()
		r.begin()
		r.pass(10 * time.Second)
		now.Store(nil)
		r.pass(10 * time.Second)
		r.wantOwn(kind + " 5")
		now.Store(&Alarm{Kind: kind, Text: "ends soon", Cleared: "was renewed"})
		r.pass(10 * time.Second)
		r.wantOwn(kind+" 5", kind+" 0")
		if told := r.enc.told; len(told) != 2 || told[0] != "ends soon" || told[1] != "was renewed" {
			t.Errorf("told: %q", told)
		}
		r.end()
	})
}
