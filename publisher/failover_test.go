package publisher_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/poller/alert"
	"scomconnector/publisher"
	"scomconnector/publisher/publishertest"
	"scomconnector/test/pipenet"
)

// site is a connector and some LAMs in a network in memory, for a synctest bubble.
type site struct {
	net  *pipenet.Net
	lams []*publishertest.LAM
	d    *publisher.Destination
	next int // number of the next event
}

// newSite makes a site with n LAMs, hosts lam1 to lamn.
func newSite(t *testing.T, n int) *site {
	s := &site{net: pipenet.New()}
	cfg := publisher.Config{Dial: s.net.Dialer("connector"), ProbeEvery: 10 * time.Second}
	for i := range n {
		host := fmt.Sprintf("lam%d", i+1)
		ln, err := s.net.Listen(host + ":80")
		if err != nil {
			t.Fatal(err)
		}
		l := publishertest.New(publishertest.Options{})
		l.Serve(ln)
		s.lams = append(s.lams, l)
		cfg.LAMs = append(cfg.LAMs, publisher.LAM{Name: host, URL: "http://" + host + "/events/x"})
	}
	s.d = destination(t, cfg)
	synctest.Wait() // the first connection tests
	return s
}

func (s *site) close() {
	s.d.Close()
	for _, l := range s.lams {
		l.Close()
	}
}

// publish sends n new events and returns how long that took.
func (s *site) publish(t *testing.T, n int) (alert.Delivery, time.Duration) {
	t.Helper()
	batch := make([]alert.Event, n)
	for i := range batch {
		batch[i] = event(s.next, 300)
		s.next++
	}
	start := time.Now()
	return s.d.Publish(t.Context(), batch), time.Since(start)
}

func (s *site) inUse() string {
	for _, l := range s.d.Status() {
		if l.InUse {
			return l.Name
		}
	}
	return ""
}

func (s *site) events() (n []int) {
	for _, l := range s.lams {
		n = append(n, l.Counts().Events)
	}
	return n
}

func bubble(t *testing.T, lams int, test func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, lams)
		defer s.close()
		test(t, s)
	})
}

func TestTheNextLAMGetsTheSameEventsAtOnce(t *testing.T) {
	for _, c := range []struct {
		what   string
		faults publishertest.Faults
		within time.Duration
	}{
		{"down", publishertest.Faults{Down: true}, 0},
		{"502", publishertest.Faults{Status: 502}, 0},
		{"login page", publishertest.Faults{HTMLLogin: true}, 0},
		{"401", publishertest.Faults{Status: 401}, 0},
		{"success false", publishertest.Faults{SuccessFalse: true}, 0},
		{"refuses everything", publishertest.Faults{Status: 400}, 0},
		{"hanging", publishertest.Faults{Hang: true}, 30 * time.Second},
		{"taken, then cut", publishertest.Faults{TakenThenCut: true}, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, 2, func(t *testing.T, s *site) {
				s.lams[0].Set(c.faults)
				got, took := s.publish(t, 20)
				check(t, got, 20, 0, 0)
				if took > c.within {
					t.Errorf("took %v, want at most %v", took, c.within)
				}
				if n := s.lams[1].Counts(); n.Events != 20 || n.Duplicates != 0 {
					t.Errorf("lam2 has %+v", n)
				}
				if got := s.inUse(); got != "lam2" {
					t.Errorf("in use is %s", got)
				}
				if s := s.d.Status()[0]; s.State != "failing" || s.LastError == "" {
					t.Errorf("lam1: %+v", s)
				}
				// From now on lam2 gets them without a detour.
				before := s.lams[0].Counts().Requests
				got, took = s.publish(t, 20)
				check(t, got, 20, 0, 0)
				if n := s.lams[0].Counts().Requests - before; n > 0 || took > 0 {
					t.Errorf("lam1 got %d more requests, delivery took %v", n, took)
				}
			})
		})
	}
}

func TestAnUnpluggedLAMCostsOneConnectTimeout(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		s.net.Cut("connector", "lam1")
		got, took := s.publish(t, 5)
		check(t, got, 5, 0, 0)
		if took != 5*time.Second {
			t.Errorf("took %v, want the 5 s to connect", took)
		}
		if e := s.d.Status()[0].LastError; !strings.Contains(e, "no connection within 5s") {
			t.Errorf("got %q", e)
		}
		s.net.Heal("connector", "lam1")
	})
}

func TestTheFirstLAMIsUsedAgainWhenItHasRecovered(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Status: 503})
		s.publish(t, 5)
		s.lams[0].Set(publishertest.Faults{})
		time.Sleep(basePause + 10*time.Second)
		got, _ := s.publish(t, 10)
		check(t, got, 10, 0, 0)
		if got := s.events(); !slices.Equal(got, []int{10, 5}) {
			t.Errorf("events per LAM: %v", got)
		}
		if got := s.inUse(); got != "lam1" {
			t.Errorf("in use is %s", got)
		}
		if c := s.lams[0].Counts(); c.ByStatus[200] != 2 {
			t.Errorf("got %v, want one event on trial and then the rest", c.ByStatus)
		}
	})
}

// basePause is the breaker's first pause, as documented.
const basePause = 10 * time.Second

// TestAHangingFirstLAMHardlyDelaysTheSecond: connection tests succeed, requests hang.
func TestAHangingFirstLAMHardlyDelaysTheSecond(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Hang: true})
		s.publish(t, 5) // meets it, 30 s
		start := time.Now()
		var lost, worst time.Duration
		trials := 0
		for time.Since(start) < time.Hour {
			got, took := s.publish(t, 5)
			check(t, got, 5, 0, 0)
			if took > 0 {
				trials++
			}
			lost += took
			worst = max(worst, took)
			time.Sleep(2 * time.Second)
		}
		if worst > 5*time.Second {
			t.Errorf("one delivery waited %v, want at most 5 s", worst)
		}
		if trials == 0 || trials > 12 {
			t.Errorf("got %d trials in an hour, want 1 to 12, further and further apart", trials)
		}
		t.Logf("%d trials, %v of waiting in an hour", trials, lost)
	})
}

// TestAFlappingLAMIsLeftAlone: a first LAM with 502 every third request is not gone back to each time.
func TestAFlappingLAMIsLeftAlone(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Every: 3})
		changes, last := 0, "lam1"
		start := time.Now()
		for time.Since(start) < time.Hour {
			got, _ := s.publish(t, 5)
			check(t, got, 5, 0, 0)
			if now := s.inUse(); now != last {
				changes, last = changes+1, now
			}
			time.Sleep(2 * time.Second)
		}
		if changes > 24 {
			t.Errorf("changed %d times in an hour", changes)
		}
		if d := s.lams[0].Counts().Duplicates + s.lams[1].Counts().Duplicates; d != 0 {
			t.Errorf("%d duplicates", d)
		}
		t.Logf("%d changes", changes)
	})
}

func TestAllLAMsAwayIsOneErrorThatNamesThemAll(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Status: 401})
		s.lams[1].Set(publishertest.Faults{Status: 503, RetryAfter: "60"})
		got, _ := s.publish(t, 5)
		check(t, got, 0, 0, 5)
		if got.Err.LAM != "lam2" || got.Err.RetryAfter != 0 {
			t.Errorf("got LAM %s, pause %v; lam1 did not ask for a pause", got.Err.LAM, got.Err.RetryAfter)
		}
		for _, want := range []string{"lam1", "AuthTokenCode", "lam2", "503"} {
			if !strings.Contains(got.Err.Error(), want) {
				t.Errorf("%q is not in %q", want, got.Err)
			}
		}
		// The next one asks lam1 only: lam2 wants to be left alone for a minute.
		s.publish(t, 5)
		if a, b := s.lams[0].Counts().Requests, s.lams[1].Counts().Requests; a != 2 || b != 1 {
			t.Errorf("requests: %d and %d, want 2 and 1", a, b)
		}
		time.Sleep(time.Minute)
		s.lams[1].Set(publishertest.Faults{})
		got, _ = s.publish(t, 5)
		check(t, got, 5, 0, 0)
	})
}

// TestAnOpenBreakerIsTheLastResort: the second one fails while the first is in a long pause.
func TestAnOpenBreakerIsTheLastResort(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Status: 502})
		s.publish(t, 5)
		s.lams[0].Set(publishertest.Faults{})
		s.lams[1].Set(publishertest.Faults{Status: 502})
		got, _ := s.publish(t, 5)
		check(t, got, 5, 0, 0)
		if got := s.inUse(); got != "lam1" {
			t.Errorf("in use is %s", got)
		}
	})
}

func TestAPartlyDeliveredBatchGoesOnWithTheNextLAM(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		f := refuse(10)
		s.lams[1].Set(f)
		f.Every = 4
		s.lams[0].Set(f)
		got, _ := s.publish(t, 40)
		check(t, got, 39, 1, 0)
		a, b := order(s.lams[0]), order(s.lams[1])
		if all := slices.Concat(a, b); len(a) == 0 || len(b) == 0 || !slices.Equal(all, slices.Delete(upTo(40), 10, 11)) {
			t.Errorf("lam1 has %v, lam2 has %v", a, b)
		}
	})
}

// TestALAMClosingAnIdleConnectionIsNoFailure, whatever it did with its side of it.
func TestALAMClosingAnIdleConnectionIsNoFailure(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		for range 20 {
			got, _ := s.publish(t, 5)
			check(t, got, 5, 0, 0)
			time.Sleep(3 * time.Second)
			s.lams[0].CutIdle() // and at once the next request
		}
		if n := s.lams[1].Counts().Requests; n != 0 {
			t.Errorf("lam2 got %d requests", n)
		}
		if c := s.lams[0].Counts(); c.Duplicates != 0 || c.Events != 100 {
			t.Errorf("lam1 has %+v", c)
		}
	})
}

// TestALostAnswerRepeatsOneBatchAtMost on each LAM that loses one.
func TestALostAnswerRepeatsOneBatchAtMost(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *site) {
		got, _ := s.publish(t, 5) // the connection is kept now
		check(t, got, 5, 0, 0)
		s.lams[0].Set(publishertest.Faults{TakenThenCut: true})
		batch := events(20)
		for i := range batch {
			batch[i] = event(100+i, 300)
		}
		check(t, s.d.Publish(t.Context(), batch), 0, 0, 20)
		s.lams[0].Set(publishertest.Faults{})
		check(t, s.d.Publish(t.Context(), batch), 20, 0, 0)
		if n := s.lams[0].Counts().Duplicates; n > 40 {
			t.Errorf("%d duplicates of 20 events, want at most one for each answer that was lost", n)
		}
	})
}

func TestLongOutageThenRecovery(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Down: true})
		batch := events(50)
		start := time.Now()
		for time.Since(start) < 5*time.Hour {
			check(t, s.d.Publish(t.Context(), batch), 0, 0, 50)
			time.Sleep(3 * time.Minute)
		}
		s.lams[0].Set(publishertest.Faults{})
		check(t, s.d.Publish(t.Context(), batch), 50, 0, 0)
		if c := s.lams[0].Counts(); c.Events != 50 || c.Duplicates != 0 {
			t.Errorf("got %+v", c)
		}
	})
}

func TestASlowLAMWithinItsDeadlineIsFine(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Delay: 29 * time.Second})
		got, took := s.publish(t, 5)
		check(t, got, 5, 0, 0)
		if took != 29*time.Second {
			t.Errorf("took %v", took)
		}
		if l := s.d.Status()[0].Latency; l != 29*time.Second {
			t.Errorf("latency %v", l)
		}
	})
}

func TestConnectionTestsNeverPost(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		for _, l := range s.d.Status() {
			if l.State != "ok" || !l.LastOK.IsZero() {
				t.Errorf("before any delivery: %+v", l)
			}
		}
		s.net.Cut("connector", "lam2")
		time.Sleep(time.Minute)
		if l := s.d.Status()[1]; l.State != "failing" || !strings.Contains(l.LastError, "no connection") {
			t.Errorf("lam2 unplugged: %+v", l)
		}
		s.net.Heal("connector", "lam2")
		time.Sleep(time.Minute)
		if l := s.d.Status()[1]; l.State != "ok" || l.LastError != "" {
			t.Errorf("lam2 back: %+v", l)
		}
		for i, l := range s.lams {
			if c := l.Counts(); c.Requests != 0 || c.Connections == 0 {
				t.Errorf("lam%d: %+v, want connections without requests", i+1, c)
			}
		}
	})
}

// TestALAMThatRefusesSingleEventsForEverIsDoubted: at quiet times there is no batch to compare with.
func TestALAMThatRefusesSingleEventsForEverIsDoubted(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *site) {
		s.lams[0].Set(publishertest.Faults{Status: 400})
		for i := range 3 {
			got, _ := s.publish(t, 1)
			if i < 2 {
				check(t, got, 0, 1, 0)
			} else {
				check(t, got, 1, 0, 0)
			}
			time.Sleep(2 * time.Second)
		}
		if got := s.inUse(); got != "lam2" {
			t.Errorf("in use is %s", got)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails if a goroutine stays
		s := newSite(t, 3)
		s.publish(t, 5)
		s.net.Cut("connector", "lam1")
		s.net.Cut("connector", "lam3")
		time.Sleep(11 * time.Second) // connection tests are under way
		s.close()
		s.net.Heal("connector", "lam1")
		s.net.Heal("connector", "lam3")
	})
}

// TestARepeatedFailureIsLoggedOnce, and its end as well.
func TestARepeatedFailureIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := pipenet.New()
		l := publishertest.New(publishertest.Options{})
		ln, err := network.Listen("lam:80")
		if err != nil {
			t.Fatal(err)
		}
		l.Serve(ln)
		defer l.Close()
		var out bytes.Buffer
		d, err := publisher.New(publisher.Config{
			Name: "default", Dial: network.Dialer("connector"), AuthToken: "hunter2-token",
			LAMs: []publisher.LAM{{Name: "moog", URL: "http://scott:hunter2@lam/"}},
		}, hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug}), publisher.NewMetrics(prometheus.NewRegistry()))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, f := range []publishertest.Faults{{Down: true}, {Status: 503}, {}, {Down: true}, {}} {
			l.Set(f)
			for range 10 {
				d.Publish(t.Context(), events(2))
				time.Sleep(time.Minute)
			}
		}
		synctest.Wait()
		log := out.String()
		for text, want := range map[string]int{"LAM fails": 3, "LAM works again": 2, "hunter2": 0} {
			if got := strings.Count(log, text); got != want {
				t.Errorf("%q is logged %d times, want %d:\n%s", text, got, want, log)
			}
		}
	})
}

// A spare that failed once and can be connected to again does not fail for ever in people's eyes; one that refuses our
// credentials does, until it takes something: a connection proves nothing there.
func TestASpareThatFailedIsTested(t *testing.T) {
	for name, c := range map[string]struct {
		fault publishertest.Faults
		cut   bool
		want  string
	}{
		"it was unplugged":      {publishertest.Faults{}, true, "reachable"},
		"it answered 503":       {publishertest.Faults{Status: 503}, false, "reachable"},
		"it refuses the token":  {publishertest.Faults{Status: 401}, false, "failing"},
		"there is no LAM there": {publishertest.Faults{Status: 404}, false, "failing"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 2)
				defer s.close()
				s.lams[0].Set(publishertest.Faults{Status: 503})
				s.lams[1].Set(c.fault)
				if c.cut {
					s.net.Cut("connector", "lam2")
				}
				s.publish(t, 1)
				if got := s.d.Status()[1]; got.State != "failing" || got.LastFailed.IsZero() || got.Brief == "" {
					t.Errorf("got %+v", got)
				}
				s.lams[0].Set(publishertest.Faults{})
				s.publish(t, 1)
				before := s.lams[1].Counts().Requests
				if c.cut {
					time.Sleep(time.Minute)
					if got := s.d.Status()[1].State; got != "failing" {
						t.Errorf("while it is away its state is %s", got)
					}
					s.net.Heal("connector", "lam2")
				}
				s.lams[1].Set(publishertest.Faults{})
				time.Sleep(time.Minute)
				if got := s.d.Status()[1]; got.State != c.want || got.InUse {
					t.Errorf("got state %s, want %s", got.State, c.want)
				}
				if got := s.lams[1].Counts().Requests; got != before {
					t.Errorf("%d requests by tests", got-before)
				}
			})
		})
	}
}

func TestALAMThatCanBeReachedAgainEndsTheWait(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *site) {
		s.net.Cut("connector", "lam1")
		got, _ := s.publish(t, 1)
		told := func(d time.Duration) bool {
			select {
			case <-got.Err.Back:
				return true
			case <-time.After(d):
				return false
			}
		}
		if got.Err == nil || got.Err.Back == nil || told(time.Hour) {
			t.Fatalf("%+v: Back is nil or closed while the LAM cannot be reached", got.Err)
		}
		s.net.Heal("connector", "lam1")
		if !told(30 * time.Second) {
			t.Error("not told of a LAM that can be reached again")
		}
		// One that was reachable all the while has not come back.
		s.lams[0].Set(publishertest.Faults{Status: 502})
		if got, _ = s.publish(t, 1); told(time.Hour) {
			t.Error("told of a LAM that had never been out of reach")
		}
		s.lams[0].Set(publishertest.Faults{Status: 503, RetryAfter: "120"})
		if got, _ = s.publish(t, 1); got.Err.Back != nil {
			t.Error("a LAM that asked to be left alone may be tried before")
		}
	})
}
