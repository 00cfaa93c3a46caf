package publishertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Options say what the LAM demands and how much it remembers.
type Options struct {
	Token          string // demanded in the body; "" demands none
	User, Password string // Basic; "" demands none
	TLS            *tls.Config
	// Light remembers of each event only what Event has beside Body, and checks less: for
	// benchmarks of 100,000 events a second.
	Light bool
}

// LAM is a simulated LAM. Its methods are safe for concurrent use.
type LAM struct {
	opts   Options
	server *http.Server
	served sync.WaitGroup
	work   sync.Pool // of *workspace

	mu      sync.Mutex // guards all below
	faults  Faults
	changed chan struct{} // closed and replaced when faults change
	closed  bool
	conns   map[net.Conn]struct{}
	addr    net.Addr
	store   store
	counts  Counts
	turns   int           // requests seen, for Faults.Every
	grown   chan struct{} // closed and replaced when a total changes
}

// Counts are totals since the start.
type Counts struct {
	Connections int
	Requests    int
	Events      int // recorded
	Duplicates  int // events recorded before with the same id, lastModified and resolutionState
	Bytes       int64
	ByStatus    map[int]int // answers; 0 counts requests that got none
}

// New makes a LAM that serves nowhere yet.
func New(o Options) *LAM {
	l := &LAM{opts: o, changed: make(chan struct{}), grown: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	l.store.light = o.Light
	l.store.init()
	l.counts.ByStatus = map[int]int{}
	l.work.New = func() any { return new(workspace) }
	l.server = &http.Server{
		Handler:           l,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // its complaints are about the faults it was told to have
	}
	return l
}

// Listen makes a LAM that serves on a TCP address, such as "127.0.0.1:0".
func Listen(addr string, o Options) (*LAM, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the LAM: %w", err)
	}
	l := New(o)
	l.Serve(ln)
	return l, nil
}

// Serve serves ln in the background until Close.
func (l *LAM) Serve(ln net.Listener) {
	l.mu.Lock()
	l.addr = ln.Addr()
	l.mu.Unlock()
	ln = &listener{Listener: ln, lam: l}
	if l.opts.TLS != nil {
		ln = tls.NewListener(ln, l.opts.TLS)
	}
	l.served.Go(func() { l.server.Serve(ln) }) // ends with ErrServerClosed
}

// URL is where it serves.
func (l *LAM) URL() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	scheme := "http"
	if l.opts.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + l.addr.String() + "/events/scom_lam_microsoftscom1"
}

// Close ends it at once, with every connection.
func (l *LAM) Close() {
	l.mu.Lock()
	l.closed = true
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	l.server.Close()
	l.served.Wait()
}

// Counts returns the totals.
func (l *LAM) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.ByStatus = map[int]int{}
	for k, v := range l.counts.ByStatus {
		c.ByStatus[k] = v
	}
	return c
}

// Received lists the recorded events in the order of their arrival.
func (l *LAM) Received() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Event, len(l.store.rows))
	for i := range all {
		all[i] = l.store.event(i)
	}
	return all
}

// Latest returns the event of this external_id that arrived last.
func (l *LAM) Latest(externalID string) (Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.store.latest[l.store.key(externalID)]
	if !ok {
		return Event{}, false
	}
	return l.store.event(int(i)), true
}

// IDs is how many different external_ids have arrived.
func (l *LAM) IDs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.store.latest)
}

// Duplicates lists the events that had arrived before, same id, lastModified and resolutionState.
func (l *LAM) Duplicates() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var again []Event
	for i := range l.store.rows {
		if l.store.rows[i].again {
			again = append(again, l.store.event(i))
		}
	}
	return again
}

// Forget drops all recorded events and totals.
func (l *LAM) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store.init()
	l.counts = Counts{ByStatus: map[int]int{}}
}

// WaitFor waits until n events are recorded.
func (l *LAM) WaitFor(ctx context.Context, n int) error {
	return l.WaitUntil(ctx, func(c Counts, _ int) bool { return c.Events >= n })
}

// WaitUntil waits until done, which is called after each change of the totals, with the totals and
// the number of different ids, and must neither keep ByStatus nor call l.
func (l *LAM) WaitUntil(ctx context.Context, done func(c Counts, ids int) bool) error {
	for {
		l.mu.Lock()
		ok, c, grown := done(l.counts, len(l.store.latest)), l.counts.Events, l.grown
		l.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("the LAM has %d events: %w", c, ctx.Err())
		}
	}
}

// ServeHTTP takes one request.
func (l *LAM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, turn := l.begin()
	if f.Down {
		l.end(0)
		panic(http.ErrAbortHandler)
	}
	if f.Hang {
		l.hang(r)
	}
	if f.Delay > 0 {
		l.wait(r, f.Delay)
	}
	if status := f.status(turn); status != 0 {
		l.fail(w, f, status)
		return
	}
	if f.HTMLLogin {
		l.page(w, http.StatusOK)
		return
	}
	if !l.admits(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="LAM"`)
		l.say(w, http.StatusUnauthorized, false, "Authentication failed")
		return
	}
	if r.Method != http.MethodPost {
		l.say(w, http.StatusMethodNotAllowed, false, "POST expected")
		return
	}
	if f.Limit > 0 && r.ContentLength > f.Limit {
		l.tooLarge(w)
		return
	}
	ws := l.work.Get().(*workspace)
	defer l.work.Put(ws)
	var err error
	if ws.body, err = readAll(r, ws.body[:0]); err != nil {
		l.end(0)
		panic(http.ErrAbortHandler)
	}
	l.take(w, f, ws)
}

// workspace is memory that requests use in turn.
type workspace struct {
	body   []byte
	events []scanned
}

// take answers a body that arrived whole.
func (l *LAM) take(w http.ResponseWriter, f Faults, ws *workspace) {
	body := ws.body
	if f.Limit > 0 && int64(len(body)) > f.Limit {
		l.tooLarge(w)
		return
	}
	env, err := scan(body, ws.events[:0], l.opts.Light)
	ws.events = env.events
	switch {
	case err != nil:
		l.say(w, http.StatusBadRequest, false, "Cannot parse the request: "+err.Error())
		return
	case l.opts.Token != "" && env.token != l.opts.Token:
		l.say(w, http.StatusUnauthorized, false, "Invalid auth_token")
		return
	case f.SuccessFalse:
		l.say(w, http.StatusOK, false, "Events were not processed")
		return
	}
	if f.RefuseIf != nil {
		for _, e := range env.events {
			if f.RefuseIf(e.raw) {
				l.say(w, http.StatusBadRequest, false, "Event cannot be mapped")
				return
			}
		}
	}
	l.record(env, len(body))
	if f.TakenThenCut {
		l.end(0)
		panic(http.ErrAbortHandler)
	}
	l.say(w, http.StatusOK, true, "Processed "+strconv.Itoa(len(env.events))+" events")
}

func (l *LAM) record(env envelope, size int) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range env.events {
		if l.store.add(&env.events[i], l.counts.Requests, now) {
			l.counts.Duplicates++
		}
	}
	l.counts.Events += len(env.events)
	l.counts.Bytes += int64(size)
	l.wake()
}

// wake is called with mu held.
func (l *LAM) wake() {
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *LAM) begin() (Faults, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Requests++
	l.turns++
	l.wake()
	return l.faults, l.turns
}

func (l *LAM) end(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.ByStatus[status]++
	l.wake()
}

func (l *LAM) admits(r *http.Request) bool {
	if l.opts.User == "" {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && user == l.opts.User && password == l.opts.Password
}

func (l *LAM) say(w http.ResponseWriter, status int, success bool, message string) {
	l.end(status)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"success":%t,"message":%q}`, success, message)
}

// tooLarge is nginx's answer: at once, before the body, as a page.
func (l *LAM) tooLarge(w http.ResponseWriter) { l.page(w, http.StatusRequestEntityTooLarge) }

func (l *LAM) page(w http.ResponseWriter, status int) {
	l.end(status)
	w.Header().Set("Content-Type", "text/html;charset=UTF-8")
	w.WriteHeader(status)
	if status == http.StatusOK {
		io.WriteString(w, "<!DOCTYPE html>\n<html><body><form action=\"/moog/Login.php\" method=\"post\">User name</form></body></html>\n")
		return
	}
	fmt.Fprintf(w, "<html>\r\n<head><title>%d %[2]s</title></head>\r\n<body>\r\n<center><h1>%[1]d %[2]s</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
		status, http.StatusText(status))
}

// maxBody bounds one request: the largest MaxPayloadSizeInMB is 100.
const maxBody = 128 << 20

func readAll(r *http.Request, buf []byte) ([]byte, error) {
	if n := r.ContentLength; n > 0 && n <= maxBody && int64(cap(buf)) < n {
		buf = make([]byte, 0, n+512) // room to see the end without growing
	}
	for {
		if len(buf) == cap(buf) {
			if len(buf) > maxBody {
				return buf, fmt.Errorf("a body of more than %d bytes", maxBody)
			}
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// ClientCAs is the pool that a LAM which demands client certificates of these CAs needs in its TLS.
func ClientCAs(cas ...*CA) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AddCert(ca.cert)
	}
	return pool
}
