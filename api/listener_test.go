package api

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// crowd is a listener to whom connections come from made-up addresses.
type crowd struct{ come chan net.Conn }

type stranger struct {
	net.Conn
	from   string
	closed int
}

func (s *stranger) RemoteAddr() net.Addr { return crowdAddr(s.from) }
func (s *stranger) Close() error         { s.closed++; return nil }

type crowdAddr string

func (a crowdAddr) Network() string { return "tcp" }
func (a crowdAddr) String() string  { return string(a) }

func (c crowd) Accept() (net.Conn, error) {
	if conn, ok := <-c.come; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (c crowd) Close() error   { close(c.come); return nil }
func (c crowd) Addr() net.Addr { return crowdAddr("[::]:8085") }

// gate is a bounded listener and what it lets in.
type gate struct {
	t   *testing.T
	b   net.Listener
	c   crowd
	log bytes.Buffer
}

func newGate(t *testing.T) *gate {
	g := &gate{t: t, c: crowd{make(chan net.Conn, 1)}}
	g.b = Bounded(g.c, hclog.New(&hclog.LoggerOptions{Output: &g.log}))
	return g
}

// comes reports whether a connection from there is let in; it is nil if not.
func (g *gate) comes(from string) net.Conn {
	g.t.Helper()
	s := &stranger{from: from}
	g.c.come <- s
	probe := &stranger{from: "127.0.0.1:1"} // who sits at the machine gets in whatever came before
	done := make(chan struct{})
	go func() { g.c.come <- probe; close(done) }()
	first, err := g.b.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	if first.(*boundedConn).Conn == probe {
		if <-done; s.closed != 1 {
			g.t.Errorf("%s was turned away and closed %d times", from, s.closed)
		}
		first.Close()
		return nil
	}
	second, err := g.b.Accept()
	if err != nil {
		g.t.Fatal(err)
	}
	<-done
	second.Close()
	return first
}

// One network cannot take the places of others, closing makes room, and the log has a line, not one for each.
func TestOneNetworkCannotTakeAllConnections(t *testing.T) {
	g := newGate(t)
	var in []net.Conn
	for i := range maxFromOneNetwork + 50 {
		if c := g.comes(fmt.Sprintf("[2001:db8::%x]:1000", i)); c != nil {
			in = append(in, c)
		}
	}
	if len(in) != maxFromOneNetwork {
		t.Errorf("%d were let in from one network, want %d", len(in), maxFromOneNetwork)
	}
	if g.comes("192.0.2.1:7") == nil || g.comes("[2001:db8:0:1::1]:7") == nil {
		t.Error("another network was turned away")
	}
	in[0].Close()
	in[0].Close() // twice counts once
	if g.comes("[2001:db8::1]:7") == nil {
		t.Error("there is room, and it was turned away")
	}
	if g.comes("[2001:db8::1]:7") != nil {
		t.Error("it was let in, and there is no room")
	}
	if n := strings.Count(g.log.String(), "\n"); n != 1 {
		t.Errorf("the log has %d lines, want 1:\n%s", n, &g.log)
	}
	g.b.Close()
	if _, err := g.b.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener answers %v", err)
	}
}

// All together have a limit too, which does not hold for who sits at the machine.
func TestAllConnectionsTogetherAreBounded(t *testing.T) {
	g := newGate(t)
	for i := range maxConnections {
		if g.comes(fmt.Sprintf("192.0.%d.%d:7", i/200, i%200)) == nil {
			t.Fatalf("connection %d was turned away", i)
		}
	}
	if g.comes("198.51.100.1:7") != nil {
		t.Errorf("a connection beyond %d was let in", maxConnections)
	}
	for _, at := range []string{"127.0.0.1:7", "[::1]:7", "[::ffff:127.0.0.1]:7"} {
		if g.comes(at) == nil {
			t.Errorf("%s was turned away", at)
		}
	}
}
