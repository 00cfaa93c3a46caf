package api

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limits of open connections.
const (
	// One Moogsoft sends at most 200 close requests at a time; twice that, and a few browsers, may come through one proxy.
	maxFromOneNetwork = 500
	// A process has some thousand files at least, and SCOM, the LAMs, the other nodes and the store need some, too.
	maxConnections = 2000
)

// Bounded is a listener that closes what comes beyond the limits, at once, so that a stranger who opens connections without end
// takes nothing from others. Who sits at the machine is never turned away: that is who mends it.
func Bounded(ln net.Listener, log hclog.Logger) net.Listener {
	return &bounded{Listener: ln, log: log, from: map[string]int{}}
}

type bounded struct {
	net.Listener
	log hclog.Logger

	mu   sync.Mutex // guards what follows
	open int
	from map[string]int // by network
	told time.Time      // when the log last said that some are turned away
}

// Accept waits for a connection that may stay.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who := network(conn.RemoteAddr().String())
		if b.enter(who) {
			return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { b.leave(who) })}, nil
		}
		conn.Close()
	}
}

// tellEvery is how often the log says that connections are turned away.
const tellEvery = 10 * time.Minute

// enter counts a connection in, if there is room.
func (b *bounded) enter(who string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !local(who) && (b.open >= maxConnections || b.from[who] >= maxFromOneNetwork) {
		if b.told.IsZero() || time.Since(b.told) >= tellEvery {
			b.told = time.Now()
			b.log.Warn("too many connections, new ones are closed", "from", who, "open", b.open, "of them from there", b.from[who])
		}
		return false
	}
	b.open++
	b.from[who]++
	return true
}

func (b *bounded) leave(who string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.from[who]--; b.from[who] == 0 {
		delete(b.from, who)
	}
}

// local reports whether a network is this machine.
func local(who string) bool {
	addr, err := netip.ParseAddr(who)
	if err == nil {
		return addr.IsLoopback()
	}
	prefix, err := netip.ParsePrefix(who)
	return err == nil && prefix.Contains(netip.IPv6Loopback())
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
