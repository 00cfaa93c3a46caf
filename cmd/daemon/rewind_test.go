package daemon

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/api"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
	"scomconnector/test/pipenet"
)

// A rewind meets a batch whose post is under way. That batch was read up to the old cursor: were its commit to move it there again,
// nothing would be delivered once more, although the operator was told that it will be.
func TestARewindIsNotOvertakenByTheBatchInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newRewindSite(t)
		defer s.end()
		s.group.RaiseAll(make([]scomtest.Alert, 20))
		s.await(t, "the first 20", func() bool { return s.lam.Counts().Events == 20 })
		to := time.Now()
		s.pass(2 * time.Minute)
		s.group.RaiseAll(make([]scomtest.Alert, 30))
		s.await(t, "50", func() bool { return s.lam.Counts().Events == 50 })
		s.await(t, "the cursor behind them", func() bool { p, _ := s.n.state().Pipeline("alerts/default"); return p.Cursor.Time().After(to) })
		s.lam.Set(publishertest.Faults{Delay: 4 * time.Second})
		s.group.RaiseAll(make([]scomtest.Alert, 1))
		s.pass(3 * time.Second) // its post is under way

		if err := s.n.rewind(t.Context(), "alerts/default", to, "ann"); err != nil {
			t.Fatal(err)
		}
		s.pass(10 * time.Second)
		s.lam.Set(publishertest.Faults{})
		s.pass(time.Minute)
		if c := s.lam.Counts(); c.Duplicates != 31 || s.lam.IDs() != 51 {
			t.Errorf("%d events twice of %d alerts, want the 31 from the rewind on, of 51", c.Duplicates, s.lam.IDs())
		}
		s.group.RaiseAll(make([]scomtest.Alert, 1))
		s.await(t, "one more", func() bool { return s.lam.IDs() == 52 })
		if text := s.log.String(); !strings.Contains(text, "delivery goes on from where the cursor was put back to") || strings.Contains(text, "not delivering") {
			t.Errorf("the log says\n%s", text)
		}
		if err := s.n.rewind(t.Context(), "alerts/nobody", to, "ann"); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("of a pipeline that is not there: %v", err)
		}
	})
}

// A LAM that is away holds nothing up: when it is back, it gets everything from the rewind on.
func TestARewindWhileTheLAMIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newRewindSite(t)
		defer s.end()
		s.group.RaiseAll(make([]scomtest.Alert, 20))
		s.await(t, "the first 20", func() bool { return s.lam.Counts().Events == 20 })
		s.pass(5 * time.Minute)
		s.lam.Set(publishertest.Faults{Down: true})
		s.group.RaiseAll(make([]scomtest.Alert, 5))
		s.pass(3 * time.Minute)
		if err := s.n.rewind(t.Context(), "alerts/default", time.Now().Add(-time.Hour), "ann"); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Minute)
		s.lam.Set(publishertest.Faults{})
		s.pass(10 * time.Minute)
		if c := s.lam.Counts(); c.Duplicates != 20 || s.lam.IDs() != 25 {
			t.Errorf("%d events twice of %d alerts, want 20 of 25", c.Duplicates, s.lam.IDs())
		}
	})
}

// rewindSite is a leader that runs a term between a simulated console and LAM, in a bubble.
type rewindSite struct {
	n     *node
	group *scomtest.Group
	lam   *publishertest.LAM
	log   *lockedText
	end   func()
}

func newRewindSite(t *testing.T) *rewindSite {
	t.Helper()
	wire := pipenet.New()
	s := &rewindSite{group: scomtest.New(scomtest.Options{}), lam: publishertest.New(publishertest.Options{}), log: &lockedText{}}
	console := s.group.Console(scomtest.ConsoleOptions{})
	for addr, serve := range map[string]func(net.Listener){"scom:80": console.Serve, "lam:80": s.lam.Serve} {
		ln, err := wire.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		serve(ln)
	}
	c := newFakeCluster(t, 1, "primary", "primary")
	c.mu.Lock()
	text := strings.NewReplacer(`"D"`, `"CONTOSO"`, `"u"`, `"svc-moogsoft"`, "plain:p", "plain:"+scomtest.DefaultAccount.Password).Replace(settingsText(`"ReconcileMinutes": 0,`))
	c.apply(state.SetConfig{Text: []byte(text), At: time.Now()})
	c.mu.Unlock()
	s.n = nodeOf(c, wire.Dialer("primary"))
	s.n.log = hclog.New(&hclog.LoggerOptions{Output: s.log})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.n.lead(ctx, cluster.Term{Token: c.View().State.Token(), Propose: c.Propose})
	}()
	s.end = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.n.closeFeed()
		console.Close()
		s.lam.Close()
	}
	return s
}

func (s *rewindSite) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (s *rewindSite) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 6000 {
		if cond() {
			return
		}
		s.pass(100 * time.Millisecond)
	}
	t.Fatalf("not within ten minutes: %s\n%s", what, s.log)
}

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
