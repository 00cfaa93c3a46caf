package publishertest

import (
	"io"
	"maps"
	"net"
	"net/http"
	"time"
)

// Faults are what the LAM does wrong. The zero value is a LAM in good health; several at once work
// in the order of the fields.
type Faults struct {
	Down  bool // connections are closed as soon as they are there
	Hang  bool // requests are taken in, and nothing more, until this changes; then they are cut
	Delay time.Duration
	// Every makes every nth request fail with EveryStatus, or 502 if that is 0.
	Every, EveryStatus int
	Status             int    // answers all with this status
	Body, ContentType  string // beside Status and Every; default is what says nothing: nginx's page from 500 on, else JSON
	RetryAfter         string // beside Status and Every
	HTMLLogin          bool   // the login page with 200, as for a wrong path behind nginx
	Limit              int64  // 413 for a body of more bytes than this
	SuccessFalse       bool
	// RefuseIf makes the LAM answer 400 for a whole request with such an event in it.
	RefuseIf     func(event []byte) bool
	TakenThenCut bool // records the events and cuts the connection instead of answering
}

// Set replaces the faults; it ends what hangs.
func (l *LAM) Set(f Faults) {
	l.mu.Lock()
	l.faults = f
	close(l.changed)
	l.changed = make(chan struct{})
	var cut map[net.Conn]struct{}
	if f.Down {
		cut = maps.Clone(l.conns)
	}
	l.mu.Unlock()
	for c := range cut {
		c.Close()
	}
}

// Faults returns the current faults.
func (l *LAM) Faults() Faults {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults
}

// CutIdle closes the connections on which no request is, as a LAM does after its keep-alive time.
// The caller makes sure that none is.
func (l *LAM) CutIdle() {
	l.mu.Lock()
	cut := maps.Clone(l.conns)
	l.mu.Unlock()
	for c := range cut {
		c.Close()
	}
}

// status is what the turn-th request gets regardless of what it holds; 0: no such fault.
func (f Faults) status(turn int) int {
	if f.Every > 0 && turn%f.Every == 0 {
		if f.EveryStatus != 0 {
			return f.EveryStatus
		}
		return http.StatusBadGateway
	}
	return f.Status
}

func (l *LAM) fail(w http.ResponseWriter, f Faults, status int) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if status >= 300 && status <= 399 {
		w.Header().Set("Location", "/moog/Login.php")
	}
	switch {
	case f.Body != "" || f.ContentType != "":
		l.end(status)
		w.Header().Set("Content-Type", f.ContentType)
		w.WriteHeader(status)
		w.Write([]byte(f.Body))
	case status >= 500:
		l.page(w, status)
	default:
		l.say(w, status, status < 300, http.StatusText(status))
	}
}

// hang holds a request until the client leaves or the faults change.
func (l *LAM) hang(r *http.Request) {
	l.mu.Lock()
	changed, closed := l.changed, l.closed
	l.mu.Unlock()
	if !closed {
		// A hanging server's kernel takes the body in; and only then the client is seen leaving.
		io.Copy(io.Discard, r.Body)
		select {
		case <-changed:
		case <-r.Context().Done():
		}
	}
	l.end(0)
	panic(http.ErrAbortHandler)
}

func (l *LAM) wait(r *http.Request, d time.Duration) {
	l.mu.Lock()
	changed := l.changed
	l.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-r.Context().Done():
	}
}

// listener keeps the list of open connections, and drops new ones while the LAM is down.
type listener struct {
	net.Listener
	lam *LAM
}

func (n *listener) Accept() (net.Conn, error) {
	for {
		c, err := n.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l := n.lam
		l.mu.Lock()
		if l.faults.Down {
			l.mu.Unlock()
			c.Close()
			continue
		}
		l.counts.Connections++
		k := &conn{Conn: c, lam: l}
		l.conns[k] = struct{}{}
		l.mu.Unlock()
		return k, nil
	}
}

type conn struct {
	net.Conn
	lam *LAM
}

func (c *conn) Close() error {
	c.lam.mu.Lock()
	delete(c.lam.conns, c)
	c.lam.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets the HTTP server end an answer properly when it has not read the whole request.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
