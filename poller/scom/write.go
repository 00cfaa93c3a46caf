package scom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"scomconnector/poller/alert"
)

// SetState has the resolution state of alerts set at the console in use, all with one comment. An error is
// an *alert.Fault, whose Unknown says that it may have been done, or ctx's.
func (c *Client) SetState(ctx context.Context, ids []alert.ID, state uint8, comment string) (alert.Written, error) {
	body, err := statesRequest(ids, state, comment)
	if err != nil {
		return alert.Written{}, err
	}
	var w alert.Written
	err = c.call(ctx, call{method: "POST", path: pathStates, body: body, effect: true}, func(a small) error {
		var err error
		if w, err = parseStates(a.body, ids); err != nil {
			return broken("set the resolution state: %w: %s", err, clip(string(a.body)))
		}
		return nil
	})
	if no, ok := errors.AsType[noAlert](err); ok && len(ids) == 1 {
		return alert.Written{Objections: map[alert.ID]alert.Objection{ids[0]: no.objection()}}, nil
	} else if ok {
		return alert.Written{Vague: &alert.Objection{Text: no.words}}, nil
	}
	return w, err
}

// SetFields changes fields of one alert: the object of alertDetails is read and written back whole, since nobody
// has documented what becomes of members that are left out. Errors are as SetState's, or alert.ErrUnsupported.
func (c *Client) SetFields(ctx context.Context, id alert.ID, fields []alert.Field) (alert.Written, error) {
	object := func(o alert.Objection) alert.Written {
		return alert.Written{Objections: map[alert.ID]alert.Objection{id: o}}
	}
	var details []member
	err := c.call(ctx, call{method: "GET", path: pathDetails, id: id.String(), optional: true}, func(a small) error {
		var err error
		if details, err = parseObject(a.body); err != nil {
			return broken("read the alert's details: %w: %s", err, clip(string(a.body)))
		}
		return nil
	})
	if no, ok := errors.AsType[noAlert](err); ok {
		return object(no.objection()), nil
	}
	if err != nil {
		return alert.Written{}, err
	}
	changed := false
	for _, f := range fields {
		var other bool
		if details, other, err = setField(details, f); err != nil {
			return object(alert.Objection{Text: err.Error()}), nil //nolint:nilerr // nobody could change that field
		}
		changed = changed || other
	}
	if !changed {
		return alert.Written{Unchanged: true}, nil // each write makes the alert's history longer
	}
	var w alert.Written
	err = c.call(ctx, call{method: "POST", path: pathDetails, body: printObject(details), effect: true, optional: true}, func(a small) error {
		o, objects, ok := updateFailure(a.body)
		if !ok {
			return broken("change the alert's fields: %w: %s", errUnreadable, clip(string(a.body)))
		}
		if objects {
			w = object(o)
		}
		return nil
	})
	if no, ok := errors.AsType[noAlert](err); ok {
		return object(no.objection()), nil
	}
	return w, err
}

// ResetMonitor makes the monitor behind an alert healthy. Errors are as SetFields'.
func (c *Client) ResetMonitor(ctx context.Context, id alert.ID) (alert.Written, error) {
	var w alert.Written
	err := c.call(ctx, call{method: "POST", path: pathReset, body: []byte(`"` + id.String() + `"`), effect: true, optional: true}, func(a small) error {
		good, ok := parseVerdict(a.body)
		if !ok {
			return broken("reset the monitor: %w: %s", errUnreadable, clip(string(a.body)))
		}
		if !good {
			w.Objections = map[alert.ID]alert.Objection{id: {Text: wordless}}
		}
		return nil
	})
	if no, ok := errors.AsType[noAlert](err); ok {
		return alert.Written{Objections: map[alert.ID]alert.Objection{id: no.objection()}}, nil
	}
	return w, err
}

// Marked reports which of the marks stand in the alert's history, none if SCOM has no such alert. Errors are as SetFields'.
func (c *Client) Marked(ctx context.Context, id alert.ID, marks []string) ([]string, error) {
	var found []string
	search := func(rep *reply) error {
		var err error
		found, err = findMarks(rep, marks)
		return err
	}
	err := alert.ErrUnsupported
	for _, path := range []string{pathHistory, pathInformation} {
		err = c.call(ctx, call{method: "GET", path: path, id: id.String(), optional: true, stream: search}, nil)
		if !errors.Is(err, alert.ErrUnsupported) {
			break
		}
	}
	if _, ok := errors.AsType[noAlert](err); ok {
		return nil, nil
	}
	return found, err
}

// Account is who the console in use takes us for, "" before the first log-on there.
func (c *Client) Account() string {
	c.mu.Lock()
	con := c.consoles[c.choice.current]
	c.mu.Unlock()
	con.mu.Lock()
	defer con.mu.Unlock()
	if con.session == nil {
		return ""
	}
	return con.session.user
}

// call is one request about one or some alerts.
type call struct {
	method, path string
	id           string // the path's last part, if any
	body         []byte
	effect       bool // it changes something
	optional     bool // not every version has it
	// stream reads the answer's body in place of the callback, where that may be large.
	stream func(rep *reply) error
}

// noAlert is SCOM's word that it has no such alert.
type noAlert struct{ words string }

func (n noAlert) Error() string { return n.words }

func (n noAlert) objection() alert.Objection {
	return alert.Objection{Kind: alert.ObjectionNoAlert, Text: clipTo(n.words, maxReason)}
}

// call asks the console in use and has an answer with a good status read.
func (c *Client) call(ctx context.Context, r call, read func(small) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	con, err := c.choose(time.Now())
	if err != nil {
		return err
	}
	err = con.call(ctx, r, read)
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	// Only what says that the console is away moves the polls to another one, too: an alert that SCOM cannot
	// change must not.
	fault := &alert.Fault{Class: f.class, Console: con.conf.Name, All: true, RetryAfter: f.retryAfter, What: f.brief(), Err: f.err}
	if f.away {
		fault = c.failed(con, f, time.Now())
	}
	fault.Unknown = r.effect && !f.unsent
	return fault
}

// call asks this console, logging on first if need be, and once more if the session has ended.
func (c *console) call(ctx context.Context, r call, read func(small) error) error {
	s, err := c.current(ctx, nil)
	if err != nil {
		return unsent(err)
	}
	if err = c.try(ctx, s, r, read); !errors.Is(err, errSessionOver) {
		return err
	}
	if s, err = c.current(ctx, s); err != nil {
		return unsent(err)
	}
	if err = c.try(ctx, s, r, read); errors.Is(err, errSessionOver) {
		return c.mayNotChange(err)
	}
	return err
}

// mayNotChange is what a role that may only read is answered. The session stays: it is good enough for polls.
func (c *console) mayNotChange(err error) *failure {
	return &failure{class: alert.FaultAuth, unsent: true,
		err: fmt.Errorf("SCOM does not let %s change alerts: give the account a role that may (Operator): %w", c.account.name, err)}
}

// unsent marks a failure before the request itself.
func unsent(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		own := *f // others who wait for the same log-on share it
		own.unsent = true
		return &own
	}
	return err
}

// try sends the request once.
func (c *console) try(ctx context.Context, s *session, r call, read func(small) error) error {
	if s.without(r.path) {
		return alert.ErrUnsupported
	}
	path := r.path
	if r.id != "" {
		path += "/" + r.id
	}
	rep, err := c.do(ctx, request{method: r.method, path: path, body: r.body, session: s, repeatable: !r.effect})
	if err != nil {
		if errors.Is(err, errHTML) {
			c.drop(s) // perhaps it only wants a new log-on
		}
		return err
	}
	defer rep.close()
	if r.stream != nil && rep.StatusCode == http.StatusOK {
		if err := r.stream(rep); err != nil {
			return c.explainBody(ctx, rep, err)
		}
		return nil
	}
	a, err := c.readSmall(ctx, rep)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return c.refusedCall(s, r, a)
	}
	if looksHTML(a.body) {
		c.drop(s)
		return &failure{class: alert.FaultTransport, err: errHTML}
	}
	return read(a)
}

// refusedCall says what an answer with another status than 200 means.
func (c *console) refusedCall(s *session, r call, a small) error {
	message, words := errorMessage(a.body), scomsWords(a.body)
	switch {
	case a.status == http.StatusNotFound && words != "":
		return noAlert{words}
	case r.optional && (a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotImplemented):
		s.lack(r.path)
		return alert.ErrUnsupported
	case permissionDenied(a.status, message):
		return c.mayNotChange(errors.New(statusText(a.status, message)))
	case expired(a.status, message):
		return fmt.Errorf("%w (%s)", errSessionOver, statusText(a.status, message))
	case (a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity) && message != "":
		return &failure{class: alert.FaultCriteria, unsent: true, err: errors.New(statusText(a.status, message))}
	}
	f := refused(a)
	f.unsent = a.status < 500
	return f
}

// without reports whether this server is known not to have the path; lack takes note of it. What one console lacks
// another may have, and an update may bring it: so it is known for as long as the log-on lasts.
func (s *session) without(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lacks[path]
}

func (s *session) lack(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lacks == nil {
		s.lacks = map[string]bool{}
	}
	s.lacks[path] = true
}
