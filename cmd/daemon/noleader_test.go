package daemon

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/publisher/publishertest"
)

// pipes is a listener in memory: in a bubble real sockets do not settle.
type pipes struct {
	queue chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.queue:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.queue <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// told lists what the LAM has got of the alarm: severities and signatures.
func alarmsAt(l *publishertest.LAM) (severities []int, ids []string) {
	for _, e := range l.Received() {
		severities = append(severities, e.Severity)
		if !slices.Contains(ids, e.ExternalID) {
			ids = append(ids, e.ExternalID)
		}
	}
	return severities, ids
}

// A node that was restarted while its alarm was out clears it when there is a leader, under the name that it was told by, though the
// connector was renamed meanwhile; and a LAM that is away gets it once it is back.
func TestTheNoLeaderAlarmOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire, lam, dir := newPipes(), publishertest.New(publishertest.Options{}), t.TempDir()
		lam.Serve(wire)
		defer lam.Close()
		f := newFakeCluster(t, 3, "secondary", "primary").seeded("")
		f.lead("", "")
		life := func() (end func()) {
			n := nodeOf(f, wire.dial)
			n.opts.Node.DataDir = dir
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); n.watchLeaders(ctx) }()
			return func() { cancel(); <-done }
		}
		want := func(what string, severities ...int) {
			t.Helper()
			got, ids := alarmsAt(lam)
			if !slices.Equal(got, severities) || len(ids) > 1 || len(ids) == 1 && ids[0] != "scomconnector::test::noleader" {
				t.Fatalf("%s: the LAM has got %v of %q, want %v", what, got, ids, severities)
			}
		}
		end := life()
		lam.Set(publishertest.Faults{Status: 503})
		pass(2 * time.Minute)
		want("while the LAM is away")
		lam.Set(publishertest.Faults{})
		pass(40 * time.Second)
		want("once it is back", 5)
		end()
		pass(time.Minute)
		end = life()
		pass(30 * time.Second)
		want("after a restart", 5)
		pass(40 * time.Second)
		want("a minute after a restart, within a quarter of an hour", 5)
		end()
		f.lead("primary", cluster.CauseElected)
		f.seeded(`"ConnectorDescription": "x",`)
		f.mu.Lock()
		text := strings.Replace(settingsText(""), `"test"`, `"renamed"`, 1)
		f.apply(state.SetConfig{Expect: 2, Text: []byte(text), At: time.Now()})
		f.mu.Unlock()
		end = life()
		pass(10 * time.Second)
		want("once there is a leader", 5, 0)
		end()
		end = life()
		pass(time.Hour)
		want("once it was cleared", 5, 0)
		end()
	})
}

// A node that stops, or a leader that is lost for less than a minute, is no alarm.
func TestAShortLackOfALeaderIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire, lam := newPipes(), publishertest.New(publishertest.Options{})
		lam.Serve(wire)
		defer lam.Close()
		f := newFakeCluster(t, 3, "secondary", "primary").seeded("")
		n := nodeOf(f, wire.dial)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); n.watchLeaders(ctx) }()
		for range 5 {
			f.lead("", "")
			pass(50 * time.Second)
			f.lead("primary", cluster.CauseElected)
			pass(2 * time.Second)
		}
		n.stopping.Store(true)
		f.lead("", "")
		pass(5 * time.Minute)
		if got, _ := alarmsAt(lam); len(got) > 0 {
			t.Errorf("the LAM has got %v", got)
		}
		cancel()
		<-done
	})
}

// What a node without a leader says is so, and what it advises is possible.
func TestWhatALeaderlessNodeSays(t *testing.T) {
	at := time.Now().Add(time.Hour)
	maintenance := func(id string) func(*fakeCluster) {
		return func(c *fakeCluster) { c.apply(state.SetMaintenance{Node: id, On: true}) }
	}
	away := func(c *fakeCluster, ids ...string) {
		for _, id := range ids {
			c.change(id, func(m *cluster.MemberView) { m.Fault = "timeout" })
		}
	}
	for name, c := range map[string]struct {
		members  int
		is       func(*fakeCluster)
		leader   string
		what, do string
		works    bool
	}{
		"a leader":        {3, nil, "primary", "", "", true},
		"a witness leads": {3, func(c *fakeCluster) { away(c, "primary") }, "witness", "only a witness is left", "start the Primary or the Secondary", false},
		"one in maintenance leads": {3, func(c *fakeCluster) { maintenance("primary")(c); away(c, "witness") }, "primary",
			"primary is in maintenance, and witness is out of contact", "have primary leave maintenance at http://secondary:8085/maintenance", false},
		"this node is in maintenance": {2, func(c *fakeCluster) { maintenance("secondary")(c); away(c, "primary") }, "",
			"nobody may lead: secondary is in maintenance", "leave maintenance", false},
		"the one that is away is in maintenance": {3, func(c *fakeCluster) { maintenance("primary")(c); away(c, "primary", "witness") }, "",
			"primary and witness are out of contact", "start primary and witness", false},
		"a pair, patient": {2, func(c *fakeCluster) { away(c, "primary"); c.view.Outlook = cluster.Outlook{Possible: true, At: at} }, "",
			"primary is out of contact", "secondary takes over by itself at " + at.UTC().Format("15:04:05 UTC"), false},
		"a pair, not by itself": {2, func(c *fakeCluster) { away(c, "primary"); c.view.Outlook = cluster.Outlook{Possible: true} }, "",
			"primary is out of contact", "start primary, or, if that takes too long, take over at http://secondary:8085/maintenance", false},
		"electing": {3, func(c *fakeCluster) {
			away(c, "primary")
			c.view.Outlook = cluster.Outlook{Possible: true, LastHeard: time.Now()}
		}, "",
			"electing", "nothing yet", false},
		"electing for long": {3, func(c *fakeCluster) {
			away(c, "primary")
			c.view.Outlook = cluster.Outlook{Possible: true, LastHeard: time.Now().Add(-time.Minute)}
		}, "",
			"although most nodes are in contact", "ClusterAddress", false},
		"all are there":        {3, nil, "", "no leader is known", "ClusterAddress", false},
		"an alarm":             {3, func(c *fakeCluster) { c.view.Alarm = "primary is of another cluster" }, "", "of another cluster", "mend what", false},
		"waiting":              {3, func(c *fakeCluster) { c.view.Waiting = "waiting for primary to form the cluster" }, "", "waiting for primary", "start the nodes", false},
		"an etcd that is full": {2, func(c *fakeCluster) { c.view.Stall = cluster.Stall{Text: "etcd is full", Do: "free it"} }, "primary", "etcd is full", "free it", false},
		"waiting for an etcd":  {2, func(c *fakeCluster) { c.view.Waiting, c.view.Do = "etcd does not answer", "mend it" }, "", "etcd does not answer", "mend it", false},
	} {
		f := newFakeCluster(t, c.members, "secondary", "primary")
		if c.is != nil {
			c.is(f)
		}
		f.lead(c.leader, cluster.CauseElected)
		v := f.View()
		if got := working(v); got != c.works {
			t.Errorf("%s: works %v, want %v", name, got, c.works)
		}
		if c.works {
			continue
		}
		what, do := leaderless(v)
		wantText(t, name, what, c.what)
		wantText(t, name, do, c.do)
	}
}
