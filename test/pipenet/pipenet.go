// Package pipenet is a network of named hosts in memory, for tests inside a testing/synctest
// bubble, where real sockets do not settle.
//
// A cut link behaves as an unplugged cable: nothing is closed, nothing is refused, dials and
// writes hang until their deadlines or until the link is healed. Closing a connection is not a
// partition.
package pipenet

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Net is a network. The zero value is not usable; call New.
type Net struct {
	mu        sync.Mutex // guards all below
	listeners map[string]*listener
	cut       map[[2]string]bool // from, to
	frozen    map[string]bool    // hosts
	changed   chan struct{}      // closed and replaced whenever cut or frozen changes
	conns     map[*conn]struct{}
}

// New makes a network without hosts; hosts come into being by being named.
func New() *Net {
	return &Net{
		listeners: map[string]*listener{},
		cut:       map[[2]string]bool{},
		frozen:    map[string]bool{},
		changed:   make(chan struct{}),
		conns:     map[*conn]struct{}{},
	}
}

// Listen listens on addr, "host:port".
func (n *Net) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("listen %s: address already in use", addr)
	}
	l := &listener{net: n, addr: pipeAddr(addr), queue: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Dialer returns a DialContext function for the named host.
func (n *Net) Dialer(from string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		to := hostOf(addr)
		if err := n.await(ctx, from, to); err != nil {
			return nil, fmt.Errorf("dial %s: %w", addr, err)
		}
		n.mu.Lock()
		l := n.listeners[addr]
		n.mu.Unlock()
		if l == nil {
			return nil, fmt.Errorf("dial %s: connection refused", addr)
		}
		a, b := net.Pipe()
		near, far := n.conn(a, from, to, pipeAddr(from+":0"), l.addr), n.conn(b, to, from, l.addr, pipeAddr(from+":0"))
		select {
		case l.queue <- far:
			return near, nil
		case <-l.done:
			near.Close()
			far.Close()
			return nil, fmt.Errorf("dial %s: connection refused", addr)
		case <-ctx.Done():
			near.Close()
			far.Close()
			return nil, fmt.Errorf("dial %s: %w", addr, ctx.Err())
		}
	}
}

// Cut drops everything between the two hosts, both ways, until Heal.
func (n *Net) Cut(a, b string) { n.set(true, [2]string{a, b}, [2]string{b, a}) }

// CutOneWay drops what from sends to to; the other way still works.
func (n *Net) CutOneWay(from, to string) { n.set(true, [2]string{from, to}) }

// Heal joins the two hosts again; what was waiting goes through.
func (n *Net) Heal(a, b string) { n.set(false, [2]string{a, b}, [2]string{b, a}) }

// Freeze drops everything to and from the host until Thaw, whatever is cut or healed meanwhile, as while its processes stand still.
func (n *Net) Freeze(host string) { n.freeze(host, true) }

// Thaw ends Freeze; what was waiting goes through, unless its link is cut.
func (n *Net) Thaw(host string) { n.freeze(host, false) }

func (n *Net) freeze(host string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen[host] = on
	n.tell()
}

// Crash closes the host's connections and listeners, as the end of its process does.
func (n *Net) Crash(host string) {
	n.mu.Lock()
	var conns []*conn
	for c := range n.conns {
		if c.from == host {
			conns = append(conns, c)
		}
	}
	var listeners []*listener
	for addr, l := range n.listeners {
		if hostOf(addr) == host {
			listeners = append(listeners, l)
		}
	}
	n.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, c := range conns {
		c.Close()
	}
}

func (n *Net) set(cut bool, links ...[2]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		if cut {
			n.cut[l] = true
		} else {
			delete(n.cut, l)
		}
	}
	n.tell()
}

// tell has everybody who waits look again. n.mu is held.
func (n *Net) tell() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// whole reports whether what from sends reaches to, and otherwise what to wait for.
func (n *Net) whole(from, to string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[[2]string{from, to}] && !n.frozen[from] && !n.frozen[to], n.changed
}

// await returns once the link from-to is whole, or with ctx's error.
func (n *Net) await(ctx context.Context, from, to string) error {
	for {
		there, changed := n.whole(from, to)
		back, _ := n.whole(to, from)
		if there && back {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *Net) conn(c net.Conn, from, to string, local, remote net.Addr) *conn {
	w := &conn{Conn: c, net: n, from: from, to: to, local: local, remote: remote, closed: make(chan struct{}), deadlineSet: make(chan struct{})}
	n.mu.Lock()
	n.conns[w] = struct{}{}
	n.mu.Unlock()
	return w
}

func hostOf(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		return addr[:i]
	}
	return addr
}

type pipeAddr string

func (a pipeAddr) Network() string { return "pipe" }
func (a pipeAddr) String() string  { return string(a) }

type listener struct {
	net   *Net
	addr  pipeAddr
	queue chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		delete(l.net.listeners, string(l.addr))
		l.net.mu.Unlock()
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// conn is one end of a connection: its writes wait while the link is cut.
type conn struct {
	net.Conn
	net           *Net
	from, to      string
	local, remote net.Addr
	once          sync.Once
	closed        chan struct{}

	mu          sync.Mutex // guards the write deadline
	deadline    time.Time
	deadlineSet chan struct{} // closed and replaced when the deadline changes
}

func (c *conn) Write(p []byte) (int, error) {
	for {
		whole, changed := c.net.whole(c.from, c.to)
		if whole {
			return c.Conn.Write(p)
		}
		c.mu.Lock()
		deadline, moved := c.deadline, c.deadlineSet
		c.mu.Unlock()
		if err := c.waitCut(changed, moved, deadline); err != nil {
			return 0, err
		}
	}
}

func (c *conn) waitCut(changed, moved <-chan struct{}, deadline time.Time) error {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-changed:
	case <-moved:
	case <-c.closed:
		return net.ErrClosed
	case <-expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.setWriteDeadline(t)
	return c.Conn.SetDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.setWriteDeadline(t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) setWriteDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.deadlineSet)
	c.deadlineSet = make(chan struct{})
}

// Close ends the connection. Over a cut link the far end does not learn of it: its reads hang.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
		whole, changed := c.net.whole(c.from, c.to)
		if whole {
			c.Conn.Close()
			return
		}
		c.Conn.SetDeadline(time.Unix(1, 0)) // our own reads and writes end now
		go func() {                         // the far end learns of it once the link is whole
			<-changed
			c.Conn.Close()
		}()
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }
