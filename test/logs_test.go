package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// linesSince is what an operator finds in the log since it had so many bytes: in that of the primary, for each node has its own.
func (w *world) linesSince(begin int) []string {
	all := strings.Split(strings.TrimSpace(w.log.String()[begin:]), "\n")
	return slices.DeleteFunc(all, func(line string) bool {
		return strings.Contains(line, "scomconnector.secondary") || strings.Contains(line, "scomconnector.witness")
	})
}

// An outage is told when it begins, when it is told in Moogsoft, and when it ends, and not each time that something is tried
// again: who opens the log after an hour sees what has happened on one screen.
func TestAnHourOfOutageIsFewLines(t *testing.T) {
	const screen = 24
	for _, c := range []struct {
		name       string
		nodes      int
		begin, end func(w *world)
		says       []string
	}{
		{"the LAM is away", 1, func(w *world) { w.lams[0].Set(publishertest.Faults{Status: 503}) }, func(w *world) { w.lams[0].Set(publishertest.Faults{}) }, []string{"NOT DELIVERING", "503", "DELIVERING AGAIN"}},
		{"the LAM refuses the token", 1, func(w *world) { w.lams[0].Set(publishertest.Faults{Status: 401}) }, func(w *world) { w.lams[0].Set(publishertest.Faults{}) }, []string{"NOT DELIVERING", "401", "DELIVERING AGAIN"}},
		{"every second post fails", 1, func(w *world) { w.lams[0].Set(publishertest.Faults{Every: 2, EveryStatus: 502}) }, func(w *world) { w.lams[0].Set(publishertest.Faults{}) }, nil},
		{"SCOM is away", 1, func(w *world) { w.consoles[0].Set(scomtest.Faults{Status: 503}) }, func(w *world) { w.consoles[0].Heal() }, []string{"NOT DELIVERING", "DELIVERING AGAIN"}},
		{"every third poll fails", 1, func(w *world) { w.consoles[0].Set(scomtest.Faults{Status: 500, Every: 3}) }, func(w *world) { w.consoles[0].Heal() }, nil},
		{"the leader alone", 3, func(w *world) { w.stop("secondary"); w.stop("witness") }, func(w *world) { w.start("secondary"); w.start("witness") }, []string{"NOT DELIVERING", "knew of no leader for 1h"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, site{nodes: c.nodes, settings: quick}, func(w *world) {
				w.raise(3)
				w.awaitDelivered(time.Minute)
				w.pass(10 * time.Second)
				begin := len(w.log.String())
				c.begin(w)
				for range 60 { // alerts go on arriving
					w.pass(time.Minute)
					w.raise(2)
				}
				during := len(w.linesSince(begin))
				c.end(w)
				w.awaitDelivered(30 * time.Minute)
				w.pass(10 * time.Second)
				lines := w.linesSince(begin)
				if during > screen || len(lines) > screen*3/2 {
					t.Errorf("the outage makes %d lines, and %d with its end; want at most %d and %d:\n%s", during, len(lines), screen, screen*3/2, strings.Join(lines, "\n"))
				}
				for _, want := range c.says {
					if !strings.Contains(strings.Join(lines, "\n"), want) {
						t.Errorf("the log does not say %q:\n%s", want, strings.Join(lines, "\n"))
					}
				}
			})
		})
	}
}
