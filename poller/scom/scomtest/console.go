package scomtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// ConsoleOptions describes a web console. The zero value is one in Network mode.
type ConsoleOptions struct {
	// Mode is what authenticationMode answers: Network (default) or Windows.
	Mode string
	// FrontHeader names a header by which a web server in front says who has logged on to it; a log-on
	// with the body Windows is refused without it.
	FrontHeader string
	// NTLM has connections logged on themselves, before SCOM is asked; the Mode is Windows then. nil: it does not.
	NTLM *NTLMOptions
	// BasePath is /OperationsManager by default.
	BasePath string
	// LoginForm is the only text accepted before the first colon of the log-on; empty: any, since
	// SCOM evidently does not look.
	LoginForm string
	// Statuses where the documentation is silent: an expired session (440), none (401), a wrong
	// password (401), a missing CSRF token (403).
	ExpiredStatus, NoSessionStatus, BadLogonStatus, NoTokenStatus int
	// NoColumnList leaves out resources/alertColumns.
	NoColumnList bool
	// Gzip compresses answers for clients that accept it.
	Gzip bool
}

// Console is one web console: an http.Handler with its own sessions, faults and counters.
type Console struct {
	group *Group
	opt   ConsoleOptions

	mu         sync.Mutex // guards all below
	faults     Faults
	matched    int           // requests that faults.Path matched
	changed    chan struct{} // closed and replaced whenever faults are set
	counters   Counters
	running    int
	handshakes int // begun
	restarts   int
	closed     bool
	sessions   map[string]*session
	servers    []*http.Server
	closeOnce  sync.Once
	closing    chan struct{}  // closed by Close
	serving    sync.WaitGroup // the goroutines of Serve
	answering  sync.WaitGroup // requests; none is added once closed is set
}

// Console opens a web console on the group's data.
func (g *Group) Console(opt ConsoleOptions) *Console {
	if opt.NTLM != nil {
		ntlm := *opt.NTLM
		if len(ntlm.Offers) == 0 {
			ntlm.Offers = []string{"Negotiate", "NTLM"}
		}
		opt.NTLM, opt.Mode, opt.FrontHeader = &ntlm, "Windows", gateHeader
	}
	for field, otherwise := range map[*string]string{&opt.Mode: "Network", &opt.BasePath: "/OperationsManager"} {
		if *field == "" {
			*field = otherwise
		}
	}
	for field, otherwise := range map[*int]int{&opt.ExpiredStatus: 440, &opt.NoSessionStatus: 401, &opt.BadLogonStatus: 401, &opt.NoTokenStatus: 403} {
		if *field == 0 {
			*field = otherwise
		}
	}
	opt.BasePath = "/" + strings.ToLower(strings.Trim(opt.BasePath, "/"))
	return &Console{
		group: g, opt: opt,
		changed:  make(chan struct{}),
		counters: Counters{Requests: map[string]int{}},
		sessions: map[string]*session{},
		closing:  make(chan struct{}),
	}
}

// Serve answers on l and returns at once; Close ends it. Several listeners are fine.
func (c *Console) Serve(l net.Listener) {
	srv := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(panicsOnly{}, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, &connState{})
		},
	}
	c.mu.Lock()
	c.servers = append(c.servers, srv)
	c.mu.Unlock()
	c.serving.Go(func() { srv.Serve(&faultListener{Listener: l, console: c}) })
}

// panicsOnly is a log of our own bugs; all else net/http would log are the faults that were asked for.
type panicsOnly struct{}

func (panicsOnly) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic")) {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}

// Close closes listeners and connections and waits for what is being answered.
func (c *Console) Close() {
	c.closeOnce.Do(func() { close(c.closing) })
	c.mu.Lock()
	servers := c.servers
	c.closed = true
	c.mu.Unlock()
	for _, srv := range servers {
		srv.Close()
	}
	c.serving.Wait()
	c.answering.Wait()
}

// connState remembers, for one connection, the rows of its last answer until it asks again, and who has logged on.
type connState struct {
	mu   sync.Mutex // guards what follows
	rows []*version
	gate gateState
}

type connKey struct{}

// swap stores the rows of an answer and returns those of the one before.
func (s *connState) swap(rows []*version) []*version {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.rows
	s.rows = rows
	return old
}

// faultListener closes connections at once while the console is down.
type faultListener struct {
	net.Listener
	console *Console
}

func (l *faultListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if f := l.console.Faults(); !f.Down || f.Path != "" || f.Every > 1 || f.Count > 0 {
			return conn, nil
		}
		conn.Close()
		l.console.count(func(n *Counters) { n.Faulted++ })
	}
}

// maxBody bounds a request. IIS refuses more than 30 MB, nobody needs more than a MiB.
const maxBody = 1 << 20

// request is what a handler gets.
type request struct {
	*http.Request
	path    string // below the base path, lower case
	id      string // the last part of the path, where it is an id
	body    []byte
	faults  Faults
	session *session
}

func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*connState); ok {
		if rows := conn.swap(nil); rows != nil {
			c.group.markConfirmed(rows)
		}
	}
	req := &request{Request: r}
	path, ok := strings.CutPrefix(strings.ToLower(r.URL.Path), c.opt.BasePath+"/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	req.path = strings.Trim(path, "/")
	if i := strings.LastIndexByte(req.path, '/'); i > 0 && validGUID(req.path[i+1:]) {
		req.path, req.id = req.path[:i], req.path[i+1:]
	}
	if !c.enter(req.path) {
		panic(http.ErrAbortHandler)
	}
	defer c.leave()
	var err error
	if req.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "Maximum request length exceeded.")
		return
	}
	r.Header.Del(gateHeader)
	passed := c.opt.NTLM == nil
	if !passed && !c.Faults().infront() {
		if passed = c.gate(w, r); !passed {
			return
		}
	}
	req.faults = c.take(req.path)
	a := &answer{ResponseWriter: w, console: c, ctx: r.Context(), path: req.path, faults: req.faults}
	defer func() { c.count(func(n *Counters) { n.Bytes += a.n }) }()
	c.pause(r.Context(), req.faults.Latency)
	c.stamp(a, req.faults)
	if !c.misbehave(a, req) && (passed || c.gate(w, r)) {
		c.route(a, req)
	}
}

// stamp sets the Date header by the group's clock, which is that of the database.
func (c *Console) stamp(w http.ResponseWriter, f Faults) {
	w.Header().Set("Date", c.group.now().Add(f.ClockOffset).Format(http.TimeFormat))
	if f.NoDate {
		w.Header()["Date"] = nil
	}
	w.Header().Set("Server", "Microsoft-IIS/10.0")
}

// misbehave answers by the faults that answer instead of SCOM; it reports whether one did.
func (c *Console) misbehave(w http.ResponseWriter, r *request) bool {
	f := r.faults
	switch {
	case f.Down:
		panic(http.ErrAbortHandler)
	case f.Hang:
		c.hang(r.Context())
	case f.HangBody:
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(unwrap(w)).Flush()
		c.hang(r.Context())
	case f.RedirectToLogin && r.path != "login.aspx":
		w.Header().Set("Location", c.opt.BasePath+"/login.aspx?ReturnUrl="+r.URL.Path)
		w.WriteHeader(http.StatusFound)
	case f.HTML || f.RedirectToLogin:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, htmlPage, "Sign in")
	case f.Status != 0:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(f.Status)
		fmt.Fprintf(w, htmlPage, http.StatusText(f.Status))
	case f.BadJSON:
		w.Header().Set("Content-Type", jsonType)
		io.WriteString(w, `{"tableColumns":[{"field":"id"}],"rows":[{"id":"d3144ac9-4316-45ce-94b9-`+"\x00}<br/>An error occurred.")
	default:
		return false
	}
	return true
}

func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if a, ok := w.(*answer); ok {
		return a.ResponseWriter
	}
	return w
}

// route finds who answers. IIS does not mind the case of a path.
func (c *Console) route(w http.ResponseWriter, r *request) {
	switch r.Method + " " + r.path {
	case "POST authenticate":
		c.authenticate(w, r)
		return
	case "GET authenticationmode":
		writeJSON(w, c.opt.Mode)
		return
	}
	if !c.admit(w, r) {
		return
	}
	newer := c.group.atLeast("2022") || c.group.opt.NewResources // what is documented only since
	switch key := r.Method + " " + r.path; {
	case key == "GET signout":
		c.signOut(w, r)
	case key == "POST data/alert":
		c.alerts(w, r)
	case key == "POST data/alertresolutionstates":
		c.setStates(w, r)
	case key == "GET data/alertinformation":
		c.information(w, r)
	case key == "GET resources/alertcolumns" && !c.opt.NoColumnList:
		c.columnList(w)
	case key == "GET resources/alertresolutionstates":
		writeJSON(w, resolutionStates)
	case key == "GET resources/alertseverity":
		writeJSON(w, severities)
	case key == "GET resources/alertpriority":
		writeJSON(w, priorities)
	case newer && key == "GET data/managementgroup":
		writeJSON(w, map[string]string{"name": c.group.opt.Name, "id": c.group.id})
	case newer && key == "GET data/alerthistory":
		c.history(w, r)
	case newer && key == "GET data/alertdetails":
		c.details(w, r)
	case newer && key == "POST data/alertdetails":
		c.setDetails(w, r)
	case newer && key == "POST data/resetmonitorbyalertid":
		c.resetMonitor(w, r)
	case newer && r.path == "data/resetmonitorbyalertid":
		w.Header().Set("Allow", "POST") // as ASP.NET words it where it knows the path and not the method
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(http.StatusMethodNotAllowed)
		io.WriteString(w, `{"message":"The requested resource does not support http method '`+r.Method+`'."}`)
	default:
		http.NotFound(w, r.Request)
	}
}

// enter counts a request; it refuses once the console is closed.
func (c *Console) enter(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.answering.Add(1)
	if len(c.counters.Requests) < 1000 { // a scanner's paths need no count of their own
		c.counters.Requests[path]++
	}
	c.running++
	c.counters.MaxConcurrent = max(c.counters.MaxConcurrent, c.running)
	return true
}

func (c *Console) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.answering.Done()
}

func (c *Console) count(add func(*Counters)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.counters)
}

const jsonType = "application/json; charset=utf-8"

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", jsonType)
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // ours: all we print is plain data
	}
	w.Write(b)
}

// refuse answers with an error as SCOM words it.
func (c *Console) refuse(w http.ResponseWriter, status int, message string) {
	if status == http.StatusUnauthorized && c.opt.NTLM != nil {
		c.offer(w.Header(), "")
	}
	refuse(w, status, message)
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	b, err := json.Marshal(map[string]string{"errorMessage": message})
	if err != nil {
		panic(err)
	}
	w.Write(b)
}

// compressed returns where to write a body that may be compressed, and how to end it.
func (c *Console) compressed(w http.ResponseWriter, r *request) (body io.Writer, end func() error) {
	if !c.opt.Gzip || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		return w, func() error { return nil }
	}
	w.Header().Set("Content-Encoding", "gzip")
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		panic(errors.Join(errors.New("scomtest: gzip level"), err))
	}
	return zip, zip.Close
}
