package port

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"scomconnector/cluster"
)

// maxCallers bounds the connections that others may hold open to this node: two members need a dozen.
const maxCallers = 256

// Port is the one port of a node: it takes connections, has them greeted, and hands them on. It must not be copied.
type Port struct {
	// Listener may be nil: then nobody calls this node.
	Listener net.Listener
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	TLS      TLS
	// Greet is this node's greeting now; Judge says why a caller goes no further, or nothing.
	Greet func() Greeting
	Judge func(kind byte, theirs Greeting) string
	// Take gets each inbound connection that was greeted, and owns it from then on.
	Take func(kind byte, theirs Greeting, conn net.Conn)

	mu     sync.Mutex                // guards conns and closed
	conns  map[*trackedConn]struct{} // nil until the first
	closed bool
	wg     sync.WaitGroup // accept, and one for each inbound connection until it is handed on
}

// Serve takes connections until Close.
func (p *Port) Serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	if p.TLS.Enabled() {
		p.wg.Go(func() { p.watchAuthorities(ctx) })
	}
	p.wg.Go(func() {
		defer cancel()
		for {
			conn, err := p.Listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // too many open files: wait for some to close
				select {
				case <-time.After(100 * time.Millisecond):
					continue
				case <-ctx.Done():
					return
				}
			}
			tracked := p.track(conn)
			if tracked == nil {
				conn.Close()
				continue
			}
			p.wg.Go(func() { p.inbound(ctx, tracked) })
		}
	})
}

// inbound is the answering half of the handshake.
func (p *Port) inbound(ctx context.Context, raw net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	raw.SetDeadline(time.Now().Add(HandshakeTimeout)) //nolint:errcheck // a connection that is gone fails at the next read
	kind, theirs, conn, err := p.answer(ctx, raw)
	if err != nil {
		raw.Close()
		return
	}
	raw.SetDeadline(time.Time{}) //nolint:errcheck // as above
	p.Take(kind, theirs, conn)
}

func (p *Port) answer(ctx context.Context, raw net.Conn) (kind byte, theirs Greeting, conn net.Conn, err error) {
	conn, err = p.TLS.secureIn(ctx, raw)
	if err != nil {
		return 0, theirs, nil, err
	}
	p.markShown(raw, conn, x509.ExtKeyUsageClientAuth)
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return 0, theirs, nil, err
	}
	kind = first[0]
	if kind == KindRaft {
		p.markRaft(raw)
	}
	if err := ReadFrame(conn, &theirs); err != nil {
		return 0, theirs, nil, err
	}
	p.markCaller(raw, theirs.Process)
	if err := p.TLS.checkName(conn, theirs.NodeID); err != nil {
		return 0, theirs, nil, err
	}
	refusal := p.Judge(kind, theirs)
	if err := WriteFrame(conn, nil, reply{p.Greet(), refusal}); err != nil {
		return 0, theirs, nil, err
	}
	if refusal != "" {
		return 0, theirs, nil, errors.New(refusal)
	}
	return kind, theirs, conn, nil
}

// refusedError is the other side's refusal of a connection; its greeting was read all the same.
type refusedError struct {
	by     string
	reason string
}

func (e *refusedError) Error() string { return e.by + " refuses: " + e.reason }

// Call connects to a member and does the asking half of the handshake. The greeting is the member's also where the error is its
// refusal.
func (p *Port) Call(ctx context.Context, kind byte, to cluster.Member) (net.Conn, Greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	conn, err := p.Dial(ctx, "tcp", to.ClusterAddress)
	if err != nil {
		return nil, Greeting{}, err
	}
	raw := p.track(conn)
	if raw == nil {
		conn.Close()
		return nil, Greeting{}, net.ErrClosed
	}
	if kind == KindRaft {
		p.markRaft(raw)
	}
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // as below
	defer stop()
	sec, theirs, err := p.ask(ctx, kind, to.NodeID, raw)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, theirs, fmt.Errorf("greet %s: %w", to.NodeID, err)
	}
	raw.SetDeadline(time.Time{}) //nolint:errcheck // a connection that is gone fails at the next read
	return sec, theirs, nil
}

func (p *Port) ask(ctx context.Context, kind byte, nodeID string, raw net.Conn) (net.Conn, Greeting, error) {
	conn, err := p.TLS.secureOut(ctx, raw, nodeID)
	if err != nil {
		return nil, Greeting{}, err
	}
	p.markShown(raw, conn, x509.ExtKeyUsageServerAuth)
	if err := WriteFrame(conn, []byte{kind}, p.Greet()); err != nil {
		return nil, Greeting{}, err
	}
	var r reply
	if err := ReadFrame(conn, &r); err != nil {
		return nil, Greeting{}, err
	}
	if r.Greeting.NodeID != nodeID {
		return nil, Greeting{}, fmt.Errorf("%q answers at its address", r.Greeting.NodeID)
	}
	if r.Refusal != "" {
		return nil, r.Greeting, &refusedError{nodeID, r.Refusal}
	}
	// The answerer may be what this side would refuse, and not know it.
	if refusal := p.Judge(kind, r.Greeting); refusal != "" {
		return nil, r.Greeting, errors.New(refusal)
	}
	return conn, r.Greeting, nil
}

// track has close end the connection; nil once closed or when there are too many.
func (p *Port) track(conn net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.conns) >= maxCallers {
		return nil
	}
	t := &trackedConn{Conn: conn, port: p}
	if p.conns == nil {
		p.conns = map[*trackedConn]struct{}{}
	}
	p.conns[t] = struct{}{}
	return t
}

type trackedConn struct {
	net.Conn
	port    *Port
	raft    bool   // carries raft's own stream; guarded by port.mu
	process string // that has called, empty until it has said so; guarded by port.mu
	// certs are what the other side has shown, as a caller or as the one called; guarded by port.mu
	certs []*x509.Certificate
	shown x509.ExtKeyUsage
}

// markRaft has CloseRaft end the connection.
func (p *Port) markRaft(t net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := t.(*trackedConn); ok {
		t.raft = true
	}
}

// markCaller has CloseRaftFrom find the connection.
func (p *Port) markCaller(t net.Conn, process string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := t.(*trackedConn); ok {
		t.process = process
	}
}

// CloseRaft ends all connections of raft's, both ways: what they were greeted for is not so any more.
func (p *Port) CloseRaft() { p.closeRaft(func(*trackedConn) bool { return true }) }

// CloseRaftFrom ends those that the process has made to this node.
func (p *Port) CloseRaftFrom(process string) {
	p.closeRaft(func(c *trackedConn) bool { return process != "" && c.process == process })
}

// closeRaft ends those connections of raft's that which says; p.mu is held while it is asked.
func (p *Port) closeRaft(which func(*trackedConn) bool) {
	p.mu.Lock()
	var conns []*trackedConn
	for c := range p.conns {
		if c.raft && which(c) {
			conns = append(conns, c)
		}
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.Close() //nolint:errcheck // it is gone either way
	}
}

func (t *trackedConn) Close() error {
	t.port.mu.Lock()
	delete(t.port.conns, t)
	t.port.mu.Unlock()
	return t.Conn.Close()
}

// Close ends all connections: raft's own shutdown waits for reads that have no deadline.
func (p *Port) Close() {
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	if p.Listener != nil {
		p.Listener.Close()
	}
	for c := range conns {
		c.Conn.Close()
	}
	p.wg.Wait()
}
