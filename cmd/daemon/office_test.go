package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// A refused order changes nothing and says what to do; force skips the work, and nothing else.
func TestOrdersAreRefusedWithWhatToDo(t *testing.T) {
	away := func(c *fakeCluster) {
		c.change("secondary", func(m *cluster.MemberView) { m.Fault = "i/o timeout" })
	}
	noVote := func(c *fakeCluster) {
		c.change("secondary", func(m *cluster.MemberView) { m.Suffrage = "nonvoter" })
	}
	flagged := func(c *fakeCluster) {
		c.apply(state.SetMaintenance{Node: "secondary", On: true})
	}
	unable := func(c *fakeCluster) { c.answer("secondary", cut(1)) }
	silent := func(c *fakeCluster) { c.answer("secondary", errors.New("it hangs")) }
	leaderless := func(c *fakeCluster) { c.lead("", ""); c.view.Outlook.Possible = true }
	full := func(c *fakeCluster) { c.view.Stall = cluster.Stall{Text: "etcd is full", Do: "free it"} }
	enter := v1.MaintenanceOrder{Node: "primary", Action: "enter"}
	for name, c := range map[string]struct {
		members int
		is      func(*fakeCluster)
		order   any
		as      error
		text    string
		hint    string
		forced  bool // it is done with force
		noForce bool // force has nothing to do with it
	}{
		"maintenance of the only node":               {1, nil, enter, api.ErrUnfit, "one node", "nothing is lost", false, false},
		"maintenance, sibling away":                  {2, away, enter, api.ErrUnfit, "secondary is out of contact (i/o timeout)", "the page /maintenance of secondary", false, false},
		"maintenance, sibling away, witness":         {3, away, enter, api.ErrUnfit, "out of contact", "nothing is lost", false, false},
		"maintenance, sibling without vote":          {3, noVote, enter, api.ErrUnfit, "has no vote yet", "wait", false, false},
		"maintenance of both":                        {3, flagged, enter, api.ErrUnfit, "also with force", "maintenance leave secondary", false, false},
		"maintenance, sibling cannot work":           {3, unable, enter, api.ErrUnfit, "secondary does not reach SCOM", "force", true, false},
		"maintenance, sibling says nothing":          {3, silent, enter, api.ErrUnfit, "it hangs", "force", true, false},
		"maintenance of the witness":                 {3, nil, v1.MaintenanceOrder{Node: "witness", Action: "enter"}, api.ErrUnfit, "never leads", "name the Primary", false, false},
		"maintenance of nobody":                      {3, nil, v1.MaintenanceOrder{Node: "other", Action: "enter"}, api.ErrNotFound, "other", "", false, false},
		"maintenance without a leader":               {3, leaderless, enter, api.ErrNoLeader, "", "takeover", false, false},
		"transfer without a leader":                  {3, leaderless, v1.TransferOrder{}, api.ErrNoLeader, "", "takeover", false, false},
		"transfer of the only node":                  {1, nil, v1.TransferOrder{}, api.ErrUnfit, "one node", "add a Secondary", false, false},
		"transfer to the witness":                    {3, nil, v1.TransferOrder{To: "witness"}, api.ErrUnfit, "never leads", "name the Primary", false, false},
		"transfer to nobody":                         {3, nil, v1.TransferOrder{To: "other"}, api.ErrNotFound, "other", "", false, false},
		"transfer to one in maintenance":             {3, flagged, v1.TransferOrder{}, api.ErrUnfit, "in maintenance", "maintenance leave secondary", false, false},
		"transfer to one away":                       {3, away, v1.TransferOrder{}, api.ErrUnfit, "out of contact", "start secondary", false, false},
		"transfer to one that cannot work":           {3, unable, v1.TransferOrder{}, api.ErrUnfit, "does not reach SCOM", "force", true, false},
		"transfer that the leader refuses":           {3, func(c *fakeCluster) { c.refuse = errors.New("secondary has applied entry 3 of 99") }, v1.TransferOrder{}, api.ErrUnfit, "entry 3 of 99", "goes on leading", false, false},
		"transfer that is not confirmed in time":     {3, func(c *fakeCluster) { c.refuse = fmt.Errorf("wait: %w", context.DeadlineExceeded) }, v1.TransferOrder{}, api.ErrUnknownOutcome, "wait", "", false, false},
		"maintenance where nothing can be committed": {3, full, enter, api.ErrStalled, "nothing was changed: etcd is full", "free it", false, false},
		"transfer where nothing can be committed":    {3, full, v1.TransferOrder{}, api.ErrStalled, "nothing was changed: etcd is full", "free it", false, false},
		"transfer once nothing can be committed": {3, func(c *fakeCluster) {
			c.refuse = fmt.Errorf("hand over: %w", cluster.Stall{Text: "etcd is full", Do: "free it"})
		}, v1.TransferOrder{}, api.ErrStalled, "etcd is full", "free it", false, false},
		"takeover of a living leader":     {3, func(c *fakeCluster) { c.takeover = fmt.Errorf("%w: primary", cluster.ErrLeaderAlive) }, v1.TakeoverOrder{}, api.ErrLeaderAlive, "primary", "", false, true},
		"takeover with something to lose": {3, func(c *fakeCluster) { c.takeover = fmt.Errorf("%w: the copy is old", cluster.ErrWarned) }, v1.TakeoverOrder{}, api.ErrWarned, "the copy is old", "", true, false},
		"takeover by a witness":           {3, func(c *fakeCluster) { c.takeover = errors.New("a witness never leads") }, v1.TakeoverOrder{}, api.ErrUnfit, "never leads", "/maintenance", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, force := range []bool{false, true} {
				if force && c.noForce {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					f := newFakeCluster(t, c.members, "primary", "primary").seeded("")
					f.answer("secondary", fit(1))
					if c.is != nil {
						c.is(f)
					}
					o := office{nodeOf(f, nil)}
					flags := o.inMaintenance()
					l, err := carryOut(t.Context(), o, c.order, force)
					if force && c.forced {
						if err != nil || l.Leader == "" {
							t.Errorf("with force: got %+v, %v", l, err)
						}
						return
					}
					if !errors.Is(err, c.as) || !strings.Contains(err.Error(), c.text) {
						t.Fatalf("force %v: got %v, want %v that says %q", force, err, c.as, c.text)
					}
					if u, ok := errors.AsType[*api.Unfit](err); c.hint != "" && (!ok || !strings.Contains(u.Hint, c.hint)) {
						t.Errorf("force %v: the hint of %v lacks %q", force, err, c.hint)
					}
					if got := f.handedOver(); len(got) > 0 || !slices.Equal(o.inMaintenance(), flags) {
						t.Errorf("force %v: it was refused, and handed over %q, maintenance %q", force, got, o.inMaintenance())
					}
				})
			}
		})
	}
}

func carryOut(ctx context.Context, o office, order any, force bool) (v1.Leadership, error) {
	switch order := order.(type) {
	case v1.MaintenanceOrder:
		order.Force = force
		return o.Maintain(ctx, order, "alice")
	case v1.TransferOrder:
		order.Force = force
		return o.Transfer(ctx, order, "alice")
	default:
		return o.TakeOver(ctx, v1.TakeoverOrder{Force: force}, "alice")
	}
}

// The leader hands over before it is flagged; a follower is only flagged; both carry their node's start number.
func TestMaintenanceHandsOverFirst(t *testing.T) {
	f := newFakeCluster(t, 3, "witness", "primary").seeded("")
	f.answer("secondary", fit(1))
	f.answer("primary", fit(1))
	o := office{nodeOf(f, nil)}
	l, err := o.Maintain(t.Context(), v1.MaintenanceOrder{Node: "primary", Action: "enter", Sticky: true}, "alice")
	if err != nil || l.Leader != "secondary" || !slices.Equal(l.Maintenance, []string{"primary"}) {
		t.Errorf("enter: got %+v, %v", l, err)
	}
	if got, want := f.handedOver(), []string{"secondary: maintenance: maintenance of primary, asked for by alice"}; !slices.Equal(got, want) {
		t.Errorf("handed over: %q, want %q", got, want)
	}
	if flag := o.state().Maintenance()[0]; !flag.Sticky || flag.Start != 7 || flag.Author != "alice" {
		t.Errorf("the flag is %+v, want a sticky one of start 7 by alice", flag)
	}
	// Both at once: refused, though this node has not heard of the first yet.
	if _, err := o.Maintain(t.Context(), v1.MaintenanceOrder{Node: "secondary", Action: "enter", Force: true}, "bob"); !errors.Is(err, api.ErrUnfit) {
		t.Errorf("the second one: got %v", err)
	}
	for range 2 { // again is no error
		l, err = o.Maintain(t.Context(), v1.MaintenanceOrder{Node: "primary", Action: "leave"}, "alice")
		if err != nil || len(l.Maintenance) != 0 {
			t.Errorf("leave: got %+v, %v", l, err)
		}
	}
	l, err = o.Maintain(t.Context(), v1.MaintenanceOrder{Node: "primary", Action: "enter"}, "alice")
	if err != nil || l.Leader != "secondary" || len(f.handedOver()) > 0 {
		t.Errorf("maintenance of a follower: got %+v, %v", l, err)
	}
}

// Two orders that meet do not put both nodes into maintenance, though neither had happened when the other was looked at.
func TestTwoOrdersOfMaintenanceThatMeet(t *testing.T) {
	f := newFakeCluster(t, 2, "primary", "primary").seeded("")
	f.answer("secondary", fit(1))
	f.onward = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.apply(state.SetMaintenance{Node: "secondary", On: true})
	}
	o := office{nodeOf(f, nil)}
	_, err := o.Maintain(t.Context(), v1.MaintenanceOrder{Node: "primary", Action: "enter", Force: true}, "alice")
	if !errors.Is(err, api.ErrUnfit) || !slices.Equal(o.inMaintenance(), []string{"secondary"}) {
		t.Errorf("got %v, maintenance %q; want it refused", err, o.inMaintenance())
	}
}

// Who is asked for nothing in particular is meant itself.
func TestMaintenanceOfTheNodeThatIsAsked(t *testing.T) {
	f := newFakeCluster(t, 2, "secondary", "primary").seeded("")
	o := office{nodeOf(f, nil)}
	l, err := o.Maintain(t.Context(), v1.MaintenanceOrder{Action: "enter"}, "alice")
	if err != nil || l.Leader != "primary" || !slices.Equal(l.Maintenance, []string{"secondary"}) {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestTransferNamesTheOtherNodeAndSaysWhoAsked(t *testing.T) {
	for _, order := range []v1.TransferOrder{{}, {To: "secondary"}} {
		f := newFakeCluster(t, 3, "primary", "primary").seeded("")
		f.answer("secondary", fit(1))
		o := office{nodeOf(f, nil)}
		l, err := o.Transfer(t.Context(), order, "alice")
		if err != nil || l.Leader != "secondary" {
			t.Errorf("%+v: got %+v, %v", order, l, err)
		}
		if got := f.handedOver(); !slices.Equal(got, []string{"secondary: transfer: asked for by alice"}) {
			t.Errorf("%+v: handed over %q", order, got)
		}
	}
	f := newFakeCluster(t, 3, "primary", "primary").seeded("")
	if l, err := (office{nodeOf(f, nil)}).Transfer(t.Context(), v1.TransferOrder{To: "primary"}, "alice"); err != nil || l.Leader != "primary" || len(f.handedOver()) > 0 {
		t.Errorf("to who leads already: got %+v, %v", l, err)
	}
}

func TestRemovingAMember(t *testing.T) {
	f := newFakeCluster(t, 3, "primary", "primary")
	o := office{nodeOf(f, nil)}
	if err := o.RemoveMember(t.Context(), "other", "alice"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("who is no member: got %v", err)
	}
	f.takeover = errors.New("witness is still in Members")
	err := o.RemoveMember(t.Context(), "witness", "alice")
	if u, ok := errors.AsType[*api.Unfit](err); !ok || !errors.Is(err, api.ErrUnfit) || err.Error() != "witness was not removed: witness is still in Members" || !strings.Contains(u.Hint, "every node.json") {
		t.Errorf("who is in the file: got %v", err)
	}
	o.opts.Node.Coordination = "etcd"
	if u, ok := errors.AsType[*api.Unfit](o.RemoveMember(t.Context(), "witness", "alice")); !ok || !strings.Contains(u.Hint, "nothing is to be removed from an etcd") {
		t.Errorf("who is in the file, with an etcd: got %v", u)
	}
	f.takeover = nil
	if err := o.RemoveMember(t.Context(), "witness", "alice"); err != nil {
		t.Error(err)
	}
}
