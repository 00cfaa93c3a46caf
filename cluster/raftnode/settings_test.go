package raftnode

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/test/pipenet"
)

// logged is what was logged, to be read with its lock held.
type logged struct {
	sync.Mutex
	bytes.Buffer
}

// One file of two was forgotten: while one node kept to the claims, the other one took over after its patience, and both led. Nobody was told.
func TestNodesWithOtherSettingsSaySo(t *testing.T) {
	withWitness := append(slices.Clone(two), cluster.Member{NodeID: "witness", Role: cluster.Witness, ClusterAddress: "witness:8086"})
	const relaxed, lan = "Timing is relaxed here and lan on ", "Timing is lan here and relaxed on "
	for name, c := range map[string]struct {
		members  []cluster.Member
		takeover []string // by node, as Timing
		timing   []string
		want     []string // in each node's alarm; empty: there is none
	}{
		"the same": {two, []string{"", "availability"}, []string{"", "lan"}, []string{"", ""}},
		"who goes on alone": {
			two, []string{"claim", "availability"}, []string{"lan", "lan"},
			[]string{"PairTakeover is claim here and availability on secondary", "PairTakeover is availability here and claim on primary"},
		},
		"timing of a pair":          {two, []string{"operator", "operator"}, []string{"relaxed", "lan"}, []string{relaxed + "secondary", lan + "primary"}},
		"timing with a witness":     {withWitness, []string{"", "", ""}, []string{"relaxed", "lan", "relaxed"}, []string{relaxed + "secondary", lan + "primary", relaxed + "secondary"}},
		"takeover beside a witness": {withWitness, []string{"operator", "availability", ""}, []string{"", "", ""}, []string{"", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := pipenet.New()
				var nodes []*Node
				var logs []*logged
				for i, m := range c.members {
					out := new(logged)
					log := hclog.New(&hclog.LoggerOptions{Output: out, Mutex: out})
					cfg := Config{NodeID: m.NodeID, Role: m.Role, Members: c.members, PairTakeover: c.takeover[i], Timing: c.timing[i], Claims: &slowClaims{during: func() {}}}
					nodes, logs = append(nodes, inMemoryLogged(t, net, cfg, log)), append(logs, out)
				}
				until(t, 10*time.Second, "all vote", func() bool { return nodes[0].Health().Voters == len(nodes) })
				time.Sleep(10 * time.Second)
				net.Cut("primary", "secondary") // that is when it matters
				defer net.Heal("primary", "secondary")
				time.Sleep(time.Second)
				for i, n := range nodes {
					got := n.View().Alarm
					if !strings.Contains(got, c.want[i]) || (got == "") != (c.want[i] == "") || got != "" && !strings.Contains(got, makeAlike) {
						t.Errorf("%s: got %q, want %q and what to do", n.cfg.NodeID, got, c.want[i])
					}
				}
				for i, out := range logs {
					var said []string
					out.Lock()
					for line := range strings.Lines(out.String()) {
						if strings.Contains(line, "other settings") {
							said = append(said, line)
						}
					}
					out.Unlock()
					once := len(slices.Compact(slices.Sorted(slices.Values(said)))) == len(said)
					if !once || (len(said) > 0) != (c.want[i] != "") || !strings.Contains(strings.Join(said, ""), c.want[i]) {
						t.Errorf("%s logged %q", c.members[i].NodeID, said)
					}
				}
			})
		})
	}
}

// A node of a release before does not say what it has.
func TestSettingsThatAreNotSaidAreNotOtherOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inMemory(t, pipenet.New(), "primary", two...)
		says := greeting{NodeID: "secondary", Incarnation: "i", Start: 1, Process: "p", Serial: 1, Empty: true, Members: n.members}
		n.meet(says)
		if got := n.View().Alarm; got != "" {
			t.Errorf("of a node that does not say: %q", got)
		}
		says.Serial, says.Timing, says.PairTakeover = 2, "relaxed", takeoverClaim
		n.meet(says)
		if got := n.View().Alarm; !strings.Contains(got, "Timing is lan here and relaxed on secondary") || !strings.Contains(got, "PairTakeover is availability here and claim on secondary") {
			t.Errorf("of a node with other settings: %q", got)
		}
		says.Serial, says.Process, says.Start, says.Timing, says.PairTakeover = 1, "q", 2, "lan", takeoverAvailability
		n.meet(says)
		if got := n.View().Alarm; got != "" {
			t.Errorf("of one that was mended: %q", got)
		}
	})
}
