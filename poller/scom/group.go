package scom

import (
	"fmt"
	"strings"

	"scomconnector/poller/alert"
)

// Bind tells which management group the caller works on. A console that belongs to another one is refused from then on: its
// alerts would move the position past those of the right one. Without it the first group that a console names decides.
func (c *Client) Bind(group string) {
	c.mu.Lock()
	changed := !c.bound || !strings.EqualFold(c.group, group)
	c.group, c.bound = group, true
	c.mu.Unlock()
	if !changed {
		return
	}
	for _, con := range c.consoles {
		if c.sameGroup(con, con.knownGroup()) != nil {
			con.mu.Lock()
			con.session = nil // the next log-on is refused, and says why
			con.mu.Unlock()
		}
	}
}

// sameGroup refuses a console of another management group, and takes note of what it named.
func (c *Client) sameGroup(con *console, group string) error {
	if group == "" {
		return nil
	}
	con.mu.Lock()
	con.group = group
	con.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group == "" {
		c.group = group
	}
	if strings.EqualFold(c.group, group) {
		con.noteForeign("")
		return nil
	}
	whose := "the other consoles to"
	if c.bound {
		whose = "what this connector delivers belongs to"
	}
	text := fmt.Sprintf("this console belongs to the management group %s, and %s %s: it is not used",
		clip(group), whose, clip(c.group))
	con.noteForeign(text)
	return &failure{class: alert.FaultTransport, away: true, lasting: true, plain: fmt.Sprintf("belongs to the management group %s, and %s %s", clipTo(group, 40), whose, clipTo(c.group, 40)), err: fmt.Errorf("%s", text)}
}

// noteForeign keeps why the console is refused for its group, which a later fault of another kind must not hide; empty: it is not.
func (c *console) noteForeign(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign = why
}
