package test

import (
	"cmp"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

var anyTag = regexp.MustCompile(`<[^>]*>`)

// page is what a person reads on a node's status page, without its style.
func (w *world) page(id string) string {
	w.t.Helper()
	_, body, _ := strings.Cut(w.get(id, "/"), "</head>")
	return strings.Join(strings.Fields(html.UnescapeString(anyTag.ReplaceAllString(body, " "))), " ")
}

// source is something that the page tells of.
type source struct {
	harm  func(w *world)
	level string // of the first line: Green, Amber or Red
	says  []string
	mend  func(w *world) // nil: it stays broken
}

// sources are all that can break, one by one, in a cluster of three with two consoles and two LAMs.
var sources = map[string]source{
	"the console in use": {func(w *world) { w.consoles[0].Set(scomtest.Faults{Down: true}) }, "Amber",
		[]string{"SCOM server scom1 failed when it was last tried", "Do: check that web console", "Failing"}, func(w *world) { w.consoles[0].Heal() }},
	"every console": {func(w *world) {
		for _, c := range w.consoles {
			c.Set(scomtest.Faults{Status: 503})
		}
	}, "Red", []string{"NOT DELIVERING since", "503", "waiting for SCOM", "SCOM Server Status Failing", "Do: look at the web console: IIS"}, func(w *world) {
		for _, c := range w.consoles {
			c.Heal()
		}
	}},
	"the LAM in use": {func(w *world) { w.lams[0].Set(publishertest.Faults{Status: 502}) }, "Amber",
		[]string{"LAM lam1 failed when it was last tried", "502", "Do: look at the LAM", "MOOG Server Status Connected lam2; failing: lam1"}, func(w *world) { w.lams[0].Set(publishertest.Faults{}) }},
	"every LAM refuses the token": {func(w *world) {
		for _, l := range w.lams {
			l.Set(publishertest.Faults{Status: 401})
		}
	}, "Red", []string{"NOT DELIVERING since", "401", "Do: check AuthTokenCode", "waiting for the LAM", "MOOG Server Status Failing"}, func(w *world) {
		for _, l := range w.lams {
			l.Set(publishertest.Faults{})
		}
	}},
	"the secondary": {func(w *world) { w.cut("primary", "secondary"); w.cut("witness", "secondary") }, "Amber",
		[]string{"but secondary is not in contact", "Do: start secondary or mend the network", "Out of contact:"}, func(w *world) { w.heal("primary", "secondary"); w.heal("witness", "secondary") }},
	"the witness": {func(w *world) { w.cut("primary", "witness"); w.cut("secondary", "witness") }, "Amber",
		[]string{"but witness is not in contact", "Do: start witness"}, func(w *world) { w.heal("primary", "witness"); w.heal("secondary", "witness") }},
	"everybody else": {func(w *world) { w.cut("primary", "secondary"); w.cut("primary", "witness") }, "Red",
		[]string{"NOT DELIVERING since", "Leader None", "How far behind –"}, func(w *world) { w.heal("primary", "secondary"); w.heal("primary", "witness") }},
	"an alert that a LAM refuses for good": {func(w *world) {
		refuses := publishertest.Faults{RefuseIf: func(e []byte) bool { return strings.Contains(string(e), "Poison") }}
		w.lams[0].Set(refuses)
		w.lams[1].Set(refuses)
		w.raiseNamed("Poison", 1)
		w.pass(time.Minute)
		w.raiseNamed("Fine", 3)
	}, "Amber", []string{"1 entry was refused for good and parked", "Parked 1", "HTTP status 400"}, nil},
	"a close that SCOM refuses for good": {func(w *world) {
		id := w.group.Raise(scomtest.Alert{Name: "Disk", Severity: scomtest.Error, PrincipalName: "srv.contoso.com", IsMonitorAlert: true, Unhealthy: true})
		w.awaitDelivered(time.Minute)
		w.post("witness", "/event_post/?wait=10s", fmt.Sprintf(`{"id": %q}`, id))
	}, "Amber", []string{"SCOM has refused 1 close request for good", "Close requests that SCOM refuses, kept for you", "still unhealthy", "Try again…", "Parked 1"}, nil},
	"closes that SCOM does not take": {func(w *world) {
		ids := w.raise(1)
		w.awaitDelivered(time.Minute)
		for _, c := range w.consoles {
			c.Set(scomtest.Faults{Status: 500, Path: "data/alertResolutionStates"})
		}
		w.post("secondary", "/event_post/", fmt.Sprintf(`{"id": %q}`, ids[0]))
	}, "Amber", []string{"1 close request waits for SCOM", "Nothing moves:", "Close requests waiting 1", "by secondary"}, func(w *world) {
		for _, c := range w.consoles {
			c.Heal()
		}
	}},
	"maintenance of the leader": {func(w *world) {
		if _, err := w.maintain("secondary", "primary", "enter", true); err != nil {
			w.t.Error(err)
		}
	}, "Green", []string{"Leader secondary", "in maintenance, sticky", "maintenance : maintenance of primary", "primary is in maintenance"}, func(w *world) {
		if _, err := w.maintain("secondary", "primary", "leave", false); err != nil {
			w.t.Error(err)
		}
	}},
	"other settings": {func(w *world) { w.change("secondary", `"MaxBatchEvents": 20`, `"MaxBatchEvents": 21`) }, "Green",
		[]string{"Version 2 is in use, other than this node's file", "the settings file of this node differs", "somebody on this machine"},
		func(w *world) { w.change("primary", `"MaxBatchEvents": 21`, `"MaxBatchEvents": 20`) }},
	"a console whose clock is behind": {func(w *world) {
		for _, c := range w.consoles {
			c.Set(scomtest.Faults{ClockOffset: -10 * time.Minute})
		}
	}, "Green", []string{"clock stands before the cursor"}, func(w *world) {
		for _, c := range w.consoles {
			c.Heal()
		}
	}},
}

// spared is the level where, once all is mended, a spare has failed when it was last tried, and nothing but an event can show that
// this is over.
var spared = map[string]string{"every LAM refuses the token": "Amber"}

// Each source is broken in whole daemons, and the page changes: the leader's and, where the two can still speak, that of the node beside
// it, in the same words. Once it is mended the page says nothing of it any more.
func TestThePageTellsOfEverySource(t *testing.T) {
	for name, s := range sources {
		t.Run(name, func(t *testing.T) {
			inWorld(t, site{nodes: 3, consoles: 2, lams: 2, settings: quick + `"MaxBatchEvents": 20, "AlertPollCycleTime": 5,`}, func(w *world) {
				w.formed()
				node := "primary"
				first := w.page(node)
				if !strings.HasPrefix(first, "Gone") || !strings.Contains(first, "Green ok Delivering: all that SCOM shows has reached Moogsoft.") {
					t.Fatalf("at first the page says %s", first)
				}
				s.harm(w)
				if name == "maintenance of the leader" {
					node = "secondary"
				}
				w.pageUntil(node, s.level, s.says, first)
				if name != "everybody else" && name != "the secondary" && name != "other settings" {
					other := map[string]string{"primary": "secondary", "secondary": "primary"}[node]
					w.pageUntil(other, s.level, s.says[:1], "")
				}
				if s.mend == nil {
					return
				}
				s.mend(w)
				w.pageUntil(node, cmp.Or(spared[name], "Green"), nil, "")
				w.await("the page does not speak of it any more", 2*time.Minute, func() bool { return !strings.Contains(w.page(node), s.says[0]) })
			})
		})
	}
}

// pageUntil waits until a node's page has the level and says all that, which it did not before.
func (w *world) pageUntil(node, level string, says []string, before string) (page string) {
	w.t.Helper()
	for _, s := range says {
		if before != "" && strings.Contains(before, s) {
			w.t.Errorf("before anything broke the page said %q", s)
		}
	}
	lacks := ""
	defer func() {
		if lacks != "" {
			w.t.Logf("%s's page lacks %q:\n%s", node, lacks, page)
		}
	}()
	w.await(fmt.Sprintf("%s's page is %s and says %q", node, level, says), 12*time.Minute, func() bool {
		if lacks = ""; !w.t.Failed() {
			w.raise(1) // something is there to be delivered
		}
		w.pass(2 * time.Second)
		page = w.page(node)
		for _, s := range append([]string{level + " " + string(levelOf[level])}, says...) {
			if !strings.Contains(page, s) {
				lacks = s
			}
		}
		return lacks == ""
	})
	return page
}

var levelOf = map[string]v1.Level{"Green": v1.OK, "Amber": v1.Degraded, "Red": v1.Stopped}

// A certificate that ends soon, or cannot be used, stands on the page of the node that has it.
func TestThePageTellsOfCertificates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	inWorld(t, site{settings: quick, node: fmt.Sprintf(`"Tls": {"CaFile": %q},`, file)}, func(w *world) {
		w.await("the page says that the file is missing", time.Minute, func() bool { return strings.Contains(w.page("primary"), "no such file") })
		c, err := publishertest.SelfSigned(publishertest.Leaf{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(20*24*time.Hour + time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, c.CertPEM, 0o600); err != nil {
			t.Fatal(err)
		}
		w.await("the page says that it ends", 3*time.Minute, func() bool {
			page := w.page("primary")
			return strings.Contains(page, "in 20 days; renew it") && strings.Contains(page, "Tls.CaFile "+file+": ends on") && !strings.Contains(page, "no such file")
		})
	})
}

// A disk that fails ends the node, and the pages of the others tell who leads since, and why; its own page is the business of a browser.
func TestThePageTellsOfADiskThatFails(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		before := w.page("secondary")
		w.breakDisk("primary")
		w.await("secondary's page tells who leads, and why", time.Minute, func() bool {
			w.raise(1)
			page := w.page("secondary")
			return strings.Contains(page, "Leader secondary") && strings.Contains(page, "leader lost") && strings.Contains(page, "Out of contact:") && page != before
		})
	})
}
