package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
)

// fakeCluster is a cluster of primary, secondary and, with three, witness, as one of its nodes sees it. Proposals and transfers
// take effect at once; the others answer as it says.
type fakeCluster struct {
	cluster.Coordinator
	t    *testing.T
	node string

	mu        sync.Mutex // guards what follows
	view      cluster.View
	idle      bool // who is called the leader does not lead: its term is over, or has not begun
	index     uint64
	term      uint64
	answers   map[string]any // by member: to whatever it is asked; an error is one
	asked     []string       // member and question
	refuse    error          // of transfers
	transfers []string       // "to: cause: text"
	onward    func()         // called at the end of a transfer
	takeover  error
}

func newFakeCluster(t *testing.T, members int, self, leader string) *fakeCluster {
	c := &fakeCluster{t: t, node: self, answers: map[string]any{}}
	c.view = cluster.View{NodeID: self, State: state.New(), Start: 7}
	for i, id := range []string{"primary", "secondary", "witness"}[:members] {
		role := []cluster.Role{cluster.Primary, cluster.Secondary, cluster.Witness}[i]
		c.view.Members = append(c.view.Members, cluster.MemberView{
			Member: cluster.Member{NodeID: id, Role: role, Url: "http://" + id + ":8085"}, Suffrage: "voter", Start: uint64(7 + i),
		})
	}
	c.lead(leader, cluster.CauseFormed)
	return c
}

// View implements cluster.Coordinator; those without a fault were heard of just now.
func (c *fakeCluster) View() cluster.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view
	v.Members = slices.Clone(v.Members)
	for i := range v.Members {
		if v.Members[i].Fault == "" {
			v.Members[i].LastContact = time.Now()
		}
	}
	self, _ := member(v, v.NodeID)
	v.Leading = !c.idle && v.Leader == v.NodeID && self.Role != cluster.Witness && !v.State.InMaintenance(v.NodeID)
	return v
}

// Health implements cluster.Coordinator: nothing is wrong.
func (c *fakeCluster) Health() cluster.Health { return cluster.Health{} }

// change edits a member as it is seen.
func (c *fakeCluster) change(id string, edit func(*cluster.MemberView)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.view.Members {
		if c.view.Members[i].NodeID == id {
			edit(&c.view.Members[i])
		}
	}
}

func (c *fakeCluster) lead(id string, cause cluster.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view.Leader = id; id != "" {
		c.term++
		c.apply(state.TermStart{Node: id, ClusterID: "c", Cause: string(cause), At: time.Now()})
	}
}

// apply commits; c.mu is held.
func (c *fakeCluster) apply(op state.Op) state.Result {
	c.index++
	token := state.Token{Epoch: state.Epoch{Number: 1, Node: "primary"}, Term: c.term}
	data, err := state.Encode(state.Command{Token: token, Op: op})
	if err != nil {
		c.t.Fatal(err)
	}
	res, _, err := c.view.State.Apply(c.term, c.index, data)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

func (c *fakeCluster) Propose(_ context.Context, op state.Op) (state.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view.Leader == "" {
		return state.Result{}, cluster.ErrNoLeader
	}
	return c.apply(op), nil
}

func (c *fakeCluster) Transfer(_ context.Context, to string, why cluster.Reason) error {
	c.mu.Lock()
	err := c.refuse
	if err == nil {
		c.transfers = append(c.transfers, fmt.Sprintf("%s: %s: %s", to, why.Cause, why.Text))
	}
	c.mu.Unlock()
	if err == nil {
		c.lead(to, why.Cause)
	}
	if c.onward != nil {
		c.onward()
	}
	return err
}

// handedOver is what was handed over since the last call.
func (c *fakeCluster) handedOver() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.transfers
	c.transfers = nil
	return all
}

// Ask implements cluster.Peers.
func (c *fakeCluster) Ask(_ context.Context, id string, request []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var q question
	if err := json.Unmarshal(request, &q); err != nil {
		c.t.Error(err)
	}
	c.asked = append(c.asked, id+" "+q.Ask)
	switch a := c.answers[id].(type) {
	case nil:
		return nil, errors.New(id + " does not answer")
	case error:
		return nil, a
	default:
		return json.Marshal(a)
	}
}

func (c *fakeCluster) answer(id string, a any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[id] = a
}

// TakeOver and Remove implement cluster.Members.
func (c *fakeCluster) TakeOver(_ context.Context, by string, force bool) error {
	if c.takeover != nil && !force {
		return c.takeover
	}
	c.lead(c.node, cluster.CauseTakeover)
	return nil
}

func (c *fakeCluster) Remove(context.Context, string) error { return c.takeover }

// seeded gives the cluster its settings, with these keys on top.
func (c *fakeCluster) seeded(more string) *fakeCluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apply(state.SetConfig{Expect: c.view.State.Config().Version, Text: []byte(settingsText(more)), At: time.Now()})
	return c
}

func settingsText(more string) string {
	return `{"ScomServers": [{"ScomAddressHost": "scom", "Url": "http://scom:80/OperationsManager", "Domain": "D", "UserId": "u", "Password": "plain:p"}],
		"MoogServers": [{"MoogUrl": "http://lam:80/events"}], ` + more + ` "ConnectorName": "test"}`
}

// stateOf is a state in which these have been committed.
func stateOf(t *testing.T, ops ...state.Op) *state.State {
	c := fakeCluster{t: t, view: cluster.View{State: state.New()}}
	for _, op := range ops {
		if _, begins := op.(state.TermStart); begins {
			c.term++
		}
		if res := c.apply(op); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	return c.view.State
}

// nodeOf is this node's daemon on the cluster. Nothing is there to be reached unless dial finds it.
func nodeOf(c *fakeCluster, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *node {
	if dial == nil {
		dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	}
	v := c.View()
	self, _ := member(v, v.NodeID)
	local := &settings.Node{NodeID: v.NodeID, Role: self.Role, AdvertiseUrl: self.Url, PairTakeover: "availability", TakeoverAfter: 15 * time.Second}
	for _, m := range v.Members {
		local.Members = append(local.Members, m.Member)
	}
	n := newNode(Options{Node: local, Version: "test", Dial: dial, Log: hclog.NewNullLogger()})
	n.coord, n.peers, n.roster, n.live = c, c, c, v.State
	close(n.up)
	return n
}

// fit is what a node answers that could do all the work under the settings' version.
func fit(version uint64) ability {
	return ability{Version: version, Lines: []lineAbility{{Pipeline: "alerts/default"}}}
}

// cut is what one answers that reaches nothing.
func cut(version uint64) ability {
	return ability{Version: version, Lines: []lineAbility{{Pipeline: "alerts/default", Lacks: "secondary does not reach SCOM"}}}
}

func wantText(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: got %q, want %q in it", what, got, w)
		}
	}
}
