package scom

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"scomconnector/poller/alert"
)

// lanes carry requests over connections that are logged on each for itself, as IIS in Windows mode wants it.
//
// A handshake is several requests on one connection; nothing else may come in between, and its answers must be read to their
// end, or the next message goes out on another connection, or waits for ever. So a lane is a transport of one connection, and
// belongs to one request until the end of that one's answer. (Measured: without either rule 97 of 100 requests failed under load.)
//
// A bad log-on costs a step towards a locked account. So there is one handshake at a time for an account, none while it is
// left alone, and the verdict is asked for with a request of no effect that needs no session: what it answers is about
// the log-on and nothing else.
type lanes struct {
	con   *console
	proof proof
	// noKeep: log-ons turned out not to outlast a request, so each request carries its own.
	noKeep atomic.Bool

	free chan struct{} // a place for each lane that may be in use

	mu   sync.Mutex // guards idle
	idle []*lane    // the one used last at the end
}

// maxLanes bounds the requests under way at one console; the poller has few.
const maxLanes = 16

// lane is one connection, owned by whoever took it from lanes.
type lane struct {
	transport *http.Transport
	conn      net.Conn // that was logged on last; nil: none
}

func newLanes(con *console, p proof) *lanes {
	return &lanes{con: con, proof: p, free: make(chan struct{}, maxLanes)}
}

func (ls *lanes) take(ctx context.Context) (*lane, error) {
	wait := ls.con.client.cfg.FirstByteSlow
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case ls.free <- struct{}{}:
	case <-t.C:
		return nil, &failure{class: alert.FaultTimeout, away: true, unsent: true, err: &timeout{"all connections to the console are busy: none came free", wait}}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if n := len(ls.idle); n > 0 {
		l := ls.idle[n-1]
		ls.idle = ls.idle[:n-1]
		return l, nil
	}
	t2 := ls.con.transport.Clone()
	t2.MaxConnsPerHost, t2.MaxIdleConnsPerHost = 1, 1
	return &lane{transport: t2}, nil
}

func (ls *lanes) give(l *lane) {
	ls.mu.Lock()
	ls.idle = append(ls.idle, l)
	ls.mu.Unlock()
	<-ls.free
}

// CloseIdleConnections closes the connections that no request uses.
func (ls *lanes) CloseIdleConnections() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.idle {
		l.transport.CloseIdleConnections()
	}
}

// RoundTrip sends a request over a lane, which is free again once the answer's body is closed.
func (ls *lanes) RoundTrip(req *http.Request) (*http.Response, error) {
	l, err := ls.take(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := ls.carry(l, req)
	if err != nil {
		ls.give(l)
		return nil, err
	}
	resp.Body = &laneBody{ReadCloser: resp.Body, give: func() { ls.give(l) }}
	return resp, nil
}

// laneBody gives the lane back when it is closed.
type laneBody struct {
	io.ReadCloser
	give func()
	once sync.Once
}

func (b *laneBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.give)
	return err
}

// carry sends req, and logs the connection on if the server asks for it.
func (ls *lanes) carry(l *lane, req *http.Request) (*http.Response, error) {
	resp, scheme, err := ls.plain(l, req)
	if err != nil || scheme == "" {
		return resp, err
	}
	if ls.noKeep.Load() {
		return ls.shake(l, req, scheme, true)
	}
	if err := ls.logOn(req.Context(), l, scheme); err != nil {
		return nil, err
	}
	if resp, scheme, err = ls.plain(l, req); err != nil || scheme == "" {
		return resp, err
	}
	// Logged on a moment ago, and asked again: either a log-on does not outlast a request here, or it is SCOM's own word,
	// which IIS has dressed up as its own. The account is good either way.
	resp, err = ls.shake(l, req, scheme, false)
	if err == nil && resp.StatusCode != http.StatusUnauthorized {
		ls.noKeep.Store(true)
	}
	return resp, err
}

// plain sends req without a log-on. The scheme is the one to use where the server asks for a log-on, else "". A 401 has a buffered body.
func (ls *lanes) plain(l *lane, req *http.Request) (resp *http.Response, scheme string, err error) {
	resp, conn, err := l.send(req, "", nil)
	if err != nil {
		return nil, "", err
	}
	o := offered(resp)
	if o == nil {
		return resp, "", nil
	}
	if scheme = o.scheme(ls.proof.schemes()); scheme == "" && !scomSpeaks(resp) {
		return nil, "", &failure{class: alert.FaultAuth, away: true, unsent: true, err: fmt.Errorf(
			"log-on: the console offers neither NTLM nor Negotiate but %s: set Auth to network, or Windows authentication in IIS", clip(fmt.Sprint([]string(o))))}
	}
	if conn == l.conn && scomSpeaks(resp) {
		return resp, "", nil
	}
	return resp, scheme, nil
}

// logOn logs the lane's connection on, with a request of no effect. The error is a *failure if the account was refused.
func (ls *lanes) logOn(ctx context.Context, l *lane, scheme string) error {
	hello, err := http.NewRequestWithContext(ctx, http.MethodGet, ls.con.conf.URL+pathMode, http.NoBody)
	if err != nil {
		return err
	}
	ls.con.headers(hello, request{repeatable: true})
	resp, err := ls.shake(l, hello, scheme, true)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return buffer(resp)
}

// errMoved: the connection was lost between two messages of a handshake, before the one that proves anything.
var errMoved = errors.New("the console dropped the connection in the middle of the log-on")

// shake sends req with a log-on of its own, and returns the answer to its last message. With judge, that answer is a verdict
// on the account.
func (ls *lanes) shake(l *lane, req *http.Request, scheme string, judge bool) (*http.Response, error) {
	ctx := req.Context()
	account := ls.con.account
	if err := account.enter(ctx); err != nil {
		return nil, err
	}
	defer account.leave()
	if err := account.begin(ctx, time.Now()); err != nil {
		return nil, err
	}
	resp, err := ls.tryShake(l, req, scheme)
	if err != nil && (unseen(err) || errors.Is(err, errMoved)) {
		account.unjudged(ctx)
	}
	if err != nil || !judge {
		return resp, err
	}
	if resp.StatusCode == http.StatusUnauthorized && !scomSpeaks(resp) {
		return nil, ls.con.refusedLogOn(ctx, statusText(resp.StatusCode, "")+" at the end of the handshake")
	}
	account.accept(ctx)
	return resp, nil
}

func (ls *lanes) tryShake(l *lane, req *http.Request, scheme string) (*http.Response, error) {
	const tries = 3 // each on a new connection; those that were lost have proved nothing to anybody
	for try := 1; ; try++ {
		resp, err := ls.shakeOnce(l, req, scheme)
		if !errors.Is(err, errMoved) {
			return resp, err
		}
		if try == tries || req.Context().Err() != nil {
			return nil, broken("%w, %d times", err, try)
		}
	}
}

func (ls *lanes) shakeOnce(l *lane, req *http.Request, scheme string) (*http.Response, error) {
	h, err := ls.proof.begin()
	if err != nil {
		return nil, &failure{class: alert.FaultAuth, away: true, unsent: true, err: fmt.Errorf("log-on: %w", err)}
	}
	defer h.end()
	var challenge []byte
	var conn net.Conn // of the handshake
	const most = 6    // messages; NTLM has two, Negotiate seldom three
	for range most {
		message, err := h.next(challenge)
		if err != nil {
			return nil, &failure{class: alert.FaultAuth, away: true, unsent: true, err: fmt.Errorf("log-on: %w", err)}
		}
		resp, on, err := l.send(req, scheme+" "+base64.StdEncoding.EncodeToString(message), conn)
		if err != nil {
			return nil, ls.lost(req.Context(), err, conn == nil)
		}
		l.conn = on
		next, _ := offered(resp).token(scheme)
		if next == nil && resp.StatusCode == http.StatusUnauthorized && !scomSpeaks(resp) {
			on.Close() // some servers take no other handshake on a connection where one has failed; the answer is read already
		}
		if next == nil {
			return resp, nil
		}
		challenge, conn = next, on
	}
	return nil, broken("log-on: the console goes on asking after %d messages", most)
}

// lost tells a connection that ended before anything was proved, which may be tried again, from the rest.
func (ls *lanes) lost(ctx context.Context, err error, first bool) error {
	if _, late := errors.AsType[*timeout](errors.Join(context.Cause(ctx), err)); late || ctx.Err() != nil || !first {
		return err
	}
	var down *net.OpError
	if errors.As(err, &down) && down.Op == "dial" {
		return err
	}
	return fmt.Errorf("%w: %w", errMoved, err)
}

// send sends a copy of req over the lane's connection and says which one that was. Where expect is not nil it must be that
// one; on any other nothing is sent, and the error is errMoved. A 401 has its body buffered.
func (l *lane) send(req *http.Request, authorization string, expect net.Conn) (*http.Response, net.Conn, error) {
	var used net.Conn // only touched by RoundTrip's goroutine
	moved := false
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		used = info.Conn
		if expect != nil && info.Conn != expect {
			moved = true
			info.Conn.Close() // before a byte is written
		}
	}})
	r, err := again(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	resp, err := l.transport.RoundTrip(r)
	if moved {
		if err == nil {
			resp.Body.Close()
		}
		return nil, nil, errMoved
	}
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized {
		if err := buffer(resp); err != nil {
			return nil, nil, err
		}
		restWatchdog(req.Context()) // what follows may be a wait for others' log-ons
	}
	return resp, used, nil
}
