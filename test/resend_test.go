package test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// poison makes the LAM refuse events of that name, and has one of them parked.
func (w *world) poison() (id string, entry v1.ParkedEntry) {
	w.t.Helper()
	w.lams[0].Set(publishertest.Faults{RefuseIf: func(e []byte) bool { return strings.Contains(string(e), "poison") }})
	id = w.group.Raise(scomtest.Alert{Name: "poison", Severity: scomtest.Error, PrincipalName: "srv.contoso.com"})
	w.await("it is parked, once the LAM has taken others", 10*time.Minute, func() bool {
		w.raise(1)
		w.pass(5 * time.Second)
		list := w.status(w.leader()).Parked.Newest
		if len(list) > 0 {
			entry = list[0]
		}
		return len(list) == 1
	})
	w.await("every node knows", time.Second, func() bool { return w.parkedOn(w.members...) == len(w.members) })
	return id, entry
}

// parkedOn is how many entries these nodes show together.
func (w *world) parkedOn(nodes ...string) (n int) {
	for _, node := range nodes {
		n += w.status(node).Parked.Count
	}
	return n
}

func (w *world) refusedWith(err error, code int, words string) {
	w.t.Helper()
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != code || !strings.Contains(e.Message, words) {
		w.t.Errorf("got %v, want %d with %q", err, code, words)
	}
}

// A parked event is sent again through any node: refused it stays, accepted it leaves the shelf everywhere, and it arrives once.
func TestAParkedEventIsSentAgainThroughAnyNode(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		id, entry := w.poison()
		ctx := context.Background()
		_, err := w.operator("witness").RetryParked(ctx, entry.Pipeline, entry.Key)
		w.refusedWith(err, 409, "LAM lam1 answers 400")
		w.await("it stays, with the new time", time.Second, func() bool {
			list := w.status("primary").Parked.Newest
			return len(list) == 1 && list[0].At.After(entry.At)
		})
		w.lams[0].Set(publishertest.Faults{}) // its mapping is mended
		got, err := w.operator("secondary").RetryParked(ctx, entry.Pipeline, entry.Key)
		if err != nil || got.Status != v1.RetryDelivered || got.Entry.Key != entry.Key || w.parkedOn("secondary") != 0 {
			t.Errorf("got %+v, %v; want it delivered", got, err)
		}
		w.await("it has left the shelf everywhere", time.Second, func() bool { return w.parkedOn(w.members...) == 0 })
		if e, ok := w.lams[0].Latest(strings.ToLower(id)); !ok || w.lams[0].Counts().Duplicates != 0 {
			t.Errorf("the LAM has %+v and %d duplicates, want the event once", e, w.lams[0].Counts().Duplicates)
		}
		_, err = w.operator("secondary").RetryParked(ctx, entry.Pipeline, entry.Key)
		w.refusedWith(err, 404, "not found")
		if !strings.Contains(w.log.String(), "parked: alerts/default/"+entry.Key+" sent again: delivered") {
			t.Error("it is not in the audit")
		}
	})
}

// Once the alert's newer state is delivered, the older one must not follow it.
func TestAParkedEventThatWasOvertakenIsNotSent(t *testing.T) {
	inWorld(t, site{nodes: 1, settings: quick}, func(w *world) {
		w.await("it leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		id, entry := w.poison()
		w.lams[0].Set(publishertest.Faults{})
		w.group.SetState(id, scomtest.Closed, `CONTOSO\ann`)
		w.await("the newer state is delivered", time.Minute, func() bool {
			e, ok := w.lams[0].Latest(strings.ToLower(id))
			return ok && e.ResolutionState == scomtest.Closed
		})
		before := w.lams[0].Counts().Events
		got, err := w.operator("primary").RetryParked(context.Background(), entry.Pipeline, entry.Key)
		if err != nil || got.Status != v1.RetryOvertaken || w.parkedOn("primary") != 0 {
			t.Errorf("got %+v, %v; want it overtaken, and gone", got, err)
		}
		if n := w.lams[0].Counts().Events - before; n != 0 {
			t.Errorf("%d events were sent", n)
		}
	})
}

// The leader dies while its post hangs. Whoever asked is answered by the next one.
func TestAResendSurvivesItsLeader(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.awaitVoters()
		id, entry := w.poison()
		w.lams[0].Set(publishertest.Faults{})
		w.sever("primary", "lam1")
		answer := make(chan error, 1)
		go func() {
			got, err := w.operator("witness").RetryParked(context.Background(), entry.Pipeline, entry.Key)
			if err == nil && got.Status != v1.RetryDelivered {
				err = errors.New(got.Status)
			}
			answer <- err
		}()
		w.pass(2 * time.Second)
		w.crash("primary")
		if err := <-answer; err != nil {
			t.Errorf("got %v, want it delivered by the next leader", err)
		}
		if _, ok := w.lams[0].Latest(strings.ToLower(id)); !ok || w.parkedOn("secondary", "witness") != 0 {
			t.Errorf("arrived %v, and %d parked", ok, w.parkedOn("secondary", "witness"))
		}
	})
}

// Nothing is lost when nobody can be asked, or the LAM is away.
func TestAParkedEventStaysWhileItCannotBeSent(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.awaitVoters()
		_, entry := w.poison()
		ctx := context.Background()
		w.lams[0].Set(publishertest.Faults{Down: true})
		w.raise(1)
		w.pass(10 * time.Second)
		_, err := w.operator("witness").RetryParked(ctx, entry.Pipeline, entry.Key)
		w.refusedWith(err, 503, "no LAM has taken it")
		w.stop("primary")
		w.stop("secondary")
		_, err = w.operator("witness").RetryParked(ctx, entry.Pipeline, entry.Key)
		w.refusedWith(err, 503, "no leader")
		w.lams[0].Set(publishertest.Faults{})
		w.start("primary")
		w.await("the Primary leads", 20*time.Second, func() bool { return w.leader() == "primary" })
		if got, err := w.operator("witness").RetryParked(ctx, entry.Pipeline, entry.Key); err != nil || got.Status != v1.RetryDelivered {
			t.Errorf("got %+v, %v; want it delivered", got, err)
		}
	})
}
