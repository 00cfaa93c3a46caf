package api

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of requests that cannot be understood.
const (
	// strangeBurst may come at once, for who tries things out; strangeEvery gives one more.
	strangeBurst = 20
	strangeEvery = 3 * time.Second
	// maxStrangers are told apart; all others share one measure.
	maxStrangers = 1000
)

// strangers measures, by address, the requests that cannot be understood. It bounds what a mistaken or hostile sender writes into
// the log, and never stands in the way of a request that can be understood.
type strangers struct {
	begun time.Time // times count from here, on the clock that never jumps

	mu sync.Mutex // guards all
	// all is, by address, when its measure will be empty again. Those in the past are as good as not there.
	all map[string]time.Duration
}

func newStrangers() *strangers {
	return &strangers{begun: time.Now(), all: map[string]time.Duration{}}
}

// allow counts one such request, and reports whether there were not too many.
func (s *strangers) allow(remoteAddr string) bool {
	who := network(remoteAddr)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(s.begun)
	if _, known := s.all[who]; !known && len(s.all) >= maxStrangers {
		for other, empty := range s.all {
			if empty <= now {
				delete(s.all, other)
			}
		}
		if len(s.all) >= maxStrangers {
			who = "all others"
		}
	}
	empty := max(s.all[who], now) + strangeEvery
	if empty > now+strangeBurst*strangeEvery {
		return false
	}
	s.all[who] = empty
	return true
}

// network is an address without its port; of IPv6 the half that a sender does not choose.
func network(remoteAddr string) string {
	peer, err := netip.ParseAddr(hostOf(remoteAddr))
	if err != nil {
		return "unknown"
	}
	if peer = peer.Unmap().WithZone(""); peer.Is4() {
		return peer.String()
	}
	prefix, err := peer.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return prefix.String()
}

// hostOf is an address without its port.
func hostOf(remoteAddr string) string {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		return remoteAddr
	}
	return host
}
