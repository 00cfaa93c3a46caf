package scom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"scomconnector/poller/alert"
)

// session is one log-on at one console: its cookies, and what was learnt at its start.
type session struct {
	columns    []string // what to ask for
	offered    []string // what resources/alertColumns lists; nil: it did not say
	tellsGroup Has      // whether it has data/ManagementGroup
	user       string   // who SCOM says has logged on
	role       string   // and what it may do, in SCOM's word

	mu         sync.Mutex // guards what follows
	cookies    []*http.Cookie
	lacks      map[string]bool // paths that this server does not have
	features   Features
	form       string // of dates in criteria
	formsTried bool   // the configured form was refused
	proven     bool   // the times in rows are UTC
}

// sign adds the cookies to a request, and the CSRF token as a header where the server has one.
func (s *session) sign(req *http.Request) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pairs := make([]string, len(s.cookies))
	for i, c := range s.cookies {
		pairs[i] = c.Name + "=" + c.Value
		if !strings.EqualFold(c.Name, cookieCSRF) {
			continue
		}
		token, err := url.PathUnescape(c.Value) // as decodeURIComponent: a plus sign stays one
		if err != nil {
			token = c.Value
		}
		req.Header.Set(headerCSRF, token)
	}
	if len(pairs) > 0 {
		req.Header.Set("Cookie", strings.Join(pairs, "; "))
	}
}

// update takes over the cookies of an answer: the session's own, and those of a load balancer.
func (s *session) update(resp *http.Response) {
	if s == nil {
		return
	}
	const most = 32 // cookies; SCOM sends two
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range resp.Cookies() {
		kept := s.cookies[:0]
		for _, old := range s.cookies {
			if !strings.EqualFold(old.Name, c.Name) {
				kept = append(kept, old)
			}
		}
		s.cookies = kept
		if c.MaxAge >= 0 && c.Value != "" && len(s.cookies) < most {
			s.cookies = append(s.cookies, c)
		}
	}
}

func (s *session) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cookies {
		if strings.EqualFold(c.Name, name) {
			return true
		}
	}
	return false
}

// logOn is a log-on under way, shared by all who wait for it.
type logOn struct {
	done    chan struct{} // closed when the two below are set
	session *session
	err     error
}

// current returns a session other than stale (nil: any), logging on if there is none. However
// many wait, there is one log-on; it has its own deadlines and outlives the caller's ctx, since
// cutting it short would leave its outcome, and so the account, in doubt.
func (c *console) current(ctx context.Context, stale *session) (*session, error) {
	c.mu.Lock()
	if c.session == stale {
		c.session = nil
	}
	if c.session != nil {
		defer c.mu.Unlock()
		return c.session, nil
	}
	l := c.logOn
	if l == nil {
		l = &logOn{done: make(chan struct{})}
		if !c.client.start(func() { c.runLogOn(l) }) {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		c.logOn = l
	}
	c.mu.Unlock()
	select {
	case <-l.done:
		return l.session, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *console) runLogOn(l *logOn) {
	s, err := c.open(c.client.base)
	if c.client.base.Err() != nil && err != nil {
		err = ErrClosed
	}
	if err != nil {
		s = nil
	}
	c.mu.Lock()
	c.session, c.logOn = s, nil
	c.mu.Unlock()
	l.session, l.err = s, err
	close(l.done)
}

// drop forgets a session that turned out to be useless.
func (c *console) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
	}
}

func (c *console) hasSession() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session != nil
}

// open logs on and asks what the server offers. The first request shows whether the console is
// there at all: one that hangs would leave it open whether a log-on was made.
func (c *console) open(ctx context.Context) (*session, error) {
	if err := c.askMode(ctx); err != nil {
		return nil, err
	}
	s, err := c.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.small(ctx, request{method: "GET", path: pathColumns, session: s, repeatable: true})
	if err := onlyAway(err); err != nil {
		return nil, err
	}
	if err == nil && list.status == http.StatusOK {
		s.offered = parseColumns(list.body)
	}
	s.columns = chooseColumns(s.offered)
	group, err := c.askGroup(ctx, s)
	s.tellsGroup = tellsGroup(group, err)
	if err := onlyAway(err); err != nil {
		return nil, err
	}
	if err := c.client.sameGroup(c, group); err != nil {
		return nil, err
	}
	s.beginTimes(c.client.cfg.DateForm)
	c.learn(ctx, s)
	f := s.knownFeatures(group)
	c.client.log.Info("logged on to SCOM", "console", c.conf.Name, "user", s.user, "role", f.Role, "scom", f.Version(), "group", group)
	return s, nil
}

func tellsGroup(group string, err error) Has {
	switch {
	case err != nil:
		return Unknown
	case group == "":
		return No
	}
	return Yes
}

// onlyAway keeps the errors after which nothing else needs to be tried on this console now.
func onlyAway(err error) error {
	if f, ok := errors.AsType[*failure](err); ok && !f.away {
		return nil
	}
	return err
}

// askMode learns how the console wants to be logged on to, which decides nothing but a warning, and whether it answers at all: one that
// breaks the connection, shows a page or answers with an error would leave it open what became of a log-on, and two such silence the
// account everywhere.
func (c *console) askMode(ctx context.Context) error {
	mode, err := c.small(ctx, request{method: "GET", path: pathMode, repeatable: true, anonymous: true})
	if err != nil {
		return err
	}
	if mode.status >= http.StatusInternalServerError {
		return refused(mode)
	}
	c.noteMode(mode)
	return nil
}

func (c *console) noteMode(mode small) {
	said := modeSaid(mode)
	if said == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode = said
}

// authenticate opens SCOM's session. In network mode that is the log-on: the password is sent once, unless the account is being
// left alone. Else the connection carries the proof, and only a refusal by SCOM itself is seen here.
func (c *console) authenticate(ctx context.Context) (*session, error) {
	unjudged := func() {}
	if c.conf.Auth == AuthNetwork {
		if err := c.account.enter(ctx); err != nil {
			return nil, err
		}
		defer c.account.leave()
		if err := c.account.begin(ctx, time.Now()); err != nil {
			return nil, err
		}
		unjudged = func() { c.account.unjudged(ctx) }
	}
	s := &session{}
	a, err := c.small(ctx, request{method: "POST", path: pathLogOn, body: logOnBody(&c.conf), session: s})
	if err != nil {
		if unseen(err) {
			unjudged()
		}
		return nil, err
	}
	message := errorMessage(a.body)
	switch {
	case c.conf.Auth == AuthNetwork && windowsFirst(a, message):
		unjudged()
		return nil, &failure{class: alert.FaultAuth, away: true, plain: "wants Windows authentication",
			err: errors.New(`log-on: the console wants Windows authentication: set "Auth" of this server to windows or kerberos, or use another console`)}
	case logOnRefused(a.status, message):
		return nil, c.refusedLogOn(ctx, c.logOnReason(a.status, message))
	case a.status != http.StatusOK:
		f := refused(a)
		f.err = fmt.Errorf("log-on: %w", f.err)
		if a.status == http.StatusNotFound {
			f.plain = "is no web console at this URL (404 Not Found)"
		}
		if a.status < http.StatusInternalServerError { // of 5xx nobody can tell
			unjudged()
		}
		return nil, f
	case looksHTML(a.body):
		unjudged()
		return nil, &failure{class: alert.FaultTransport, err: errHTML}
	case !s.has(cookieSession):
		c.account.accept(ctx)
		return nil, broken("log-on: the console accepted it but sent no %s cookie: is there a proxy in between that removes it?", cookieSession)
	}
	c.account.accept(ctx)
	s.role = parseRole(a.body)
	if s.user = parseUser(a.body); s.user == "" {
		s.user = c.account.name
	}
	return s, nil
}

// refusedLogOn notes that this console has refused the account and returns what to report.
func (c *console) refusedLogOn(ctx context.Context, reason string) error {
	r := c.account.refuse(ctx, c.conf.Name, time.Now(), reason)
	c.client.log.Debug("log-on refused, the account is left alone for a while: correct user and password", "console", c.conf.Name,
		"user", c.account.name, "reason", reason, "until", r.Until.UTC().Format("15:04:05 UTC"))
	return c.account.leftAlone(r)
}

func (c *console) logOnReason(status int, message string) string {
	reason := statusText(status, message)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mode != "" && c.mode != modeOf(c.conf.Auth) {
		reason += " (the console is set to " + c.mode + " authentication)"
	}
	return reason
}

func looksHTML(body []byte) bool {
	return strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n\uFEFF"), "<")
}

// errGroupDenied is a refusal to name the management group. It may be for good (an account that may
// not see it) or pass (a session that ended, an application that starts).
var errGroupDenied = errors.New("the console does not tell its management group's name yet; asking again")

// askGroup is the management group's name, "" if the server has no such resource. Where the server
// does not show it, the error is a *failure that wraps errGroupDenied.
func (c *console) askGroup(ctx context.Context, s *session) (string, error) {
	a, err := c.small(ctx, request{method: "GET", path: pathGroup, session: s, repeatable: true})
	if err != nil {
		return "", err
	}
	switch a.status {
	case http.StatusOK:
		if group := parseGroup(a.body); group != "" {
			return group, nil
		}
		return "", broken("the name of the management group cannot be read from %s", clip(string(a.body)))
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return "", nil
	case http.StatusBadRequest, http.StatusForbidden:
		return "", broken("%w: %s", errGroupDenied, statusText(a.status, errorMessage(a.body)))
	case http.StatusUnauthorized, statusLoginTimeout:
		c.drop(s) // the next call logs on again
	}
	return "", refused(a)
}

// denial is the first of several refusals to name the management group.
type denial struct {
	session *session // whose question was refused; nil: there is none
	at      time.Time
}

// settleGroup is askGroup for an answer that is kept for good. A refusal is taken for the server's
// last word only if it comes again, from a later log-on and a while after, with no other answer in
// between, and from sessions that may read alerts. Until then it is an error like any other.
func (c *console) settleGroup(ctx context.Context, s *session) (string, error) {
	const lasting = 30 * time.Second // longer than a web application takes to restart
	group, err := c.askGroup(ctx, s)
	if !errors.Is(err, errGroupDenied) {
		c.noteDenial(denial{})
		return group, err
	}
	if proof := c.prove(ctx, s); proof != nil {
		c.noteDenial(denial{})
		return "", proof
	}
	c.mu.Lock()
	first := c.denied
	c.mu.Unlock()
	switch {
	case first.session == nil:
		c.noteDenial(denial{s, time.Now()})
		c.drop(s) // the next call logs on again
	case first.session != s && time.Since(first.at) >= lasting:
		return "", nil
	}
	return "", err
}

func (c *console) noteDenial(d denial) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.denied = d
}

// prove asks for an alert that does not exist: nil shows that the session may read alerts.
func (c *console) prove(ctx context.Context, s *session) error {
	text, err := criteria(alert.Query{IDs: []alert.ID{{}}}, c.client.cfg.DateForm)
	if err != nil {
		return err
	}
	rep, err := c.ask(ctx, s, text, false)
	if errors.Is(err, errSessionOver) {
		c.drop(s)
		return broken("ask for the management group: %w", err)
	}
	if err != nil {
		return err
	}
	defer rep.close()
	_, err = c.consume(ctx, s, rep, func(alert.Row) error { return nil })
	return err
}

// signOut ends the session at the console, if there is one.
func (c *console) signOut(ctx context.Context) {
	c.mu.Lock()
	s := c.session
	c.session = nil
	c.mu.Unlock()
	if s != nil {
		_, _ = c.small(ctx, request{method: "GET", path: pathSignOut, session: s}) // whatever comes: a session ends by itself
	}
}
