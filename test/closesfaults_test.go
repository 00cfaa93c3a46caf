package test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
)

// stateCalls is the path of the call that sets resolution states.
const stateCalls = "data/alertresolutionstates"

// crash ends a node as a power cut does: what it has stored stays, and nobody hears anything of it from here on.
func (w *world) crash(id string) {
	w.t.Helper()
	w.net.Freeze(host(id))
	disk := w.disks[id].Clone()
	w.net.Crash(host(id))
	r := w.running[id]
	delete(w.running, id)
	r.cancel()
	<-r.done // with what error is nobody's concern
	w.net.Thaw(host(id))
	w.disks[id] = disk
}

// A leader that dies after SCOM has made the change, and before it says so: the next one finds what was done, and does nothing twice.
// The alert that a person has reopened meanwhile stays open.
func TestLeaderDiesBetweenCommitAndSCOMsAnswer(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(20)
		w.awaitDelivered(15 * time.Second)
		w.consoles[0].Set(scomtest.Faults{DoThenHang: true, Path: stateCalls})
		answers := w.askAll(ids, 1, 0)
		w.await("SCOM has made a change", 10*time.Second, func() bool { return w.closedIn(ids) > 0 })
		reopened := ids[0]
		for _, id := range ids {
			if a, _ := w.group.Get(id); a.ResolutionState == scomtest.Closed {
				reopened = id
				break
			}
		}
		w.group.SetState(reopened, 0, `CONTOSO\a.jensen`)
		w.crash("primary")
		w.consoles[0].Heal()
		w.await("the Secondary leads", 20*time.Second, func() bool { return w.leader() == "secondary" })
		w.start("primary")
		w.awaitSettled(time.Minute)
		for i, id := range ids {
			if id != reopened {
				w.checkOnce(id, answers[i])
			} else if _, writes := w.effects(id); writes != 1 {
				t.Errorf("%s, reopened by a person after our close: %d writes of ours, want one", id, writes)
			}
		}
		if a, _ := w.group.Get(reopened); a.ResolutionState != 0 {
			t.Errorf("the alert that a person has reopened is in state %d", a.ResolutionState)
		}
	})
}

// closedIn is how many of the alerts SCOM shows as closed.
func (w *world) closedIn(ids []string) (n int) {
	for _, id := range ids {
		if a, _ := w.group.Get(id); a.ResolutionState == scomtest.Closed {
			n++
		}
	}
	return n
}

// A write that SCOM makes and never answers is looked for before it is repeated, by the same leader too.
func TestLostAnswersOfSCOMAreLookedUp(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(30)
		w.awaitDelivered(15 * time.Second)
		w.consoles[0].Set(scomtest.Faults{DoThenHang: true, Path: stateCalls, Count: 2})
		answers := w.askAll(ids, 1, 20*time.Millisecond)
		w.awaitSettled(5 * time.Minute)
		for i, id := range ids {
			w.checkOnce(id, answers[i])
		}
	})
}

// A node that dies while it forwards requests, some of them committed and not answered: what it has promised is done, what the moobot
// asks again elsewhere is not done twice.
func TestNodeDiesWhileItForwards(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(100)
		w.awaitDelivered(15 * time.Second)
		answers := make([]posted, len(ids))
		var wg sync.WaitGroup
		for i, id := range ids {
			if i == 40 { // from now on it sends, and hears nothing
				w.net.CutOneWay(host("primary"), host("secondary"))
			}
			if i == 60 {
				w.crash("secondary")
			}
			wg.Go(func() { answers[i] = w.ask("secondary", id, "") })
			w.pass(2 * time.Millisecond)
		}
		wg.Wait()
		w.net.Heal(host("primary"), host("secondary"))
		lost, promised := 0, 0
		for i, id := range ids {
			if answers[i].accepted() {
				promised++
				continue
			}
			lost++
			if p := w.ask("witness", id, ""); !p.accepted() {
				t.Errorf("%s asked for again: %v", id, p)
			}
		}
		if lost == 0 || promised == 0 {
			t.Errorf("%d were promised and %d lost: the node did not die in the middle", promised, lost)
		}
		w.awaitSettled(time.Minute)
		for _, id := range ids {
			w.mustHold(id, posted{code: http.StatusOK, CloseAnswer: v1.CloseAnswer{Success: true, Status: "queued"}})
		}
		w.start("secondary")
		w.awaitVoters()
	})
}

// Leadership is handed over, and handed back, in the middle of 500 closes, and SCOM is slow: no moobot is turned away, nothing is
// done twice.
func TestHandoverInTheMiddleOfCloses(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"Failback": "manual",`}, func(w *world) {
		w.formed()
		ids := w.raise(500)
		w.awaitDelivered(15 * time.Second)
		w.consoles[0].Set(scomtest.Faults{Latency: 300 * time.Millisecond, Path: stateCalls})
		moved := make(chan error, 1)
		go func() {
			var err error
			for _, via := range []string{"witness", "primary"} {
				w.pass(700 * time.Millisecond)
				if _, e := w.operator(via).Transfer(context.Background(), v1.TransferOrder{}); e != nil {
					err = e
				}
			}
			moved <- err
		}()
		answers := w.askAll(ids, 1, 4*time.Millisecond)
		if err := <-moved; err != nil {
			t.Error(err)
		}
		w.awaitSettled(time.Minute)
		for i, id := range ids {
			w.checkOnce(id, answers[i])
		}
		if c := len(w.status("primary").Changes); c < 3 {
			t.Errorf("leadership has changed %d times, want two handovers after the start", c)
		}
	})
}

// SCOM is down for an hour, and 5,000 closes are asked for: all are taken, everybody sees that they wait and why, they outlive a
// restart of all nodes, and all are done within ten seconds once SCOM answers.
func TestFiveThousandClosesWaitForSCOM(t *testing.T) {
	const n = 5000
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(n)
		w.awaitDelivered(time.Minute)
		w.consoles[0].Set(scomtest.Faults{Down: true})
		w.pass(10 * time.Second)
		var answers []posted
		for part := 0; part < n; part += 500 { // a minute's worth at a time
			answers = append(answers, w.askAll(ids[part:part+500], 1, 0)...)
			w.pass(time.Minute)
		}
		for i, id := range ids {
			if p := answers[i]; !p.accepted() || p.Status != "queued" {
				t.Fatalf("%s: %v, want it queued", id, p)
			}
		}
		w.checkWaiting(n)
		for _, id := range w.members {
			w.stop(id)
		}
		w.pass(20 * time.Minute)
		for _, id := range w.members {
			w.start(id)
		}
		w.await("a node leads", 30*time.Second, func() bool { return w.leader() != "" })
		w.pass(30 * time.Minute)
		w.checkWaiting(n)
		w.drainedWithin(10 * time.Second)
		for i, id := range ids {
			w.checkOnce(id, answers[i])
		}
		w.checkWell(0)
	})
}

// checkWaiting demands that every node says how many wait, and that the leader says why and what to do.
func (w *world) checkWaiting(n int) {
	w.t.Helper()
	for _, id := range w.members {
		if s := w.status(id); s.Outbox.Pending != n || s.Outbox.Oldest.IsZero() {
			w.t.Errorf("%s says that %d wait since %v, want %d", id, s.Outbox.Pending, s.Outbox.Oldest, n)
		}
		list, err := w.operator(id).Outbox(context.Background())
		if err != nil || list.Pending != n || len(list.Entries) != 1000 || list.Entries[0].Stands == "" {
			w.t.Errorf("%s lists %d of %d, %v; want the oldest 1000 of %d", id, len(list.Entries), list.Pending, err, n)
		}
	}
	leader := w.leader()
	list, err := w.operator(leader).Outbox(context.Background())
	if err != nil || !strings.Contains(list.Error, "SCOM console") || !strings.Contains(list.Entries[0].Stands, "waiting for SCOM since") {
		w.t.Errorf("the leader says %q, of the oldest %q, %v; want SCOM's fault", list.Error, list.Entries[0].Stands, err)
	}
	if v := w.status(leader).Verdict; v.Level == v1.OK || v.Text == "" || v.Do == "" {
		w.t.Errorf("verdict %+v while %d wait", v, n)
	}
	if page := w.get("witness", "/"); !strings.Contains(page, fmt.Sprintf("%d,%03d", n/1000, n%1000)) {
		w.t.Errorf("the witness's page does not say that %d wait", n)
	}
}

// drainedWithin heals SCOM and demands that nothing waits so long after.
func (w *world) drainedWithin(limit time.Duration) {
	w.t.Helper()
	w.consoles[0].Heal()
	start := time.Now()
	w.awaitSettled(limit)
	w.t.Logf("drained %v after SCOM was back", time.Since(start))
}

// A follower is away for so long that its log cannot be continued: it is sent a snapshot, with an outbox of 2,000 requests in it, of which
// SCOM has carried out a group whose end nobody could record. It leads then, finds that group, and does the others once.
func TestAFollowerThatWasSentAFullOutboxLeads(t *testing.T) {
	const n = 2000
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(n)
		w.awaitDelivered(time.Minute)
		w.crash("secondary")
		w.consoles[0].Set(scomtest.Faults{DoThenHang: true, Path: stateCalls})
		var answers []posted
		for group := range slices.Chunk(ids, 400) {
			var wg sync.WaitGroup
			more := make([]posted, len(group))
			for i, id := range group {
				wg.Go(func() { more[i] = w.ask([]string{"primary", "witness"}[i%2], id, "") })
			}
			wg.Wait()
			answers = append(answers, more...)
		}
		w.await("SCOM has made a change", 10*time.Second, func() bool { return w.closedIn(ids) > 0 })
		// Each group's answer stays out; it is given up, looked for, and found, but for the one under way when the leader dies.
		w.pass(25 * time.Second) // a snapshot is due every ten seconds
		w.level = "DEBUG"        // raft says there what it does
		w.start("secondary")
		w.await("it has caught up", 10*time.Second, func() bool { return w.status("secondary").Outbox.Pending == w.status("primary").Outbox.Pending })
		if !strings.Contains(w.log.String(), "nstalled remote snapshot") {
			t.Fatal("it was sent no snapshot: this tests nothing")
		}
		w.awaitVoters()
		if waiting, done := w.status("secondary").Outbox.Pending, w.closedIn(ids); waiting < n/2 || n-waiting >= done {
			t.Fatalf("%d wait and SCOM has closed %d, want most to wait, of which some are closed: this tests nothing", waiting, done)
		}
		w.crash("primary")
		w.consoles[0].Heal()
		w.await("the Secondary leads", 20*time.Second, func() bool { return w.leader() == "secondary" })
		w.start("primary")
		w.awaitSettled(20 * time.Second)
		for i, id := range ids {
			w.checkOnce(id, answers[i])
		}
	})
}
