package publisher

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// lam is one LAM: how it is reached, and how it fares.
type lam struct {
	name           string // unique within the destination
	target         *url.URL
	shown          string // target without credentials and query
	user, password string
	proxy          *url.URL // nil: direct
	trust          *trust
	wires          *wires
	transport      *http.Transport
	connectTimeout time.Duration
	secrets        []string // never to be shown, though a LAM may repeat them

	accepted  atomic.Uint64 // requests
	loneInRow int           // lone events refused since it last accepted any; Publish's own

	mu      sync.Mutex // guards all below
	health  health
	learned int       // the largest request to try; 0: unknown
	told    bool      // it was a 413 that said so
	until   time.Time // when what was learned is forgotten
}

const (
	// forgetLimit is how long a learned limit is kept: an administrator may raise it any day, and
	// finding out costs one request.
	forgetLimit = 10 * time.Minute
	// leastLimit keeps one odd answer from turning a storm into single events.
	leastLimit = 16 << 10
	// idleTimeout closes a connection before the LAM does, in most cases.
	idleTimeout = 30 * time.Second
	// shortestSecret: replacing shorter ones in texts would make these unreadable.
	shortestSecret = 4
)

func newLAM(c LAM, d Config, w *wires) (*lam, error) {
	target, err := parseTarget(c.URL)
	if err != nil {
		return nil, fmt.Errorf("LAM %q: %w", c.Name, err)
	}
	l := &lam{name: c.Name, user: c.Username, password: c.Password, wires: w, connectTimeout: d.ConnectTimeout}
	if u := target.User; u != nil && l.user == "" {
		l.user = u.Username()
		l.password, _ = u.Password()
	}
	target.User = nil
	l.target, l.shown = target, show(target)
	if l.name == "" {
		l.name = l.shown
	}
	if c.ProxyURL != "" {
		if _, _, err := net.SplitHostPort(c.ProxyURL); err != nil {
			return nil, fmt.Errorf("LAM %q: proxy %q is not HOST:PORT", c.Name, c.ProxyURL)
		}
		l.proxy = &url.URL{Scheme: "http", Host: c.ProxyURL}
		if c.ProxyUsername != "" {
			l.proxy.User = url.UserPassword(c.ProxyUsername, c.ProxyPassword)
		}
	}
	for _, s := range []string{d.AuthToken, l.password, c.ProxyPassword} {
		if len(s) >= shortestSecret {
			l.secrets = append(l.secrets, s)
		}
	}
	// As they travel in the Authorization header, which an answer may repeat as well.
	for _, basic := range [][2]string{{l.user, l.password}, {c.ProxyUsername, c.ProxyPassword}} {
		if basic[1] != "" {
			l.secrets = append(l.secrets, base64.StdEncoding.EncodeToString([]byte(basic[0]+":"+basic[1])))
		}
	}
	l.trust = &trust{caFile: c.PublicKeyFile, certFile: c.ClientCertFile, keyFile: c.ClientKeyFile}
	_, _ = l.trust.refresh() // for the status; a fault is the first delivery's
	l.transport = l.newTransport()
	return l, nil
}

func parseTarget(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("the address is not a URL") // the error would quote credentials
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the address must begin with http:// or https://")
	}
	if u.Host == "" {
		return nil, errors.New("the address names no host")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	u.Fragment = ""
	return u, nil
}

// show is u for people: a query may hold a key, so only its presence is shown.
func show(u *url.URL) string {
	s := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.RawQuery != "" {
		return s.String() + "?..."
	}
	return s.String()
}

func (l *lam) newTransport() *http.Transport {
	proto := new(http.Protocols)
	proto.SetHTTP1(true) // LAMs speak 1.1; one request at a time gains nothing from 2
	t := &http.Transport{
		DialContext:            l.wires.dial,
		TLSClientConfig:        l.trust.config(l.target.Hostname()),
		TLSHandshakeTimeout:    l.connectTimeout,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    1, // requests do not overlap
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        64 << 10,
		Protocols:              proto,
	}
	if l.proxy != nil {
		t.Proxy = http.ProxyURL(l.proxy)
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			return &proxyError{status: res.StatusCode}
		}
	}
	return t
}

// post sends the picked events in one request.
func (l *lam) post(ctx context.Context, head []byte, batch []alert.Event, pick []int, deadline time.Duration) outcome {
	start := time.Now()
	changed, err := l.trust.refresh()
	if err != nil {
		out := explain(err, l.connectTimeout)
		out.took = time.Since(start)
		return out
	}
	if changed {
		l.transport.CloseIdleConnections()
	}
	out, again := l.once(ctx, head, batch, pick, deadline)
	if again && ctx.Err() == nil {
		l.transport.CloseIdleConnections()
		out, _ = l.once(ctx, head, batch, pick, deadline)
	}
	out.took = time.Since(start)
	return out
}

// once sends one request. again reports that a kept connection had died without any answer, which
// is no fault of the LAM's: it had closed an idle connection just as it was used again. Sending
// anew may repeat the batch, as any lost answer may.
func (l *lam) once(ctx context.Context, head []byte, batch []alert.Event, pick []int, deadline time.Duration) (out outcome, again bool) {
	w := newWatch(ctx, l.connectTimeout, deadline)
	defer w.stop()
	body := newPayload(head, batch, pick, w.progress)
	total := body.left
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(w.ctx, w.trace()), http.MethodPost, l.target.String(), body)
	if err != nil {
		return outcome{label: labelTransport, text: "the request could not be made", err: err}, false
	}
	req.ContentLength = int64(total)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "scomconnector")
	if l.user != "" {
		req.SetBasicAuth(l.user, l.password)
	}
	res, err := l.transport.RoundTrip(req)
	if err != nil {
		body.detach()
		out = l.transportFault(w, err)
		out.broken = out.label == labelTransport && w.connected.Load()
		if out.broken && !w.reused.Load() && l.trust.asked.Load() {
			// In TLS 1.3 a server judges our certificate after we began to send, and the reason it
			// gave is mostly lost with the connection.
			out.text, out.do = out.text+", and it demands a client certificate", "check ClientCertFile and ClientKeyFile"
		}
		return out, out.broken && w.reused.Load() && !w.answered.Load()
	}
	out = l.read(w, res)
	if !body.detach() && out.class == accepted {
		// It cannot have taken what it has not seen.
		out = outcome{label: labelNotTaken, status: out.status, text: "answered before it had the events", do: "check MoogUrl"}
	}
	return out, false
}

// read takes the answer in.
func (l *lam) read(w *watch, res *http.Response) outcome {
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	success := res.StatusCode >= 200 && res.StatusCode <= 299
	if err != nil && success {
		// The end may have been "success": false.
		out := l.transportFault(w, err)
		out.status = res.StatusCode
		return out
	}
	out := classify(res.StatusCode, res.Header.Get("Content-Type"), body)
	if out.class != accepted {
		out.answer = quote(body, l.secrets)
		out.retryAfter = retryAfter(res.Header, time.Now())
	}
	return out
}

func (l *lam) transportFault(w *watch, err error) outcome {
	if cause := context.Cause(w.ctx); cause != nil {
		err = cause
	}
	out := explain(err, l.connectTimeout)
	if w.parent.Err() != nil {
		out = outcome{label: labelCancelled, text: "stopped by us", err: w.parent.Err()}
	}
	return out
}

// failed notes a failed delivery, and logs it unless it is the same as the last one.
func (l *lam) failed(log hclog.Logger, now time.Time, out outcome) {
	l.mu.Lock()
	news := l.health.failed(now, out)
	l.mu.Unlock()
	if news {
		log.Debug("LAM fails", "lam", l.name, "error", out.cause())
	}
}

func (l *lam) took(log hclog.Logger, now time.Time, latency time.Duration) {
	l.mu.Lock()
	news := l.health.took(now, latency)
	l.mu.Unlock()
	if news {
		log.Debug("LAM works again", "lam", l.name)
	}
}

// learn notes that a request of this size did not get through, so that the next ones are half of
// it, but not less than least; told says that the LAM itself named the size as the reason.
func (l *lam) learn(size, least int, told bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.learned = max(size/2, least)
	l.told = told
	l.until = now.Add(forgetLimit)
}

// limit is the largest request to try.
func (l *lam) limit(hardCap int, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.learned == 0 || !now.Before(l.until) {
		return hardCap
	}
	return min(hardCap, l.learned)
}

func (l *lam) status(now time.Time) LAMStatus {
	l.mu.Lock()
	h, learned := l.health, l.learned
	told := l.told && now.Before(l.until)
	l.mu.Unlock()
	s := LAMStatus{Name: l.name, URL: l.shown, State: h.state(), LastOK: h.lastOK, Latency: h.latency, LastError: h.err}
	s.Brief, s.Do, s.LastFailed, s.reachable = h.words, h.do, h.failedAt, h.reachable(now)
	if s.LastError == "" {
		s.LastError, s.Brief, s.Do = h.probeErr, h.probeFail.text, h.probeFail.do
	}
	var warn, found warnings
	if l.target.Scheme == "http" {
		warn.add("events and credentials are sent in clear text: use https")
	}
	if told {
		found.add(fmt.Sprintf("answered 413 to requests of more than %d KiB: %s", learned>>10, doAboutSize))
	}
	s.PublicKeyExpiry = l.trust.expiry()
	found.expiry(s.PublicKeyExpiry, now)
	s.Found = found.String()
	s.Warning = append(warn, found...).String()
	return s
}
