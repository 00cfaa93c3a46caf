package scom

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"scomconnector/poller/alert"
)

// maxSmall bounds every answer but that of data/alert: errors, columns, log-on.
const maxSmall = 256 << 10

// failure is why one request or poll on one console failed.
type failure struct {
	class alert.FaultClass
	// away: asking this console again at once makes no sense (no connection, too slow, log-on
	// refused), so the next one is due without further attempts.
	away       bool
	retryAfter time.Duration // what the console itself asked for
	// unsent: the console has not done what was asked for. Mostly nobody can tell.
	unsent bool
	// foreign: no SCOM gave this answer.
	foreign bool
	// lasting: the console was reached and will say the same again until somebody mends it; a probe proves nothing against it.
	lasting bool
	// plain are the few words of brief, where the error's own kind does not give them.
	plain string
	err   error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// unseen reports whether no SCOM can have seen the request.
func unseen(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && (f.unsent || f.foreign)
}

func broken(format string, args ...any) *failure {
	return &failure{class: alert.FaultTransport, err: fmt.Errorf(format, args...)}
}

// timeout is a deadline that passed.
type timeout struct {
	text  string
	after time.Duration
}

// Stages of a request.
const (
	noConnection = "no connection"
	noAnswer     = "no answer"
	noByte       = "the answer stopped: no byte"
)

func (t *timeout) Error() string { return fmt.Sprintf("%s within %g s", t.text, t.after.Seconds()) }

// watchdog cancels a request when its present stage takes too long. A stage is armed only while
// this program waits for the console: a slow consumer of the rows is not the console's fault.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stage  atomic.Pointer[timeout]
}

func newWatchdog(ctx context.Context) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{cancel: cancel}
	ctx = context.WithValue(ctx, watchdogKey{}, w)
	w.timer = time.AfterFunc(time.Hour, func() { w.cancel(w.stage.Load()) })
	w.timer.Stop()
	return ctx, w
}

type watchdogKey struct{}

// restWatchdog stops the watchdog of a request while something else than the console is waited for.
func restWatchdog(ctx context.Context) {
	if w, ok := ctx.Value(watchdogKey{}).(*watchdog); ok {
		w.rest()
	}
}

func (w *watchdog) arm(stage *timeout) {
	w.stage.Store(stage)
	w.timer.Reset(stage.after)
}

func (w *watchdog) rest() { w.timer.Stop() }

func (w *watchdog) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// reply is an answer whose body is still to be read; the caller must close it.
type reply struct {
	*http.Response
	ctx    context.Context // the request's own: its cause says which deadline has passed
	dog    *watchdog
	stall  *timeout
	bytes  int64
	waited time.Duration // until the head came
}

// Read reads the body under the stall deadline.
func (r *reply) Read(p []byte) (int, error) {
	r.dog.arm(r.stall)
	n, err := r.Body.Read(p)
	r.dog.rest()
	r.bytes += int64(n)
	return n, err
}

func (r *reply) close() {
	r.Body.Close()
	r.dog.end()
}

// request is one HTTP request to a console.
type request struct {
	method, path string
	body         []byte
	session      *session // nil before log-on
	slow         bool     // may take FirstByteSlow
	repeatable   bool     // has no effect, so a connection that died idle is replaced silently
	anonymous    bool     // never logs on, not even the connection
}

// do sends a request and waits for the answer's head. The error is the caller's ctx's, or a
// *failure. Nothing of the request is in any error or log: it may hold a password.
func (c *console) do(ctx context.Context, r request) (*reply, error) {
	reqCtx, dog := newWatchdog(ctx)
	cfg := &c.client.cfg
	connect := &timeout{noConnection, cfg.ConnectTimeout}
	answer := &timeout{noAnswer, cfg.FirstByte}
	if r.slow {
		answer.after = cfg.FirstByteSlow
	}
	connected := false // only touched by RoundTrip's goroutine
	traced := httptrace.WithClientTrace(reqCtx, &httptrace.ClientTrace{
		GetConn: func(string) { connected = false; dog.arm(connect) },
		GotConn: func(httptrace.GotConnInfo) { connected = true; dog.arm(answer) },
	})
	req, err := http.NewRequestWithContext(traced, r.method, c.conf.URL+r.path, strings.NewReader(string(r.body)))
	if err != nil {
		dog.end()
		return nil, broken("%s: %w", r.path, err)
	}
	c.headers(req, r)
	start := time.Now()
	resp, err := c.carrierOf(r).RoundTrip(req) //nolint:bodyclose // reply.close does it
	dog.rest()
	if err != nil {
		defer dog.end()
		return nil, c.explain(ctx, reqCtx, err, !connected)
	}
	out := &reply{Response: resp, ctx: reqCtx, dog: dog, stall: &timeout{noByte, cfg.Stall}, waited: time.Since(start)}
	if f := misdirected(resp); f != nil {
		out.close()
		return nil, f
	}
	r.session.update(resp)
	return out, nil
}

func (c *console) carrierOf(r request) carrier {
	if r.anonymous {
		return c.transport
	}
	return c.carrier
}

func (c *console) headers(req *http.Request, r request) {
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	} else {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "scomconnector")
	if r.repeatable {
		// An empty list says to net/http "safe to repeat", and sends nothing.
		req.Header["X-Idempotency-Key"] = []string{}
	}
	r.session.sign(req)
}

// misdirected recognises answers that no SCOM gave.
func misdirected(resp *http.Response) *failure {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		to := "elsewhere"
		if u, err := url.Parse(resp.Header.Get("Location")); err == nil && u.Path != "" {
			to = clip(u.Host + u.Path) // without the query, which may hold a ticket
		}
		f := broken("HTTP %d: the console sends us to %s: wrong path in its URL, or a log-on page", resp.StatusCode, to)
		f.foreign = true
		f.plain = fmt.Sprintf("redirects (HTTP %d), which is not followed", resp.StatusCode)
		return f
	}
	if resp.StatusCode < 300 && strings.Contains(strings.ToLower(resp.Header.Get("Content-Type")), "html") {
		return &failure{class: alert.FaultTransport, foreign: true, err: errHTML}
	}
	return nil
}

// explain turns an I/O error into the caller's ctx's error or a failure.
func (c *console) explain(ctx, reqCtx context.Context, err error, unconnected bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if late, ok := errors.AsType[*timeout](errors.Join(context.Cause(reqCtx), err)); ok {
		return &failure{class: alert.FaultTimeout, away: true, unsent: unconnected, err: late}
	}
	if late, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && late.Timeout() {
		return &failure{class: alert.FaultTimeout, away: true, unsent: unconnected, err: fmt.Errorf("no answer in time: %w", err)}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return broken("the answer was cut in the middle")
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		err = fmt.Errorf("%w: set CaFile to the authority that signed the console's certificate", err)
	}
	if unconnected {
		if errors.Is(err, io.EOF) {
			err = errors.New("it was closed at once")
		}
		return &failure{class: alert.FaultTransport, away: true, unsent: true, err: fmt.Errorf("no connection: %w", err)}
	}
	return broken("connection lost: %w", err)
}

// small is an answer that was read whole.
type small struct {
	status int
	header http.Header
	body   []byte // at most maxSmall
}

// small sends a request and reads the whole answer.
func (c *console) small(ctx context.Context, r request) (small, error) {
	rep, err := c.do(ctx, r)
	if err != nil {
		return small{}, err
	}
	defer rep.close()
	return c.readSmall(ctx, rep)
}

func (c *console) readSmall(ctx context.Context, rep *reply) (small, error) {
	body, err := io.ReadAll(io.LimitReader(rep, maxSmall))
	if err != nil {
		return small{}, c.explain(ctx, rep.ctx, err, false)
	}
	return small{rep.StatusCode, rep.Header, body}, nil
}

// refused describes an answer with an error status.
func refused(a small) *failure {
	text := statusText(a.status, errorMessage(a.body))
	if a.status == http.StatusNotFound {
		text += ": is the path in the console's URL right (usually /OperationsManager)?"
	}
	f := broken("%s", text)
	f.plain = briefStatus(a.status)
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil && seconds > 0 {
		const most = 6 * time.Minute // the default of UpperTimeoutBound: no console decides more
		f.retryAfter = min(time.Duration(min(seconds, 3600))*time.Second, most)
	}
	return f
}

func statusText(status int, message string) string {
	text := fmt.Sprintf("HTTP %d", status)
	if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	if status == statusLoginTimeout {
		text += " Login Time-out"
	}
	if message != "" {
		text += ": " + message
	}
	return text
}
