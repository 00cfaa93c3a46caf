package test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
)

// tripwire stands between a node and the LAM. It kills the node when it is told to, at the one
// instant that matters most: the LAM has accepted a batch, and the node does not know it yet. It
// counts what the LAM had accepted before: after a kill SCOM shows the batch anew, in another order
// and among new rows, so that a repeated batch does not look like the first.
type tripwire struct {
	lam http.Handler

	mu       sync.Mutex
	kill     func() // called once, after the next batch is accepted
	accepted map[string]bool
	repeats  int // events that were accepted before
	batches  int
}

// versionOf finds what names one version of an alert in an event's text.
var versionOf = regexp.MustCompile(`"external_id":"([0-9a-f-]{36})"[^\n]*?"lastModified":"([^"]+)","resolutionState":([0-9]+)`)

func (w *tripwire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	w.lam.ServeHTTP(rec, r)
	w.mu.Lock()
	if rec.Code == http.StatusOK {
		w.note(body)
	}
	kill := w.kill
	w.kill = nil
	w.mu.Unlock()
	if kill != nil {
		kill()
		panic(http.ErrAbortHandler)
	}
	for k, v := range rec.Header() {
		rw.Header()[k] = v
	}
	rw.WriteHeader(rec.Code)
	rw.Write(rec.Body.Bytes())
}

// note is called with mu held.
func (w *tripwire) note(body []byte) {
	w.batches++
	for event := range bytes.SplitSeq(body, []byte(`{"signature":`)) {
		if m := versionOf.FindSubmatch(event); m != nil {
			key := string(bytes.Join(m[1:], []byte("|")))
			if w.accepted[key] {
				w.repeats++
			}
			w.accepted[key] = true
		}
	}
}

func (w *tripwire) arm(kill func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kill = kill
}

// The real program is killed again and again under a steady flow, half of the times between the
// LAM's acceptance and its own commit. Nothing is lost, and at most one batch comes twice per kill.
func TestKillNineLosesNothing(t *testing.T) {
	const batch = 20
	kills := 100
	if !real() {
		kills = 12 // a laptop's two minutes are for everything
	}
	wire := &tripwire{accepted: map[string]bool{}}
	p := newPlant(t, plantOptions{
		front: func(lam http.Handler) http.Handler { wire.lam = lam; return wire },
		more:  `"MinPollCycleTime": 0.5, "MaxBatchEvents": ` + strconv.Itoa(batch) + `, "LowerTimeoutBound": 0.1, "UpperTimeoutBound": 0.5,`,
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	stopFlow := flow(p.group)
	node := p.procs[0]
	for i := range kills {
		node.start()
		await(t, "the node leads", 30*time.Second, node.leads)
		if i%2 == 0 {
			killed := make(chan struct{})
			wire.arm(func() { node.cmd.Process.Kill(); close(killed) })
			select {
			case <-killed:
			case <-time.After(30 * time.Second):
				t.Fatal("no batch within 30 s")
			}
		} else {
			<-time.After(time.Duration(rnd.Int64N(int64(1500 * time.Millisecond))))
		}
		node.kill()
	}
	stopFlow()
	node.start()
	p.awaitAll(60 * time.Second)
	wire.mu.Lock()
	defer wire.mu.Unlock()
	t.Logf("%d kills, %d batches, %d versions, %d of them twice", kills, wire.batches, len(wire.accepted), wire.repeats)
	if wire.repeats > kills*batch {
		t.Errorf("%d events came twice in %d kills, want at most a batch of %d for each", wire.repeats, kills, batch)
	}
	if wire.batches < kills/2 {
		t.Errorf("only %d batches: the flow was too thin to prove anything", wire.batches)
	}
}

// flow raises, repeats and closes alerts until the returned function is called.
func flow(g *scomtest.Group) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		var ids []string
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			ids = append(ids, g.Raise(scomtest.Alert{Name: "flow", Severity: scomtest.Warning, PrincipalName: "srv.contoso.com"}))
			if len(ids) > 10 {
				g.Repeat(ids[i%10])
				g.SetState(ids[len(ids)-10], scomtest.Closed, "System")
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

// SIGTERM ends the real program in good order: within ten seconds, with nothing sent twice.
func TestStopAndStartSendsNothingTwice(t *testing.T) {
	p := newPlant(t, plantOptions{more: `"MinPollCycleTime": 0.5,`})
	stopFlow := flow(p.group)
	node := p.procs[0]
	for range 5 {
		node.start()
		await(t, "the node leads", 30*time.Second, node.leads)
		n := p.lam.Counts().Events
		await(t, "alerts flow", 30*time.Second, func() bool { return p.lam.Counts().Events > n+20 })
		if err := node.stop(); err != nil {
			t.Fatalf("stop: %v", err)
		}
	}
	stopFlow()
	node.start()
	p.awaitAll(60 * time.Second)
	if d := p.lam.Counts().Duplicates; d != 0 {
		t.Errorf("%d events arrived twice over five planned stops, want none", d)
	}
	await(t, "the total of all restarts is what the LAM counts", 30*time.Second, func() bool {
		s, err := node.status()
		return err == nil && s.Totals.Processed == uint64(p.lam.Counts().Events)
	})
}

// The leader of three real nodes is killed again and again under a steady flow: another one goes on,
// the killed one comes back as a voter, nothing is lost.
func TestKillingLeadersOfThreeLosesNothing(t *testing.T) {
	const kills, batch = 5, 50
	p := newPlant(t, plantOptions{nodes: 3, more: `"MinPollCycleTime": 0.5, "MaxBatchEvents": ` + strconv.Itoa(batch) + `, "LowerTimeoutBound": 0.1, "UpperTimeoutBound": 0.5,`})
	for _, n := range p.procs {
		n.start()
	}
	stopFlow := flow(p.group)
	var leader *process
	for range kills {
		await(t, "a node leads", 30*time.Second, func() bool {
			for _, n := range p.procs {
				if n.cmd != nil && n.leads() {
					leader = n
					return true
				}
			}
			return false
		})
		awaitVoters(t, leader, 3)
		n := p.lam.Counts().Events
		await(t, "alerts flow", 30*time.Second, func() bool { return p.lam.Counts().Events > n+10 })
		leader.kill()
		dead := leader
		await(t, "another node leads", 30*time.Second, func() bool {
			for _, n := range p.procs[:2] { // a witness never does
				if n != dead && n.leads() {
					return true
				}
			}
			return false
		})
		dead.start()
	}
	stopFlow()
	p.awaitAll(60 * time.Second)
	if d := p.lam.Counts().Duplicates; d > kills*batch {
		t.Errorf("%d events came twice in %d kills, want at most a batch of %d for each", d, kills, batch)
	}
}
