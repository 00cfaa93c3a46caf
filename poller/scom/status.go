package scom

import (
	"fmt"
	"strings"
	"time"

	"scomconnector/poller/alert"
)

// ConsoleStatus is what is known about one console.
type ConsoleStatus struct {
	Name     string
	URL      string
	Priority int
	InUse    bool
	State    State
	LastOK   time.Time     // the last completely read answer; zero if there was none
	Latency  time.Duration // from request to the answer's head, of the last poll or probe
	// LastError is the last failure in plain words; it stays when the console works again, with
	// the time in LastFailed.
	LastError  string
	LastFailed time.Time
	Brief      string // the last failure in a few words that follow the console's name
	Group      string // its management group, where the server tells
	Warning    string // a fact that an operator should mend; empty if there is none
	Features   Features
	// Found is the part of Warning that only the console's answers have shown, not its settings.
	Found string
}

// State is how a console's last poll went.
type State string

// The states of a console.
const (
	StateUnknown State = "unknown" // never polled
	StateOK      State = "ok"
	StateFailing State = "failing"
	// StateReachable: it failed, another one is in use and works, and this one answers probes again.
	StateReachable State = "reachable"
)

// health is a console's part of Status. Guarded by console.mu.
type health struct {
	state      State
	lastOK     time.Time
	latency    time.Duration
	lastError  string
	lastFailed time.Time
	brief      string
	lasting    bool      // a probe proves nothing against lastError
	pinged     time.Time // when a probe succeeded last
}

// reachable reports whether probes have shown since that it is there again.
func (h *health) reachable() bool {
	return h.state == StateFailing && !h.lasting && h.pinged.After(h.lastFailed)
}

// Status describes all consoles in priority order.
func (c *Client) Status() []ConsoleStatus {
	c.mu.Lock()
	current := c.choice.current
	c.mu.Unlock()
	list := make([]ConsoleStatus, len(c.consoles))
	for i, con := range c.consoles {
		list[i] = con.describe()
		list[i].InUse = i == current
	}
	// Of a spare a probe is all there is to know until it is needed; a better one than that in use is tried by and by.
	for i := current + 1; i < len(c.consoles); i++ {
		con := c.consoles[i]
		con.mu.Lock()
		if list[current].State == StateOK && con.status.reachable() {
			list[i].State = StateReachable
		}
		con.mu.Unlock()
	}
	return list
}

func (c *console) describe() ConsoleStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ConsoleStatus{
		Name: c.conf.Name, URL: c.conf.URL, Priority: c.conf.Priority,
		State: c.status.state, LastOK: c.status.lastOK, Latency: c.status.latency,
		LastError: c.status.lastError, LastFailed: c.status.lastFailed, Brief: c.status.brief, Group: c.group,
		Warning: c.conf.warning(),
	}
	if c.session != nil {
		s.Features = c.session.knownFeatures(c.group)
	}
	if s.State == "" {
		s.State = StateUnknown
	}
	s.Found = strings.Join(c.found(), "; ")
	if s.Found != "" && s.Warning != "" {
		s.Warning += "; "
	}
	s.Warning += s.Found
	return s
}

// found is what the console's answers have shown that should be mended. c.mu is held.
func (c *console) found() []string {
	var all []string
	if c.mode != "" && c.mode != modeOf(c.conf.Auth) {
		all = append(all, fmt.Sprintf("the console is set to %s authentication, and we log on with Auth %s", c.mode, c.conf.Auth))
	}
	if c.foreign != "" {
		all = append(all, c.foreign)
	}
	if c.session != nil {
		if form, _ := c.session.times(); form != c.client.cfg.DateForm {
			all = append(all, "it refuses dates in the form "+c.client.cfg.DateForm+", and reads the form "+form+" as it is meant: set CriteriaDateForm to "+form)
		}
	}
	return all
}

// notePing takes note of a probe that was answered after d.
func (c *console) notePing(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.latency, c.status.pinged = d, time.Now()
}

func (c *console) noteLatency(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.latency = d
}

// noteFailure logs a failure when it is a new one.
func (c *console) noteFailure(f *failure, now time.Time) {
	text := f.Error()
	c.mu.Lock()
	news := c.status.state != StateFailing || c.status.lastError != text
	c.status.state, c.status.lastError, c.status.lastFailed = StateFailing, text, now
	c.status.brief, c.status.lasting = f.brief(), f.lasting || f.class == alert.FaultAuth || f.class == alert.FaultCriteria
	c.mu.Unlock()
	if news {
		c.client.log.Debug("web console failed", "console", c.conf.Name, "error", text)
	}
}

func (c *console) noteSuccess(now time.Time) {
	c.mu.Lock()
	back := c.status.state == StateFailing
	c.status.state, c.status.lastOK = StateOK, now
	c.mu.Unlock()
	if back {
		c.client.log.Debug("web console works again", "console", c.conf.Name)
	}
}
