package scom

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"scomconnector/poller/alert"
)

// choice is which console is in use, and why. Guarded by Client.mu.
type choice struct {
	current  int
	failures int  // of current, in a row
	trial    bool // current was returned to after probes, and has not proved itself yet
	watching bool // the prober runs; invariant: true whenever a console wants probes, but for a closed client
	// down are the consoles that have failed since any last succeeded.
	down []bool
	// notBefore is until when a console itself asked to be left alone.
	notBefore []time.Time
	// penalty is how often in a row returning to a console was a mistake: its probes must then be
	// good for twice as long each time.
	penalty []int
	// back is closed when a console that could not be reached answers again. Nil: nobody looks.
	back chan struct{}
}

func newChoice(n int) choice {
	return choice{down: make([]bool, n), notBefore: make([]time.Time, n), penalty: make([]int, n)}
}

// choose is the console to ask now. A console that would need a log-on while its account is left
// alone is passed over; if that is true of all, nothing is asked.
func (c *Client) choose(now time.Time) (*console, error) {
	if c.base.Err() != nil {
		return nil, ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if next := c.next(now); next >= 0 && !c.consoles[c.choice.current].usable(now) {
		c.use(next, "moving to another web console")
	}
	con := c.consoles[c.choice.current]
	if con.usable(now) {
		return con, nil
	}
	f := con.account.paused(now)
	if f == nil { // the pause has just ended
		return con, nil
	}
	return nil, &alert.Fault{Class: f.class, Console: con.conf.Name, All: true, RetryAfter: c.wait(now), What: f.brief(), Err: f.err}
}

// usable reports whether the console could be asked without a log-on that might lock the account.
func (c *console) usable(now time.Time) bool {
	return c.hasSession() || c.account.left(now) == 0
}

// failed notes a failure of con and makes it a Fault.
func (c *Client) failed(con *console, f *failure, now time.Time) *alert.Fault {
	con.noteFailure(f, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := &c.choice
	ch.down[con.index] = true
	ch.notBefore[con.index] = now.Add(f.retryAfter)
	all := c.allDown(now)
	if con.index == ch.current {
		ch.failures++
		if ch.trial {
			ch.penalty[con.index]++
		}
		// With all of them down each attempt costs a back-off, so each goes to another one.
		if f.away || all || ch.trial || ch.failures >= c.cfg.MaxPollRetryAttempt {
			c.moveOn(now)
		}
	}
	c.watchOthers()
	fault := &alert.Fault{Class: f.class, Console: con.conf.Name, All: all, What: f.brief(), Err: f.err}
	if all {
		fault.RetryAfter = c.wait(now)
	}
	if all && fault.RetryAfter == 0 {
		fault.Back = c.comeback()
	}
	return fault
}

// succeeded notes a complete answer of con.
func (c *Client) succeeded(con *console, now time.Time) {
	con.noteSuccess(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.choice.down)
	c.choice.notBefore[con.index] = time.Time{}
	if con.index == c.choice.current {
		c.choice.failures, c.choice.trial = 0, false
		c.choice.penalty[con.index] = 0
	}
}

// allDown reports whether no console is left that might answer. c.mu is held.
func (c *Client) allDown(now time.Time) bool {
	for i, con := range c.consoles {
		if !c.choice.down[i] && con.usable(now) {
			return false
		}
	}
	return true
}

// wait is how long no console can be asked. c.mu is held.
func (c *Client) wait(now time.Time) time.Duration {
	least := time.Duration(-1)
	for i, con := range c.consoles {
		wait := max(0, c.choice.notBefore[i].Sub(now))
		if !con.usable(now) {
			wait = max(wait, con.account.left(now))
		}
		if least < 0 || wait < least {
			least = wait
		}
	}
	return least
}

// moveOn makes the next usable console the current one. If there is none, it still moves: when the
// pause of an account ends, the console that has just refused it must not get the only try again,
// since the reason may be that console's own. c.mu is held.
func (c *Client) moveOn(now time.Time) {
	next := c.next(now)
	if next < 0 {
		next = (c.choice.current + 1) % len(c.consoles)
	}
	if next != c.choice.current {
		c.use(next, "moving to another web console")
	}
	c.choice.failures, c.choice.trial = 0, false
}

// next is the usable console that follows the current one, -1 if there is none. c.mu is held.
func (c *Client) next(now time.Time) int {
	for step := 1; step < len(c.consoles); step++ {
		if i := (c.choice.current + step) % len(c.consoles); c.consoles[i].usable(now) {
			return i
		}
	}
	return -1
}

// use makes console i the current one and sees to it that better ones are probed. c.mu is held.
func (c *Client) use(i int, why string) {
	from := c.consoles[c.choice.current].conf.Name
	c.choice.current, c.choice.failures, c.choice.trial = i, 0, false
	c.log.Debug(why, "from", from, "to", c.consoles[i].conf.Name) // what people are told is why: that the other one fails, or works again
	c.watchOthers()
}

// watchOthers sees to it that the prober runs while it is wanted. c.mu is held.
func (c *Client) watchOthers() {
	if !c.choice.watching && len(c.probed()) > 0 {
		c.choice.watching = c.start(c.watch)
	}
}

// probed are the consoles that want probes: those better than the current one, to go back to, and any other that has failed, so
// that people see whether it could be used again. c.mu is held.
func (c *Client) probed() []int {
	var all []int
	for i, con := range c.consoles {
		if i < c.choice.current || i > c.choice.current && con.failing() {
			all = append(all, i)
		}
	}
	return all
}

func (c *console) failing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.state == StateFailing
}

// watch probes consoles as long as any wants that.
func (c *Client) watch() {
	tick := time.NewTicker(c.cfg.ProbeEvery)
	defer tick.Stop()
	goodSince := make([]time.Time, len(c.consoles))
	for {
		select {
		case <-tick.C:
		case <-c.base.Done():
			return
		}
		c.mu.Lock()
		better, probed := c.choice.current, c.probed()
		if len(probed) == 0 {
			c.choice.watching = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		for _, i := range probed {
			if c.Ping(c.base, i) != nil {
				goodSince[i] = time.Time{}
			} else if goodSince[i].IsZero() {
				goodSince[i] = time.Now()
			}
		}
		if i := c.giveBack(goodSince, better); i >= 0 {
			goodSince[i] = time.Time{} // if it fails after all, the count starts anew
		}
	}
}

// giveBack returns to the best console whose probes were good for long enough; -1 if there is none.
func (c *Client) giveBack(goodSince []time.Time, better int) int {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range min(better, c.choice.current) {
		const most = 6 // doublings: with the default some five hours
		need := c.cfg.ReturnAfter << min(c.choice.penalty[i], most)
		if goodSince[i].IsZero() || now.Sub(goodSince[i]) < need || !c.consoles[i].usable(now) {
			continue
		}
		c.use(i, "returning to a better web console")
		c.choice.trial = true
		return i
	}
	return -1
}

// Ping asks the i-th console of Status whether it is there, without a log-on. Any answer of the
// web application counts, also one that wants Windows authentication first.
func (c *Client) Ping(ctx context.Context, i int) error {
	con := c.consoles[i]
	start := time.Now()
	a, err := con.small(ctx, request{method: "GET", path: pathMode, repeatable: true, anonymous: true})
	switch {
	case err != nil:
	case a.status == http.StatusOK && looksHTML(a.body):
		err = errHTML
	case a.status == http.StatusOK, a.status == http.StatusUnauthorized:
		con.noteMode(a)
	case a.status == http.StatusForbidden, a.status == statusLoginTimeout:
	default:
		err = refused(a)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("console %s: %w", con.conf.Name, err)
	}
	con.notePing(time.Since(start))
	return nil
}
