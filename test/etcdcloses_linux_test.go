package test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/test/etcdrig"
)

// A moobot that asks for a close while the etcd cannot be reached is told so within CloseWaitSeconds, in words that it may log, and when
// to ask again: by the leader that has just lost the etcd, by one that leads no more, and by the other node.
func TestACloseWhileTheEtcdIsAwayIsAnswered(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 3)
	p := newPlant(t, etcdPair(e, 5))
	leader := p.works()
	check := func(what string, node *process, says string) {
		t.Helper()
		begun := time.Now()
		resp, err := http.Post(node.url+"/event_post/", "application/json", strings.NewReader(`{"id":"d3144ac9-4316-45ce-94b9-f50936219e24"}`))
		took := time.Since(begun)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		defer resp.Body.Close()
		var a v1.CloseAnswer
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s: %s after %v: %s; %s", what, resp.Status, took, a.Error, a.Hint)
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusServiceUnavailable || after < 1 || took < 4*time.Second || took > 8*time.Second {
			t.Errorf("%s: %s after %v, Retry-After %d; want 503 after 5 s, and when to ask again", what, resp.Status, took, after)
		}
		if a.Success || !strings.Contains(a.Error, says) || strings.Contains(a.Error, "context deadline") || a.Hint == "" {
			t.Errorf("%s: %+v, want one that says %q", what, a, says)
		}
	}
	for _, m := range e.Members {
		m.Pause()
	}
	check("the leader, as it hangs", leader, "it is not known whether this was done: no answer within 5s")
	await(t, "nobody leads without an etcd", 30*time.Second, func() bool { return !p.procs[0].leads() && !p.procs[1].leads() })
	check("primary, while it hangs", p.procs[0], "the cluster has no leader: ")
	check("secondary, while it hangs", p.procs[1], "the cluster has no leader: ")
	for _, m := range e.Members {
		m.Go()
		m.Kill()
	}
	check("primary, while it is down", p.procs[0], "etcd")
	check("secondary, while it is down", p.procs[1], "etcd")
	for _, m := range e.Members {
		m.Start()
	}
	e.Ready()
	p.flows() // and nothing has gone wrong by it
}
