package daemon

import "time"

// Supervisor is whoever has started this process and wants to know how the node fares, such as systemd. Its calls may overlap; they
// do not block, and the node goes on whatever becomes of them.
type Supervisor interface {
	// Ready: the node serves.
	Ready()
	// Verdict is the sentence on the state of affairs, whenever it has changed.
	Verdict(sentence string)
	// Beat comes about once a second, after the node's own state could be read. A node whose beats end hangs.
	Beat()
	// Stopping: the node has begun to end in good order.
	Stopping()
}

// supervised remembers which state of affairs the Supervisor was told.
type supervised struct {
	seen, told string
	since      time.Time
}

// changed reports whether it is another one, and has been for a while.
func (s *supervised) changed(now time.Time, is string) bool {
	if is != s.seen {
		s.seen, s.since = is, now
	}
	if s.seen == s.told || now.Sub(s.since) < steady {
		return false
	}
	s.told = s.seen
	return true
}

// unsupervised is the Supervisor of a node that nobody watches.
type unsupervised struct{}

func (unsupervised) Ready()         {}
func (unsupervised) Verdict(string) {}
func (unsupervised) Beat()          {}
func (unsupervised) Stopping()      {}
