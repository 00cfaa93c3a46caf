package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// lines is an ability by pipeline: "a" can be done, "-a" cannot.
func lines(version uint64, names ...string) ability {
	a := ability{Version: version}
	for _, name := range names {
		l := lineAbility{Pipeline: strings.TrimPrefix(name, "-")}
		if l.Pipeline != name {
			l.Lacks = "it does not reach it"
		}
		a.Lines = append(a.Lines, l)
	}
	return a
}

// The work goes only to a node that can do all that this one can, and more.
func TestWhoCanDoMore(t *testing.T) {
	for name, c := range map[string]struct {
		theirs, mine    ability
		covers, exceeds bool
	}{
		"both all":                {lines(1, "a", "b"), lines(1, "a", "b"), true, false},
		"neither any":             {lines(1, "-a"), lines(1, "-a"), true, false},
		"they more":               {lines(1, "a", "b"), lines(1, "a", "-b"), true, true},
		"they one, we none":       {lines(1, "a", "-b"), lines(1, "-a", "-b"), true, true},
		"each another":            {lines(1, "a", "-b"), lines(1, "-a", "b"), false, false},
		"we more":                 {lines(1, "-a", "b"), lines(1, "a", "b"), false, false},
		"other settings":          {lines(2, "a"), lines(1, "-a"), false, false},
		"no settings":             {lines(0), lines(0), false, false},
		"we cannot read ours":     {lines(1, "a"), lines(1, "-"), true, true},
		"they cannot read theirs": {lines(1, "-"), lines(1, "a"), false, false},
	} {
		if got := c.theirs.covers(c.mine); got != c.covers {
			t.Errorf("%s: covers %v, want %v", name, got, c.covers)
		}
		if got := c.theirs.exceeds(c.mine); got != c.exceeds {
			t.Errorf("%s: exceeds %v, want %v", name, got, c.exceeds)
		}
	}
}

// A secret that cannot be read on this machine is a lack: the node could not log on. Which one is said, and never its content.
func TestASecretThatCannotBeReadIsALack(t *testing.T) {
	f := newFakeCluster(t, 2, "secondary", "primary")
	f.mu.Lock()
	text := strings.Replace(settingsText(`"AuthTokenRequired": true, "AuthTokenCode": "env:SC_TEST_NO_TOKEN",`), "plain:p", "env:SC_TEST_NO_PASSWORD", 1)
	f.apply(state.SetConfig{Text: []byte(text), At: time.Now()})
	f.mu.Unlock()
	a := nodeOf(f, nil).ability(t.Context())
	wantText(t, "what it lacks", a.lacks(), "secondary could not log on to SCOM", "SC_TEST_NO_PASSWORD is not set", "could not post to destination default", "SC_TEST_NO_TOKEN is not set")
	if a.any() || a.can("alerts/default") {
		t.Errorf("it says that it can work: %+v", a)
	}
}

// Who stands by says on its page that it could not log on: once it leads, that is too late.
func TestANodeThatStandsByTellsOfASecretItCannotRead(t *testing.T) {
	for self, want := range map[string]v1.Level{"secondary": v1.Degraded, "witness": v1.OK} {
		f := newFakeCluster(t, 3, self, "primary")
		f.mu.Lock()
		f.apply(state.SetConfig{Text: []byte(strings.Replace(settingsText(""), "plain:p", "env:SC_TEST_NO_PASSWORD", 1)), At: time.Now()})
		f.mu.Unlock()
		f.lead("primary", cluster.CauseElected)
		v := nodeOf(f, nil).status().Verdict
		if v.Level != want || strings.Contains(v.Text, "SC_TEST_NO_PASSWORD is not set for this process.") != (want == v1.Degraded) {
			t.Errorf("%s: got %s %q, want %s", self, v.Level, v.Text, want)
		}
	}
}

// Several who ask at a time are answered by one look, and the answer is old after ten seconds.
func TestWhatANodeCanDoIsLookedAtOnceInTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		f := newFakeCluster(t, 2, "secondary", "primary").seeded("")
		n := nodeOf(f, func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			time.Sleep(time.Second)
			return nil, errors.New("connection refused")
		})
		request, err := json.Marshal(question{Ask: askWork})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			go n.serveAsk(context.Background(), "primary", request) //nolint:errcheck // only that it looks counts
		}
		time.Sleep(5 * time.Second)
		if got := dials.Load(); got != 2 {
			t.Errorf("five questions at a time led to %d connections, want one to SCOM and one to the LAM", got)
		}
		time.Sleep(10 * time.Second)
		if a := n.ability(t.Context()); !strings.Contains(a.lacks(), "does not reach SCOM") || dials.Load() != 4 {
			t.Errorf("later: %+v after %d connections, want that it looks again", a, dials.Load())
		}
	})
}

// A network that swallows everything delays the answer by no more than the asking node waits.
func TestAProbeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 2, "secondary", "primary").seeded("")
		n := nodeOf(f, func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		begun := time.Now()
		a := n.ability(t.Context())
		wantText(t, "what it lacks", a.lacks(), "does not reach SCOM", "does not reach destination default")
		if took := time.Since(begun); took > askTime-500*time.Millisecond {
			t.Errorf("it took %v, and who asks waits for %v", took, askTime)
		}
	})
}

// Where polling is switched off there is nothing that a node could lack.
func TestWithoutPollingNothingIsLacking(t *testing.T) {
	n := nodeOf(newFakeCluster(t, 2, "secondary", "primary").seeded(`"IsActiveAlertPolling": false,`), nil)
	if a := n.ability(t.Context()); a.lacks() != "" || !a.can("alerts/default") {
		t.Errorf("got %+v", a)
	}
}

// What one daemon does not know it says, in words that name the cure.
func TestAnUnknownQuestionIsAnsweredWithWhatToDo(t *testing.T) {
	n := nodeOf(newFakeCluster(t, 2, "secondary", "primary"), nil)
	for _, q := range []string{`{"ask":"tea"}`, `no JSON`, ``} {
		if _, err := n.serveAsk(t.Context(), "primary", []byte(q)); err == nil || !strings.Contains(err.Error(), "run the same version on all nodes") {
			t.Errorf("%q: got %v", q, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	early := &node{up: make(chan struct{}), opts: n.opts}
	if _, err := early.serveAsk(ctx, "primary", []byte(`{"ask":"work"}`)); err == nil || !strings.Contains(err.Error(), "has not started yet") {
		t.Errorf("a node that is not assembled yet: got %v", err)
	}
}

// Whoever takes over by itself must be able to work and must not hear from the other one by any way, whatever that says.
func TestWhoMayTakeOverByItself(t *testing.T) {
	scom := httptest.NewServer(http.NotFoundHandler()) // it is only connected to, as a LAM
	defer scom.Close()
	console := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer console.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	defer page.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	reach := func(servers map[string]*httptest.Server) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(addr)
			if s := servers[host]; s != nil {
				return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
			}
			return nil, errors.New("connection refused")
		}
	}
	all := map[string]*httptest.Server{"scom": console, "lam": scom}
	with := func(host string, s *httptest.Server) map[string]*httptest.Server {
		return map[string]*httptest.Server{"scom": console, "lam": scom, host: s}
	}
	for name, c := range map[string]struct {
		reaches map[string]*httptest.Server
		before  func(*fakeCluster)
		want    string
	}{
		"all well":                        {all, nil, ""},
		"no settings":                     {all, nil, "knows no settings"},
		"in maintenance":                  {all, func(c *fakeCluster) { c.apply(state.SetMaintenance{Node: "secondary", On: true}) }, "in maintenance"},
		"no SCOM":                         {map[string]*httptest.Server{"lam": scom}, nil, "does not reach SCOM"},
		"no LAM":                          {map[string]*httptest.Server{"scom": console}, nil, "does not reach destination default"},
		"the other one answers, with 500": {with("primary", page), nil, "primary answers at http://primary:8085"},
		"the other one answers in TLS":    {with("primary", secure), nil, "primary answers at http://primary:8085"},
	} {
		f := newFakeCluster(t, 2, "secondary", "primary")
		if name != "no settings" {
			f.seeded("")
		}
		if c.before != nil {
			c.before(f)
		}
		err := nodeOf(f, reach(c.reaches)).mayTakeOver(t.Context())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// A takeover by an operator is refused while the other node's page says that it leads.
func TestTakeoverIsRefusedWhileTheOtherPageSaysItLeads(t *testing.T) {
	for _, code := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/leader" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			w.WriteHeader(code)
		}))
		f := newFakeCluster(t, 2, "secondary", "")
		o := office{nodeOf(f, func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, page.Listener.Addr().String())
		})}
		_, err := carryOut(t.Context(), o, nil, true)
		if alive := code == http.StatusOK; (err != nil) != alive || alive && !strings.Contains(err.Error(), "primary answers") {
			t.Errorf("its page answers %d: got %v", code, err)
		}
		page.Close()
	}
}

// Settings are refused for what any member in contact finds wrong, by its name; who is away is named and keeps nobody.
func TestEveryMemberInContactChecksTheSettings(t *testing.T) {
	bad := opinion{Faults: []string{"SCOMConnectorConfig.json:3: Password: no such file", "SCOMConnectorConfig.json:4: other"}}
	for name, c := range map[string]struct {
		text      string
		secondary any
		away      bool
		unchecked []string
		want      []string // in the error; none: it is taken
	}{
		"all agree":        {settingsText(""), opinion{}, false, nil, nil},
		"one is away":      {settingsText(""), bad, true, []string{"secondary"}, nil},
		"one is too old":   {settingsText(""), errors.New("does not know the request"), false, []string{"secondary"}, nil},
		"one finds faults": {settingsText(""), bad, false, nil, []string{"\non secondary: SCOMConnectorConfig.json:3: Password: no such file", "\non secondary: SCOMConnectorConfig.json:4"}},
		"wrong for all":    {settingsText(`"Filtr": 1,`), opinion{}, false, nil, []string{"\nSCOMConnectorConfig.json:2: Filtr"}},
	} {
		f := newFakeCluster(t, 3, "primary", "primary")
		f.answer("secondary", c.secondary)
		f.answer("witness", opinion{})
		if c.away {
			f.change("secondary", func(m *cluster.MemberView) { m.Fault = "timeout" })
		}
		unchecked, err := nodeOf(f, nil).agreed(t.Context(), []byte(c.text))
		if (err != nil) != (len(c.want) > 0) || !slices.Equal(unchecked, c.unchecked) {
			t.Errorf("%s: got %q, %v; want %q", name, unchecked, err, c.unchecked)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want %q in it", name, err, w)
			}
		}
		if len(c.want) == 0 && !c.away && !slices.Contains(f.asked, "witness settings") {
			t.Errorf("%s: asked %q, not the witness", name, f.asked)
		}
	}
}

// A witness reads the settings, but has none of the secrets that they name.
func TestAWitnessChecksTheTextAlone(t *testing.T) {
	text := []byte(strings.Replace(settingsText(""), "plain:p", "env:SC_TEST_NO_PASSWORD", 1))
	for id, faults := range map[string]int{"secondary": 1, "witness": 0} {
		if o := nodeOf(newFakeCluster(t, 3, id, "primary"), nil).judge(text); len(o.Faults) != faults {
			t.Errorf("%s finds %q, want %d faults", id, o.Faults, faults)
		}
	}
}
