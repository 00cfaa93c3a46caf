package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/mux"

	"scomconnector/test/pipenet"
)

// served is one address with one method, as the router knows it.
type served struct{ method, path string }

var variable = regexp.MustCompile(`\{[^}]*\}`)

// everyRoute lists what is served, with something in place of each variable. Whoever adds a route is under the tests below.
func everyRoute(t *testing.T) []served {
	t.Helper()
	var all []served
	err := routes(&server{}, http.NotFoundHandler()).Walk(func(r *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := r.GetPathTemplate()
		methods, methodsErr := r.GetMethods()
		for _, m := range methods {
			if !strings.Contains(path, "{act}") {
				all = append(all, served{m, variable.ReplaceAllString(path, "x")})
				continue
			}
			for act := range deeds {
				all = append(all, served{m, strings.ReplaceAll(path, "{act}", act)})
			}
		}
		return errors.Join(err, methodsErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Fatalf("only %d routes found", len(all))
	}
	return all
}

func (s served) reads() bool { return s.method == http.MethodGet || s.method == http.MethodHead }

// ask asks as somebody elsewhere does. What would go on for ever, such as events, ends at once.
func (s served) ask(h http.Handler, change ...func(*http.Request)) *httptest.ResponseRecorder {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequest(s.method, s.path, strings.NewReader("{}")).WithContext(ctx)
	r.RemoteAddr = "192.0.2.9:50000"
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// openToAll are the addresses that tell everybody how a node fares, since a load balancer cannot log on.
var openToAll = []string{"/healthz", "/readyz", "/leader"}

// No answer, good or bad, is without the headers that tell a browser to do nothing but show it. A page may widen the policy and
// the referrer, never by anything unsafe.
func TestEveryRouteCarriesTheGuards(t *testing.T) {
	h := (&node{status: healthy()}).handler("")
	for _, s := range append(everyRoute(t), served{"GET", "/nothing"}, served{"PATCH", "/"}, served{"GET", "/event_post/"}) {
		head := s.ask(h).Header()
		for _, g := range guards {
			got := head.Get(g.name)
			switch g.name {
			case "Content-Security-Policy":
				if !strings.Contains(got, "default-src 'none'") || !strings.Contains(got, "frame-ancestors 'none'") || !strings.Contains(got, "base-uri 'none'") || strings.Contains(got, "unsafe") || strings.Contains(got, "*") {
					t.Errorf("%s %s: the policy is %q", s.method, s.path, got)
				}
			case "Referrer-Policy":
				if got != g.value && got != "same-origin" {
					t.Errorf("%s %s: %s is %q", s.method, s.path, g.name, got)
				}
			case "Cache-Control":
				if !strings.HasPrefix(got, g.value) {
					t.Errorf("%s %s: %s is %q", s.method, s.path, g.name, got)
				}
			default:
				if got != g.value {
					t.Errorf("%s %s: %s is %q, want %q", s.method, s.path, g.name, got, g.value)
				}
			}
		}
	}
}

// Where a read token is set nothing is told without it but what the probes say.
func TestEveryRouteThatTellsAsksForTheToken(t *testing.T) {
	h := (&node{status: healthy()}).handler("r3ader")
	for _, s := range everyRoute(t) {
		if !s.reads() {
			continue
		}
		want := http.StatusUnauthorized
		if slices.Contains(openToAll, s.path) {
			want = 0
		}
		for _, wrong := range []func(*http.Request){header("X", "x"), header("Authorization", "Bearer wrong"), header("Authorization", "Bearer "), header("Authorization", "Basic Og==")} {
			if w := s.ask(h, wrong); want != 0 && w.Code != want || want == 0 && w.Code == http.StatusUnauthorized {
				t.Errorf("%s %s: %d, want %d", s.method, s.path, w.Code, want)
			}
		}
		if w := s.ask(h, header("Authorization", "Bearer r3ader")); w.Code == http.StatusUnauthorized {
			t.Errorf("%s %s: refused with the token", s.method, s.path)
		}
	}
}

// Nothing is changed by who has no token, by who sits elsewhere where none is set, by a proxy that looks like this machine, nor by
// another site's page; and the log says each time who tried. Close requests alone are open, as moobots need it, until their token is set.
func TestEveryRouteThatChangesIsGuardedAndAudited(t *testing.T) {
	local := from("127.0.0.1:50000")
	for _, c := range []struct {
		name   string
		token  string
		change []func(*http.Request)
		code   int
	}{
		{"no token", "s3cret", nil, 401},
		{"a wrong token", "s3cret", []func(*http.Request){header("Authorization", "Bearer wrong")}, 401},
		{"the token as a browser sends passwords", "s3cret", []func(*http.Request){header("Authorization", "Basic eDpzM2NyZXQ=")}, 401},
		{"the token, from another site's page", "s3cret", []func(*http.Request){header("Authorization", "Bearer s3cret"), header("Origin", "https://evil.example")}, 403},
		{"from elsewhere", "", nil, 403},
		{"through a proxy", "", []func(*http.Request){local, header("X-Forwarded-For", "192.0.2.9")}, 403},
		{"under a stranger's name", "", []func(*http.Request){local, host("evil.example")}, 403},
		{"another site's page on this machine", "", []func(*http.Request){local, host("localhost"), header("Origin", "https://evil.example")}, 403},
	} {
		for _, s := range everyRoute(t) {
			if s.reads() {
				continue
			}
			n := &node{status: healthy(), operators: c.token, callers: "m00bot"}
			w := s.ask(n.handler(""), c.change...)
			code := c.code
			if s.path == eventPost && code == 403 && !strings.Contains(c.name, "another site's page") {
				code = 401 // it never asks for this machine
			}
			if w.Code != code {
				t.Errorf("%s, %s %s: %d, want %d", c.name, s.method, s.path, w.Code, code)
			}
			if log := n.log.String(); !strings.Contains(log, "refused") || !strings.Contains(log, "from=") || strings.Contains(log, "s3cret") || strings.Contains(log, "wrong") {
				t.Errorf("%s, %s %s: the audit is %q", c.name, s.method, s.path, log)
			}
		}
	}
}

// What is done, or fails, with the token stands in the log with who and from where.
func TestEveryRouteThatChangesIsAudited(t *testing.T) {
	for _, s := range everyRoute(t) {
		if s.reads() {
			continue
		}
		n := &node{status: healthy(), operators: "s3cret"}
		w := s.ask(n.handler(""), header("Authorization", "Bearer s3cret"), header(OperatorHeader, "alice"), func(r *http.Request) {
			if s.path == "/maintenance" || strings.HasPrefix(s.path, "/act/") {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader("token=s3cret")), -1
			}
		})
		log := n.log.String()
		if !strings.Contains(log, "from=192.0.2.9:50000") || s.path != eventPost && !strings.Contains(log, "alice (operator token)") || strings.Contains(log, "s3cret") {
			t.Errorf("%s %s, answered %d: the audit is %q", s.method, s.path, w.Code, log)
		}
	}
}

// Two who try in turn do not fill the log either.
func TestStrangersCannotFillTheAudit(t *testing.T) {
	n := &node{status: healthy(), operators: "s3cret"}
	h := n.handler("")
	for i := range 500 {
		served{http.MethodPost, "/api/v1/transfer"}.ask(h, from([]string{"192.0.2.9:1", "198.51.100.1:1"}[i%2]))
	}
	if got := strings.Count(n.log.String(), "\n"); got < 2 || got > 3*strangeBurst {
		t.Errorf("500 attempts make %d lines, want at most %d", got, 3*strangeBurst)
	}
}

// A body beyond the limit is refused before it is read, whoever sends it, and whether or not it says how long it is.
func TestEveryRouteBoundsItsBody(t *testing.T) {
	n := &node{status: healthy(), operators: "s3cret"}
	h := n.handler("")
	token := header("Authorization", "Bearer s3cret")
	for _, s := range everyRoute(t) {
		big := func(r *http.Request) { r.ContentLength = maxBodyBytes + 1 }
		if w := s.ask(h, token, big); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s %s: %d for a body that is too large, want 413", s.method, s.path, w.Code)
		}
		body := &endless{}
		s.ask(h, token, func(r *http.Request) { r.Body, r.ContentLength = body, -1 })
		if body.read > 2*maxBodyBytes {
			t.Errorf("%s %s: %d bytes were read of a body without end", s.method, s.path, body.read)
		}
	}
}

// endless is a body that never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}
func (e *endless) Close() error { return nil }

// Whoever dawdles over a request, or sends a head without end, is cut off, and the node goes on serving others.
func TestSlowAndEndlessRequestsAreCutOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		first string
		drip  string // every second
		ends  time.Duration
	}{
		{"a head that never ends", "GET /healthz HTTP/1.1\r\n", "X: y\r\n", 6 * time.Second},
		{"nothing at all", "", "", 6 * time.Second},
		{"a huge head", "GET /healthz HTTP/1.1\r\nX: " + strings.Repeat("y", 2*maxHeaderBytes), "y", 6 * time.Second},
		{"a body that never ends", "POST /event_post/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{", " ", 65 * time.Second},
		{"an idle connection", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "", 3 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := pipenet.New()
				ln, err := network.Listen("node:80")
				if err != nil {
					t.Fatal(err)
				}
				srv := Server((&node{status: healthy()}).handler(""))
				served := make(chan error, 1)
				go func() { served <- srv.Serve(ln) }()
				defer func() { srv.Close(); <-served }()
				conn, err := network.Dialer("stranger")(t.Context(), "tcp", "node:80")
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				go io.WriteString(conn, c.first)
				stop := make(chan struct{})
				go func() {
					for tick := time.NewTicker(time.Second); ; {
						select {
						case <-stop:
							tick.Stop()
							return
						case <-tick.C:
							go io.WriteString(conn, c.drip)
						}
					}
				}()
				_, err = io.Copy(io.Discard, bufio.NewReader(conn))
				if took := time.Since(begun); took > c.ends {
					t.Errorf("it was served for %v, want at most %v (%v)", took, c.ends, err)
				}
				close(stop)
				conn.Close()
				client := &http.Client{Transport: &http.Transport{DialContext: network.Dialer("operator"), DisableKeepAlives: true}}
				if resp, err := client.Get("http://node:80/healthz"); err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("others are not served: %v", err)
				} else {
					resp.Body.Close()
				}
			})
		})
	}
}

// Both tokens are compared in a time that does not depend on them: see token. What can be tested is that neither length nor
// beginning is looked at before.
func TestTokensAreComparedByTheirHashes(t *testing.T) {
	if (token{}).is("") || (token{secret("x")}).is("") {
		t.Error("the empty token is every token")
	}
	long := strings.Repeat("x", 1<<16)
	for _, given := range []string{"", "s", "s3cre", "s3cret ", "S3CRET", "s3crett", long} {
		if (token{secret("s3cret")}).is(given) {
			t.Errorf("%.10q is taken", given)
		}
	}
	if !(token{secret("s3cret")}).is("s3cret") || !(token{secret(long)}).is(long) {
		t.Error("the right token is refused")
	}
}
