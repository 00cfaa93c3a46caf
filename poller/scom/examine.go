package scom

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"scomconnector/poller/alert"
)

// What follows is for a program that examines the consoles one by one. Each i is an index of Status. Errors are an
// *alert.Fault, the callback's own, or ctx's; they move nothing to another console.

// LogOnAt logs on to a console, if that was not done yet.
func (c *Client) LogOnAt(ctx context.Context, i int) error {
	con := c.consoles[i]
	_, err := con.current(ctx, nil)
	return con.faultOf(err)
}

// LeftAlone reports whether no log-on may be made at a console now, since its account was refused there or elsewhere.
func (c *Client) LeftAlone(i int) bool { return c.consoles[i].account.left(time.Now()) > 0 }

// PollAt asks a console once, as Poll does the one in use.
func (c *Client) PollAt(ctx context.Context, i int, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	con := c.consoles[i]
	answer, err := con.poll(ctx, q, row)
	if own, ok := errors.AsType[callbackError](err); ok {
		return alert.Answer{}, own.err
	}
	return answer, con.faultOf(err)
}

// Use makes a console the one that is asked from now on.
func (c *Client) Use(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.choice.current, c.choice.failures, c.choice.trial = i, 0, false
}

// TLS is how a console's certificate is judged.
func (c *Client) TLS(i int) *tls.Config { return c.consoles[i].transport.TLSClientConfig.Clone() }

func (c *console) faultOf(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	c.noteFailure(f, time.Now())
	return &alert.Fault{Class: f.class, Console: c.conf.Name, RetryAfter: f.retryAfter, What: f.brief(), Err: f.err}
}
