package raftnode_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/raftnode"
	"scomconnector/cluster/state"
)

func stoppedPrimary(t *testing.T) raftnode.Config {
	return raftnode.Config{NodeID: "primary", Role: cluster.Primary, Members: clustertest.One, DataDir: filepath.Join(t.TempDir(), "data"), Version: "test"}
}

var second = state.Epoch{Number: 2, Node: "primary"}

// imported puts a filled state into a folder of its own.
func imported(t *testing.T) (raftnode.Config, *state.State) {
	t.Helper()
	cfg, st := stoppedPrimary(t), clustertest.Filled(t)
	if err := raftnode.Import(cfg, hclog.NewNullLogger(), st, second); err != nil {
		t.Fatal(err)
	}
	return cfg, st
}

// ledOnce runs the node until it has led, and stops it in good order.
func ledOnce(t *testing.T, cfg raftnode.Config) (token state.Token) {
	t.Helper()
	n, err := raftnode.Open(cfg, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = n.Run(ctx, func(lead context.Context, term cluster.Term) error {
		token = term.Token
		cancel()
		<-lead.Done()
		return nil
	})
	if err := errors.Join(err, n.Close()); err != nil {
		t.Fatal(err)
	}
	if token.IsZero() {
		t.Fatal("the node never led")
	}
	return token
}

func TestImportedStateIsLedInAHigherEpochAndReadBack(t *testing.T) {
	t.Parallel()
	cfg, st := imported(t)
	if err := raftnode.Export(cfg, hclog.NewNullLogger(), func(raftnode.Copy) error { return nil }); err == nil || !strings.Contains(err.Error(), "start it until it leads") {
		t.Errorf("before the first term: got %v", err)
	}
	token := ledOnce(t, cfg)
	if token.Epoch != second {
		t.Errorf("the first term is %v, want epoch %v", token, second)
	}
	err := raftnode.Export(cfg, hclog.NewNullLogger(), func(c raftnode.Copy) error {
		if len(c.Doubts) > 0 || c.Epoch != second {
			t.Errorf("got epoch %v, doubts %v", c.Epoch, c.Doubts)
		}
		if c.State.ClusterID() != st.ClusterID() {
			t.Errorf("the cluster is %s, was %s", c.State.ClusterID(), st.ClusterID())
		}
		// The same term on the original is the same state, to the byte.
		b, err := state.Encode(state.Command{Token: token, Op: state.TermStart{Node: "primary", Cause: string(cluster.CauseFormed), Reason: "the state was brought from an etcd", At: c.State.Changes()[0].At}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := st.Apply(0, 0, b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(clustertest.Bytes(t, c.State), clustertest.Bytes(t, st)) {
			t.Error("what was read back is another state")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := raftnode.Import(cfg, hclog.NewNullLogger(), st, state.Epoch{Number: 3, Node: "primary"}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("over a folder that is used: got %v", err)
	}
}

// An import that was cut short at any file leaves an empty folder, into which it may be repeated.
func TestImportCutShortMayBeRepeated(t *testing.T) {
	t.Parallel()
	cfg, st := imported(t)
	path := filepath.Join(cfg.DataDir, "identity.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unfinished := stoppedPrimary(t)
	unfinished.Members = clustertest.Shape{{NodeID: "primary", Role: cluster.Primary}}
	unfinished.BeforeWrite = func(string) error { return errors.New("the machine is gone") }
	if err := raftnode.Import(unfinished, hclog.NewNullLogger(), st, second); err == nil {
		t.Fatal("a failed write was not told")
	}
	unfinished.BeforeWrite = nil
	err = raftnode.Export(unfinished, hclog.NewNullLogger(), func(raftnode.Copy) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "holds no state") {
		t.Errorf("what was begun: got %v", err)
	}
	if err := raftnode.Import(unfinished, hclog.NewNullLogger(), st, second); err != nil {
		t.Errorf("again: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("another folder was touched: %v", err)
	}
}

func TestExportIsRefused(t *testing.T) {
	t.Parallel()
	cfg, _ := imported(t)
	ledOnce(t, cfg)
	nothing := func(raftnode.Copy) error { return nil }
	err := raftnode.Export(cfg, hclog.NewNullLogger(), func(raftnode.Copy) error {
		return raftnode.Export(cfg, hclog.NewNullLogger(), nothing)
	})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("while it is in use: got %v", err)
	}
	other := cfg
	other.Members = clustertest.Shape{{NodeID: "secondary", Role: cluster.Primary}}
	other.NodeID = "secondary"
	if err := raftnode.Export(other, hclog.NewNullLogger(), nothing); err == nil || !strings.Contains(err.Error(), "belongs to node") {
		t.Errorf("another node's: got %v", err)
	}
	if err := raftnode.Export(stoppedPrimary(t), hclog.NewNullLogger(), nothing); err == nil || !strings.Contains(err.Error(), "holds no state") {
		t.Errorf("an empty one: got %v", err)
	}
	secondary := stoppedPrimary(t)
	secondary.NodeID, secondary.Role, secondary.Members = "s", cluster.Secondary, clustertest.Shape{
		{NodeID: "p", Role: cluster.Primary, ClusterAddress: "127.0.0.1:1"}, {NodeID: "s", Role: cluster.Secondary, ClusterAddress: "127.0.0.1:2"}}
	if err := raftnode.Import(secondary, hclog.NewNullLogger(), clustertest.Filled(t), second); err == nil || !strings.Contains(err.Error(), "not the Primary") {
		t.Errorf("into the Secondary's: got %v", err)
	}
}

// A copy that may be behind says so: another node led last, or this one was killed.
func TestExportDoubtsACopyThatMayBeBehind(t *testing.T) {
	t.Parallel()
	cfg, _ := imported(t)
	ledOnce(t, cfg)
	pair := cfg
	pair.Members = clustertest.Shape{clustertest.One[0], {NodeID: "secondary", Role: cluster.Secondary, ClusterAddress: "127.0.0.1:2"}}
	pair.Members[0].ClusterAddress = "127.0.0.1:1"
	doubts := func() (list []string) {
		t.Helper()
		if err := raftnode.Export(pair, hclog.NewNullLogger(), func(c raftnode.Copy) error { list = c.Doubts; return nil }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := doubts(); len(got) > 0 {
		t.Errorf("it led last and was stopped in good order: got %v", got)
	}
	n, err := raftnode.Open(cfg, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil { // as a crash
		t.Fatal(err)
	}
	if got := doubts(); len(got) != 1 || !strings.Contains(got[0], "good order") {
		t.Errorf("after a crash: got %v", got)
	}
}
