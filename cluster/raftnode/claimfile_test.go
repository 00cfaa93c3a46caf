package raftnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/test/pipenet"
)

func claimBy(node string) Claim {
	return Claim{ClusterID: "c1", NodeID: node, Incarnation: "of-" + node, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func TestClaimIsMadeOnceAndStays(t *testing.T) {
	dir := t.TempDir()
	a, b := FileClaims(dir), FileClaims(dir)
	if _, found, err := a.Owner(t.Context(), 2); found || err != nil {
		t.Fatalf("owner of a claim that nobody made: %v, %v", found, err)
	}
	owner, err := a.Claim(t.Context(), 2, claimBy("primary"))
	if err != nil || owner != claimBy("primary") {
		t.Fatalf("the first claim: got %+v, %v", owner, err)
	}
	for range 2 {
		if owner, err = b.Claim(t.Context(), 2, claimBy("secondary")); err != nil || owner != claimBy("primary") {
			t.Errorf("the second claim: got %+v, %v, want the first one's owner", owner, err)
		}
		if owner, err = a.Claim(t.Context(), 2, claimBy("primary")); err != nil || owner != claimBy("primary") {
			t.Errorf("the first one's claim again: got %+v, %v", owner, err)
		}
	}
	if owner, found, err := b.Owner(t.Context(), 2); !found || err != nil || owner != claimBy("primary") {
		t.Errorf("owner: got %+v, %v, %v", owner, found, err)
	}
	if owner, err = b.Claim(t.Context(), 3, claimBy("secondary")); err != nil || owner.NodeID != "secondary" {
		t.Errorf("the claim of another epoch: got %+v, %v", owner, err)
	}
}

func TestClaimRacedForHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	for epoch := range uint64(50) {
		owners, nodes := make([]Claim, 4), sync.WaitGroup{}
		for i := range owners {
			nodes.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var err error
				if owners[i], err = FileClaims(dir).Claim(ctx, epoch, claimBy(fmt.Sprint("node", i))); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			})
		}
		nodes.Wait()
		for i := range owners {
			if owners[i] != owners[0] || owners[i].NodeID == "" {
				t.Fatalf("epoch %d: node %d was told %+v, node 0 %+v", epoch, i, owners[i], owners[0])
			}
		}
	}
}

// A file without its content is somebody's: free is only what is not there.
func TestHalfWrittenClaimIsUnknownAndNotFree(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "half": `{"ClusterID":"c1","NodeID":"pri`, "zeros": strings.Repeat("\x00", 200), "nobody": "{}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "claim-2"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := FileClaims(dir).Claim(ctx, 2, claimBy("secondary")); err == nil || !strings.Contains(err.Error(), "not completely written") {
				t.Errorf("claim: got %v", err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, _, err := FileClaims(dir).Owner(ctx, 2); err == nil {
				t.Error("owner: got no error")
			}
		})
	}
}

func TestReaderWaitsForTheRestOfAClaim(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "claim-2")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() {
		if err := os.WriteFile(path, []byte(`{"ClusterID":"c1","NodeID":"primary"}`), 0o600); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if owner, err := FileClaims(dir).Claim(ctx, 2, claimBy("secondary")); err != nil || owner.NodeID != "primary" {
		t.Errorf("claim: got %+v, %v, want the primary's", owner, err)
	}
}

func TestFolderOfAnotherClusterIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	if _, err := FileClaims(dir).Claim(t.Context(), 2, Claim{ClusterID: "theirs", NodeID: "n9"}); err != nil {
		t.Fatal(err)
	}
	_, err := FileClaims(dir).Claim(t.Context(), 2, claimBy("primary"))
	if err == nil || !strings.Contains(err.Error(), "theirs") || !strings.Contains(err.Error(), "ClaimDir of its own") {
		t.Errorf("claim: got %v, want the other cluster and what to do", err)
	}
}

// An access that hangs costs its caller no more than its deadline, those after it neither, and one goroutine in all.
func TestShareThatHangsIsWaitedForNoLongerThanAsked(t *testing.T) {
	f := FileClaims(t.TempDir()).(*fileClaims)
	release, entered := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	err := f.access(ctx, func() error {
		close(entered)
		<-release
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("access to a share that hangs: got %v", err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := f.Claim(ctx, 2, claimBy("primary"))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "hangs") {
			t.Errorf("claim while an earlier access hangs: got %v", err)
		}
	}
	close(release)
	if owner, err := f.Claim(t.Context(), 2, claimBy("primary")); err != nil || owner.NodeID != "primary" {
		t.Errorf("claim once the share answers again: got %+v, %v", owner, err)
	}
}

func TestClaimWithoutItsFolderIsAnErrorAndMakesNone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not mounted")
	if _, err := FileClaims(dir).Claim(t.Context(), 2, claimBy("primary")); err == nil {
		t.Error("claim: got no error")
	}
	if _, _, err := FileClaims(dir).Owner(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "mount the share") {
		t.Errorf("owner: got %v, want what to do", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
}

func TestCheckOfAClaimDirSaysWhatIsWrongAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := CheckClaimDir(t.Context(), dir); err != nil {
		t.Errorf("a good folder: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := CheckClaimDir(t.Context(), filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("no folder: got %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckClaimDir(t.Context(), file); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitShare(ctx, dir, func() error { <-t.Context().Done(); return nil }); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a share that hangs: got %v", err)
	}
}

// An unmounted share whose mount point exists looks like a good folder, and would give each node every claim.
func TestTwoNodesWithDifferentClaimDirsSaySo(t *testing.T) {
	shared := t.TempDir()
	for name, c := range map[string]struct {
		dirs [2]string
		want string // in both nodes' alarms; empty: there is none
	}{
		"one folder":  {[2]string{shared, shared}, ""},
		"two folders": {[2]string{t.TempDir(), t.TempDir()}, "see different folders as ClaimDir"},
		"none":        {[2]string{filepath.Join(shared, "a"), filepath.Join(shared, "b")}, "mount the share"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := pipenet.New()
				var nodes []*Node
				for i, m := range two {
					nodes = append(nodes, inMemoryWith(t, net, Config{NodeID: m.NodeID, Role: m.Role, Members: two, PairTakeover: takeoverClaim, ClaimDir: c.dirs[i]}))
				}
				if c.want == "" {
					time.Sleep(3 * shareEvery)
				}
				for _, n := range nodes {
					until(t, 3*shareEvery, "the alarm of "+n.cfg.NodeID, func() bool { return (c.want == "") == (n.View().Alarm == "") })
					if got := n.View().Alarm; !strings.Contains(got, c.want) {
						t.Errorf("%s: got %q, want %q", n.cfg.NodeID, got, c.want)
					}
				}
			})
		})
	}
}

// The claims must not wait for a look at the share that hangs, nor the next look.
func TestALookAtTheShareThatHangsDelaysNothing(t *testing.T) {
	f := FileClaims(t.TempDir()).(*fileClaims)
	f.looking <- struct{}{} // as one that hangs
	if _, err := f.place(t.Context()); err == nil || !strings.Contains(err.Error(), "hangs") {
		t.Errorf("look: got %v", err)
	}
	if owner, err := f.Claim(t.Context(), 2, claimBy("primary")); err != nil || owner.NodeID != "primary" {
		t.Errorf("claim: got %+v, %v", owner, err)
	}
	<-f.looking
	first, err := f.place(t.Context())
	if err != nil || first == "" {
		t.Fatalf("look: %q, %v", first, err)
	}
	if again, err := FileClaims(f.dir).(*fileClaims).place(t.Context()); err != nil || again != first {
		t.Errorf("the other node's look: %q, %v, want %q", again, err, first)
	}
}
