package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/cmd/journal"
	"scomconnector/test/freeport"
)

// scene is a node with a real API whose cluster is made up. It is an api.Office that does what it is asked at once.
type scene struct {
	mu     sync.Mutex // guards what follows
	status v1.Status
	err    error // of whatever it is asked for
	closes sceneCloses
}

var sceneTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// scenes serves all of them, each under its name, and returns their URL. gone is an address where nobody is.
func scenes(t *testing.T, gone string) string {
	t.Helper()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	for name, s := range map[string]*scene{
		"pair":       {status: pairStatus(srv.URL, gone)},
		"sticky":     {status: stickyStatus(srv.URL, gone)},
		"unfit":      {status: pairStatus(srv.URL, gone), err: &api.Unfit{Err: fmt.Errorf("%w: secondary is 40 entries behind", api.ErrUnfit), Hint: "wait until it has caught up, or stop primary"}},
		"noleader":   {status: loneStatus(gone), err: fmt.Errorf("%w: none for 10 s", api.ErrNoLeader)},
		"alive":      {status: loneStatus(srv.URL + "/pair")},
		"told":       {status: loneStatus(srv.URL + "/standby")},
		"standby":    {status: standbyStatus(srv.URL, gone)},
		"impossible": {status: impossibleStatus(gone)},
		"lone":       {status: loneStatus(gone)},
		"calm":       {status: calmStatus(gone)},
		"whole":      {status: wholeStatus(srv.URL)},
		"lost":       {status: calmStatus(gone), err: fmt.Errorf("%w: primary is back", api.ErrLeaderAlive)},
		"closing":    {status: pairStatus(srv.URL, gone), closes: closingScene()},
		"refusing":   {status: pairStatus(srv.URL, gone), closes: closingScene()},
	} {
		h := api.New(api.Config{Addresses: nil}, api.Deps{
			Status: s.now, Ready: func() []string { return nil }, Leader: func() bool { now := s.now(); return now.Leader == now.Node },
			Gatherer: prometheus.NewRegistry(), Office: s, Closes: &s.closes, Parked: &s.closes, Cursors: s, Names: func() []string { return nil },
			Log: hclog.NewNullLogger(), Levels: quiet(t),
		})
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, h))
	}
	return srv.URL
}

// quiet is a log that nobody reads, whose level may be changed.
func quiet(t *testing.T) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Config{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (s *scene) now() v1.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *scene) Maintain(_ context.Context, o v1.MaintenanceOrder, _ string) (v1.Leadership, error) {
	if s.err != nil {
		return v1.Leadership{}, s.err
	}
	if o.Action == "leave" {
		return v1.Leadership{Leader: s.now().Leader}, nil
	}
	return v1.Leadership{Leader: other(o.Node), Maintenance: []string{o.Node}}, nil
}

func other(node string) string {
	if node == "primary" {
		return "secondary"
	}
	return "primary"
}

func (s *scene) Transfer(_ context.Context, o v1.TransferOrder, _ string) (v1.Leadership, error) {
	if o.To == "" {
		o.To = other(s.now().Leader)
	}
	return v1.Leadership{Leader: o.To}, s.err
}

func (s *scene) TakeOver(_ context.Context, o v1.TakeoverOrder, _ string) (v1.Leadership, error) {
	if s.err != nil {
		return v1.Leadership{}, s.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.status.Takeover.Warnings) > 0 && !o.Force {
		return v1.Leadership{}, fmt.Errorf("%w: %s", api.ErrWarned, s.status.Takeover.Warnings)
	}
	s.status.Leader = s.status.Node
	return v1.Leadership{Leader: s.status.Node}, nil
}

// List is two pipelines where a member is called witness, and one where none is.
func (s *scene) List(to time.Time) []v1.Cursor {
	all := []v1.Cursor{{Pipeline: "alerts/default", Cursor: sceneTime, Earliest: sceneTime.Add(-168 * time.Hour), Remembered: 812, Rewinds: 1}}
	if !to.IsZero() {
		all[0].Again = 33
	}
	if len(s.now().Members) > 2 {
		all = append(all, v1.Cursor{Pipeline: "alerts/uat", Cursor: sceneTime, Earliest: all[0].Earliest})
	}
	return all
}

func (s *scene) Rewind(_ context.Context, o v1.RewindOrder, _ string) (v1.Rewound, error) {
	if err := s.List(o.To)[0].Accepts(o.To, sceneTime); err != nil {
		return v1.Rewound{}, fmt.Errorf("%w: %w", api.ErrRewind, err)
	}
	return v1.Rewound{Pipeline: o.Pipeline, From: sceneTime, To: o.To, Again: 33}, s.err
}

func (s *scene) RemoveMember(_ context.Context, id, _ string) error {
	if s.err == nil && id == s.now().Leader {
		return &api.Unfit{Err: fmt.Errorf("%w: %s leads", api.ErrUnfit, id), Hint: "take it out of every node.json and stop it first"}
	}
	return s.err
}

// pairStatus is what the Primary shows while all is well but for the witness.
func pairStatus(url, gone string) v1.Status {
	return v1.Status{
		Node: "primary", Role: "Primary", Version: "v0.1.0", Time: sceneTime, Leader: "primary", Term: 7, Epoch: 1, Token: "1.primary.7",
		Verdict: v1.Verdict{Level: v1.OK, Text: "Delivering: all that SCOM shows has reached Moogsoft."},
		Members: []v1.Member{
			{Node: "primary", Role: "Primary", URL: url + "/pair", Voter: true, Leader: true, LastContact: sceneTime, Version: "v0.1.0"},
			{Node: "secondary", Role: "Secondary", URL: url + "/standby", Voter: true, LastContact: sceneTime, Version: "v0.1.0", Behind: 12, Slow: "is too slow for Timing lan: it stood still"},
			{Node: "witness", Role: "Witness", URL: gone, LastContact: sceneTime.Add(-time.Hour), Fault: "witness does not answer: i/o timeout"},
		},
	}
}

func standbyStatus(url, gone string) v1.Status {
	s := pairStatus(url, gone)
	s.Node, s.Role = "secondary", "Secondary"
	return s
}

// wholeStatus is that of a cluster where nothing is wrong.
func wholeStatus(url string) v1.Status {
	s := pairStatus(url, "")
	s.Members[1].URL, s.Members[1].LastContact = url+"/whole", sceneTime.Add(time.Second)
	s.Members[2] = v1.Member{Node: "witness", Role: "Witness", URL: url + "/whole", Voter: true, LastContact: sceneTime.Add(time.Second), Version: "v0.2.0"}
	return s
}

func stickyStatus(url, gone string) v1.Status {
	s := standbyStatus(url, gone)
	s.Members[1].Maintenance, s.Members[1].Sticky = true, true
	s.Maintenance = []string{"secondary"}
	s.Notes = []v1.Note{{At: sceneTime, Node: "secondary", Text: "3 close requests that it had accepted alone were taken over"}}
	s.Archives = []v1.Archive{{Name: "archive-2-secondary", At: sceneTime, Epoch: 2}}
	return s
}

// loneStatus is what the survivor of a pair shows, whose Primary is at that address.
func loneStatus(primary string) v1.Status {
	s := standbyStatus(primary, primary)
	s.Leader = ""
	s.Members = s.Members[:2]
	s.Members[0] = v1.Member{Node: "primary", Role: "Primary", URL: primary, Voter: true, LastContact: sceneTime.Add(-40 * time.Second), Version: "v0.1.0", Fault: "primary does not answer: i/o timeout"}
	s.Members[1].Behind = 0
	s.Verdict = v1.Verdict{Level: v1.Stopped, Text: "NOT DELIVERING since 03:03:25: primary is lost.", Do: "start primary, or take over"}
	s.Takeover = v1.Takeover{Possible: true, LastHeard: sceneTime.Add(-40 * time.Second), Warnings: []string{"primary had committed 3 entries that this node does not have"}}
	return s
}

func calmStatus(gone string) v1.Status {
	s := loneStatus(gone)
	s.Takeover.Warnings, s.Takeover.LastHeard, s.Takeover.At = nil, time.Time{}, sceneTime.Add(8*time.Second)
	return s
}

func impossibleStatus(gone string) v1.Status {
	s := loneStatus(gone)
	s.Takeover = v1.Takeover{Refusal: "this node has never been a voter"}
	return s
}

// A person is asked before a takeover and before a member is dropped; who says no changes nothing.
func TestChangesThatAskFirst(t *testing.T) {
	for _, c := range []struct {
		answer string
		args   string
		code   int
		out    string
	}{
		{"n\n", "takeover --url NODE/calm", 1, "Take over on secondary? [y/N] Nothing was changed.\n"},
		{"", "takeover --url NODE/calm", 1, "Take over on secondary? [y/N] "},
		{"yes\n", "takeover --url NODE/calm", 0, "Take over on secondary? [y/N] secondary leads.\n"},
		{"y\n", "takeover --force --url NODE/lone", 0, "Take over on secondary? [y/N] secondary leads.\n"},
		{"n\n", "cursors rewind --to 2026-01-02T01:00:00Z --url NODE/lone", 1, "Put alerts/default back? [y/N] Nothing was changed.\n"},
		{"y\n", "cursors rewind --to 2026-01-02T01:00:00Z --url NODE/lone", 0, "Put back to 2026-01-02 01:00:00Z; cursors show and the page tell how far it has come again.\n"},
		{"no\n", "members remove witness --url NODE/pair", 1, "[y/N] Nothing was changed.\n"},
		{"y\n", "members remove witness --url NODE/pair", 0, "[y/N] Removed witness.\n"},
	} {
		url := scenes(t, "http://"+freeport.Take(t))
		out, errs, code := typed(c.answer, strings.Fields(strings.ReplaceAll(c.args, "NODE", url))...)
		if code != c.code || !strings.HasSuffix(out, c.out) {
			t.Errorf("%s with %q: exit code %d, want %d; printed\n%s%s\nwant %s", c.args, c.answer, code, c.code, out, errs, c.out)
		}
	}
}

// The token is for the node that is asked: the others are only asked what anybody may.
func TestTakeoverKeepsTheTokenFromOtherNodes(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if len(r.Header.Values("Authorization")) > 0 {
			t.Errorf("%s was sent the token", r.URL)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer stranger.Close()
	s := &scene{status: loneStatus(stranger.URL)}
	h := api.New(api.Config{OperatorToken: func() string { return "s3cret" }}, api.Deps{Status: s.now, Office: s, Gatherer: prometheus.NewRegistry(), Log: hclog.NewNullLogger()})
	node := httptest.NewServer(h)
	defer node.Close()
	token := t.TempDir() + "/token"
	stand := &stand{t: t, dir: t.TempDir()}
	stand.dir = strings.TrimSuffix(token, "/token")
	stand.put("token", "s3cret\n")
	var out, errs bytes.Buffer
	code := dispatch([]string{"takeover", "--force", "--yes", "--url", node.URL, "--token-file", token}, terminal{strings.NewReader(""), &out, &errs})
	if mu.Lock(); code != 0 || asked == 0 {
		t.Errorf("exit code %d, the other node was asked %d times\n%s%s", code, asked, &out, &errs)
	}
	mu.Unlock()
}
