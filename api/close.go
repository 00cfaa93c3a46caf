package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	v1 "scomconnector/api/v1"
)

// Limits of close requests.
const (
	// maxWait is how long a moobot may ask to wait for SCOM's verdict: its own thread stands still meanwhile.
	maxWait = 30 * time.Second
	// minSubmit is how long a commit may take even where CloseWaitSeconds allows no waiting for a leader.
	minSubmit = time.Second
	// forSettings is how long a node that has just started may take to learn the settings, which say how long to wait for anything.
	forSettings = 5 * time.Second
	// maxTaking are submitted at a time. One Moogsoft sends at most 200 at a time (maximum_rest_requests); ten may hang on a cluster.
	maxTaking = 2000
	// maxWaiting wait for SCOM's verdict, or for the settings, at a time; who finds no place is told at once how it stands.
	maxWaiting = 1000
)

const eventPost = "/event_post/"

// isEventPost ignores slashes at both ends: moobots put "/event_post/" behind an address that may end in one.
func isEventPost(path string) bool { return strings.Trim(path, "/") == "event_post" }

// eventPostAnySlash spares close requests the router's idea of slashes, and redirects, which moobots do not follow.
func eventPostAnySlash(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isEventPost(r.URL.Path) {
			clean, url := *r, *r.URL
			url.Path, url.RawPath = eventPost, ""
			clean.URL = &url
			r = &clean
		}
		h.ServeHTTP(w, r)
	})
}

// close takes one request. What is answered 200 is in the replicated outbox, or needs nothing done.
func (s *server) close(w http.ResponseWriter, r *http.Request) {
	caller, err := s.caller(r)
	if err != nil {
		s.audit.strange(r, err, s.strangers.allow(r.RemoteAddr))
		refuseClose(w, "", err)
		return
	}
	o, err := readClose(r)
	if err == nil && !o.own {
		var rules CloseRules
		if rules, err = s.rules(w, r); err == nil {
			err = understand(&o, rules)
		}
	}
	if errors.Is(err, errMalformed) || errors.Is(err, errTooLarge) {
		allowed := s.strangers.allow(r.RemoteAddr)
		s.audit.strange(r, err, allowed)
		if !allowed {
			err = errTooMany
		}
		refuseClose(w, o.id(), err)
		return
	}
	if err != nil {
		s.audit.close(r, caller, o, "not accepted", err)
		refuseClose(w, o.id(), err)
		return
	}
	o.request.From = caller
	s.answerClose(w, r, caller, o)
}

// answerClose submits a request that is understood, and answers what became of it.
func (s *server) answerClose(w http.ResponseWriter, r *http.Request, caller string, o closeOrder) {
	a := v1.CloseAnswer{Success: true, ID: o.id(), Status: "already_closed", Ignored: o.ignored}
	var err error
	if !o.own {
		a, err = s.submit(w, r, o)
	}
	if err != nil {
		s.audit.close(r, caller, o, "not accepted", err)
		refuseClose(w, o.id(), err)
		return
	}
	outcome := a.Status + " " + a.Request
	if a.Reason != "" {
		outcome += ": " + a.Reason
	}
	s.audit.close(r, caller, o, outcome, nil)
	if a.Status != "refused" {
		answerJSON(w, http.StatusOK, a)
		return
	}
	code, hint := judged(errSCOMRefuses)
	a.Success, a.Error, a.Hint = false, fmt.Sprintf("%v: %s", errSCOMRefuses, a.Reason), hint
	answerJSON(w, code, a)
}

// rules are what the settings say. A node that has just started is waited for: it knows them in a moment, and the manual's moobot
// asks only once.
func (s *server) rules(w http.ResponseWriter, r *http.Request) (CloseRules, error) {
	if rules, known := s.deps.Closes.Rules(); known {
		return rules, nil
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return CloseRules{}, errNoSettings
	}
	allow(w, forSettings)
	ctx, cancel := within(r.Context(), forSettings)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return CloseRules{}, errNoSettings
		case <-tick.C:
		}
		if rules, known := s.deps.Closes.Rules(); known {
			return rules, nil
		}
	}
}

// caller says who asks, for people; or why he may not.
func (s *server) caller(r *http.Request) (string, error) {
	if foreignPage(r) {
		return "", errForeignPage
	}
	name, password, _ := r.BasicAuth()
	if s.callers.set() {
		given, ok := bearer(r)
		if !ok {
			given = password
		}
		if !s.callers.is(given) {
			return "", errCallback
		}
	}
	host := hostOf(r.RemoteAddr)
	if name = clip(withoutControls(name), 64); name != "" {
		return name + " from " + host, nil
	}
	return host, nil
}

// submit has a request put into the outbox, and waits for SCOM's verdict where that is asked for.
func (s *server) submit(w http.ResponseWriter, r *http.Request, o closeOrder) (v1.CloseAnswer, error) {
	allow(w, o.forLeader+o.wait)
	id, err := s.commit(r.Context(), o)
	if errors.Is(err, ErrInvalid) {
		return v1.CloseAnswer{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if err != nil {
		return v1.CloseAnswer{}, err
	}
	a := v1.CloseAnswer{Success: true, ID: o.id(), Request: id, Status: "queued", Ignored: o.ignored}
	if verdict, settled := s.await(r.Context(), id, o.wait); settled {
		a.Status, a.Reason = o.word(verdict.Status), verdict.Reason
	}
	return a, nil
}

// commit waits for a leader as long as the settings say.
func (s *server) commit(ctx context.Context, o closeOrder) (string, error) {
	select {
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	default:
		return "", errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, o.forLeader)
	defer cancel()
	return s.deps.Closes.Submit(ctx, o.request)
}

// allow has the connection live for as long as the answer may take. The server's deadline for reading counts from the request's
// first byte, and would cancel a handler that waits after it has read everything.
func allow(w http.ResponseWriter, d time.Duration) {
	const transfer = 15 * time.Second
	c := http.NewResponseController(w)
	// Writers that are no connection have no deadlines, and need none.
	_ = c.SetReadDeadline(time.Now().Add(d + transfer))
	_ = c.SetWriteDeadline(time.Now().Add(d + transfer))
}

// await waits for SCOM's verdict, until the node stops.
func (s *server) await(ctx context.Context, id string, wait time.Duration) (v1.CloseVerdict, bool) {
	if wait == 0 {
		return v1.CloseVerdict{}, false
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return v1.CloseVerdict{}, false
	}
	ctx, cancel := within(ctx, wait)
	defer cancel()
	return s.deps.Closes.Await(ctx, id)
}

// within is ctx for at most so long, and until the node stops.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	closing, ok := ctx.Value(closingKey{}).(context.Context) // without one nothing is ever shut down
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(closing, cancel)
	return ctx, func() { stop(); cancel() }
}

// refuseClose answers for a request that was not accepted; id is empty if none could be read.
func refuseClose(w http.ResponseWriter, id string, err error) {
	code, hint := judged(err)
	challenge(w, code, err)
	answerJSON(w, code, v1.CloseAnswer{ID: id, Error: err.Error(), Hint: hint})
}

// close logs a request and what became of it.
func (a *audit) close(r *http.Request, caller string, o closeOrder, outcome string, err error) {
	if err != nil {
		a.log.Warn("close request", "who", caller, "from", r.RemoteAddr, "what", o.what(), "outcome", outcome, "error", err)
		return
	}
	a.log.Info("close request", "who", caller, "from", r.RemoteAddr, "what", o.what(), "outcome", strings.TrimSpace(outcome))
}
