package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cmd/settings"
	"scomconnector/poller"
)

// fakeCluster is a leader with a Secondary that takes over, or refuses to.
type fakeCluster struct {
	cluster.Coordinator
	refuses error
}

func (fakeCluster) View() cluster.View {
	return cluster.View{NodeID: "primary", Leading: true, Leader: "primary", Members: []cluster.MemberView{
		{Member: cluster.Member{NodeID: "secondary", Role: cluster.Secondary}, Suffrage: "voter", LastContact: time.Now()},
	}}
}

func (c fakeCluster) Transfer(context.Context, string, cluster.Reason) error { return c.refuses }

func TestAPlannedStopCountsItsHandover(t *testing.T) {
	for outcome, refuses := range map[string]error{"ok": nil, "failed": errors.New("it lags")} {
		n := &node{coord: fakeCluster{refuses: refuses}, log: hclog.NewNullLogger(), handovers: newHandovers(prometheus.NewRegistry())}
		n.opts.Node = &settings.Node{NodeID: "primary"}
		n.stop(t.Context())
		if got := testutil.ToFloat64(n.handovers.WithLabelValues("stop", outcome)); got != 1 {
			t.Errorf("handover_total{reason=stop,outcome=%s}: got %v, want 1", outcome, got)
		}
	}
}

func TestVerdictSaysOnlyWhatIsSo(t *testing.T) {
	leading := cluster.View{NodeID: "a", Leader: "a", Leading: true}
	following := cluster.View{NodeID: "b", Leader: "a"}
	pipe := poller.Status{Name: "alerts/default", Phase: poller.PhaseFirst}
	sending := pipe
	sending.LastSent = time.Now()
	for name, c := range map[string]struct {
		in    verdictInput
		level v1.Level
		says  string
	}{
		"a leader that SCOM has not answered yet":  {verdictInput{view: leading, pipes: []poller.Status{pipe}}, v1.OK, "Starting"},
		"a leader in the middle of its first read": {verdictInput{view: leading, pipes: []poller.Status{sending}}, v1.OK, "Delivering"},
		"a leader whose store has failed":          {verdictInput{view: leading, health: cluster.Health{StoreFault: "no space"}}, v1.Stopped, "NOT DELIVERING"},
		"a follower whose store has failed":        {verdictInput{view: following, health: cluster.Health{StoreFault: "no space"}}, v1.Degraded, "a leads, but this node cannot follow"},
		"a follower":                               {verdictInput{view: following}, v1.OK, "Standing by"},
	} {
		n := &node{started: time.Now()}
		got := n.verdict(&v1.Status{Node: c.in.view.NodeID}, c.in)
		if got.Level != c.level || !strings.HasPrefix(got.Text, c.says) {
			t.Errorf("%s: got %s %q, want %s %q", name, got.Level, got.Text, c.level, c.says)
		}
	}
}
