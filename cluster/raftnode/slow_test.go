package raftnode

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
)

// A machine that again and again stands still for longer than the timing bears says so, once in the log; a single time is nothing.
func TestAMachineThatIsTooSlowSaysSo(t *testing.T) {
	members := func(n int) []cluster.Member { return make([]cluster.Member, n) }
	for _, c := range []struct {
		members     int
		timing      string
		still, disk time.Duration
	}{
		{3, "lan", 250 * time.Millisecond, 500 * time.Millisecond},
		{3, "relaxed", time.Second, 2 * time.Second},
		{2, "lan", 400 * time.Millisecond, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := newSlowness(Config{Timing: c.timing, Members: members(c.members)}, hclog.New(&hclog.LoggerOptions{Output: &log}))
			says := func(what string, want ...string) {
				t.Helper()
				now := s.now(time.Now())
				if (now.Text != "") != (len(want) > 0) || (now.Do != "") != (len(want) > 0) {
					t.Errorf("%d members, %s, %s: says %q, do %q", c.members, c.timing, what, now.Text, now.Do)
				}
				for _, w := range want {
					if !strings.Contains(now.Text+" "+now.Do, w) {
						t.Errorf("%d members, %s, %s: says %q, do %q; want %q", c.members, c.timing, what, now.Text, now.Do, w)
					}
				}
			}
			for range 1000 {
				s.stood(c.still-time.Millisecond, time.Now())
				s.wrote(c.disk-time.Millisecond, time.Now())
				time.Sleep(time.Second)
			}
			says("always just fast enough")
			for range 9 { // one bad moment
				s.stood(c.still, time.Now())
				time.Sleep(time.Second)
			}
			says("one occasion")
			time.Sleep(time.Minute)
			s.stood(c.still, time.Now())
			says("two")
			s.wrote(c.disk, time.Now())
			says("two, and one of the disk")
			time.Sleep(time.Minute)
			s.stood(3*c.still, time.Now())
			says("three", "Timing "+c.timing, "stood still 3 times for "+c.still.String(), "at worst "+(3*c.still).String(), "CPU")
			for range 2 {
				time.Sleep(time.Minute)
				s.wrote(2*c.disk, time.Now())
			}
			says("the disk, too", "stood still 3 times", "its disk took "+c.disk.String(), "DataDir")
			if advised := strings.Contains(s.now(time.Now()).Do, "relaxed"); advised != (c.timing != "relaxed") {
				t.Errorf("%s: advises relaxed: %v", c.timing, advised)
			}
			time.Sleep(slowWithin)
			s.tell(time.Now())
			says("ten quiet minutes later")
			if warns, infos := strings.Count(log.String(), "[WARN]"), strings.Count(log.String(), "[INFO]"); warns != 1 || infos != 1 {
				t.Errorf("%d warnings and %d notes in the log, want one each: %s", warns, infos, log.String())
			}
			for n := range 1000 {
				s.stood(time.Duration(n)*time.Second, time.Now())
				time.Sleep(slowApart)
			}
			if len(s.stands) > slowKept {
				t.Errorf("%d occasions are kept, want at most %d", len(s.stands), slowKept)
			}
		})
	}
	lone := newSlowness(Config{Timing: "lan", Members: members(1)}, hclog.NewNullLogger())
	for n := range 10 {
		lone.stood(time.Hour, time.Now().Add(time.Duration(n)*time.Minute))
	}
	if got := lone.now(time.Now().Add(10 * time.Minute)); got.Text != "" {
		t.Errorf("a single node, which nobody takes for lost, says %q", got.Text)
	}
}
