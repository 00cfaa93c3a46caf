package scom

import (
	"slices"
	"time"
)

// comeback is closed once a console that could not be reached answers again, which is looked for from now on if it is not yet. It is for
// callers who would else wait for the end of their back-off, many minutes after SCOM has come back. Nil: the client is closed. c.mu is held.
func (c *Client) comeback() <-chan struct{} {
	if c.choice.back == nil {
		back := make(chan struct{})
		if !c.start(func() { c.lookOut(back) }) {
			return nil
		}
		c.choice.back = back
	}
	return c.choice.back
}

// lookOut pings the consoles until one of them that did not answer does, and closes back then. A console that answers at once is not what
// keeps SCOM away and would be pinged for nothing: it is left to the back-off. It also ends when a console is in use again.
func (c *Client) lookOut(back chan struct{}) {
	tick := time.NewTicker(c.cfg.LookEvery)
	defer tick.Stop()
	wanted := map[int]bool{} // the consoles, and whether one was away at the last look
	for i := range c.consoles {
		wanted[i] = false
	}
	for !c.lookedEnough(len(wanted) == 0) {
		select {
		case <-tick.C:
		case <-c.base.Done():
			return
		}
		for i, away := range wanted {
			switch err := c.Ping(c.base, i); {
			case err != nil:
				wanted[i] = true
			case away:
				c.log.Debug("a web console answers again", "console", c.consoles[i].conf.Name)
				c.lookedEnough(true)
				close(back)
				return
			default:
				delete(wanted, i)
			}
		}
	}
}

// lookedEnough ends the looking out, if nobody is left to be looked for, or a console has answered a caller since all had failed.
func (c *Client) lookedEnough(nobody bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if nobody || !slices.Contains(c.choice.down, true) {
		c.choice.back = nil
		return true
	}
	return false
}
