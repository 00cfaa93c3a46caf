// Package client speaks to a node's API. The command line uses it, and so may anybody's program.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "scomconnector/api/v1"
)

// Limits of one call.
const (
	// A node answers from memory; who does not within this is not well.
	callDeadline = 10 * time.Second
	// A write waits for the cluster, ten seconds if it has no leader.
	writeDeadline = 20 * time.Second
	// A takeover may take the node 20 seconds.
	takeoverDeadline = 30 * time.Second
	// A parked event waits for a LAM's answer; the node gives up after 45 seconds.
	resendDeadline = 55 * time.Second
	// A parked payload has up to 16 MiB, and twice that as text in JSON; all else is far smaller.
	maxAnswerBytes = 64 << 20
)

// Client speaks to one node. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	most  int64 // bytes of an answer
	// Name is the person behind the token, for the node's audit; may be empty.
	Name string
	// HTTP carries the requests. New's ignores proxy variables, as the node itself does; it may be replaced before the first call.
	HTTP *http.Client
}

// New is a client for the node whose page is at base, such as "http://scomc1.contoso.com:8085". The token
// may be empty.
func New(base, token string) *Client {
	dial := &net.Dialer{Timeout: 5 * time.Second}
	return &Client{
		base:  strings.TrimRight(base, "/"),
		token: strings.TrimSpace(token),
		most:  maxAnswerBytes,
		HTTP: &http.Client{
			Transport: &http.Transport{DialContext: dial.DialContext, MaxIdleConns: 1, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true},
			// A node never redirects: whoever does is something else, and must not be given the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Trust has the connections of New's HTTP use config, before the first call: for a node whose authority is not one of the system's, or that
// asks for a certificate.
func (c *Client) Trust(config *tls.Config) {
	tr := c.HTTP.Transport.(*http.Transport).Clone()
	tr.TLSClientConfig = config
	c.HTTP.Transport = tr
}

// Error is a refusal, or the reason why there was no answer.
type Error struct {
	Code    int    // HTTP status; 0 without an answer
	Message string // what went wrong
	Hint    string // what to do; may be empty
	Err     error  // what is underneath; nil for a node's own refusal
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// Status is the node's view of everything. Its error is always an *Error.
func (c *Client) Status(ctx context.Context) (v1.Status, error) {
	var s v1.Status
	err := c.get(ctx, "/api/v1/status", &s)
	return s, err
}

// call is one request; nil wants no answer.
type call struct {
	method, path string
	ifMatch      string
	body         []byte
	into         any
	deadline     time.Duration // 0: as for any other of its method
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, into: into})
}

// do sends one request and reads its JSON answer. The error is always an *Error.
func (c *Client) do(ctx context.Context, k call) error {
	deadline := callDeadline
	if k.method != http.MethodGet {
		deadline = writeDeadline
	}
	deadline = cmp.Or(k.deadline, deadline)
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return unreached(c.base, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.most+1))
	if err != nil {
		return unreached(c.base, err)
	}
	if int64(len(body)) > c.most {
		return &Error{Code: resp.StatusCode, Message: fmt.Sprintf("the answer of %s is larger than %d bytes", c.base, c.most), Hint: stranger}
	}
	if resp.StatusCode != http.StatusOK && (k.into != nil || resp.StatusCode != http.StatusNoContent) {
		return refused(c.base, resp.StatusCode, body)
	}
	if k.into == nil {
		return nil
	}
	if err := json.Unmarshal(body, k.into); err != nil {
		return &Error{Code: resp.StatusCode, Message: c.base + " does not answer as a scomconnector node does", Hint: stranger, Err: err}
	}
	return nil
}

const stranger = "check the address: it must be a node's own, AdvertiseUrl in its node.json"

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	u, err := url.Parse(c.base)
	if err == nil && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		err = errors.New("no http:// or https:// address")
	}
	var req *http.Request
	if err == nil {
		req, err = http.NewRequestWithContext(ctx, k.method, c.base+k.path, bytes.NewReader(k.body))
	}
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("%q is not the address of a node", c.base), Hint: "write it as http://HOST:8085", Err: err}
	}
	req.Header.Set("Accept", "application/json")
	if len(k.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if k.ifMatch != "" {
		req.Header.Set("If-Match", k.ifMatch)
	}
	if c.Name != "" {
		req.Header.Set("X-Operator-Name", c.Name)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// unreached is the error of a call without a whole answer.
func unreached(base string, err error) *Error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Message: base + " does not answer in time", Hint: "is the machine overloaded, or a firewall between?", Err: err}
	}
	// The URL is in the message already.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &Error{Message: fmt.Sprintf("cannot reach %s: %v", base, err), Hint: "is the node running, and is this its address?", Err: err}
}

// refused is the node's own error, or what can be said of a stranger's.
func refused(base string, code int, body []byte) *Error {
	var e v1.Error
	if json.Unmarshal(body, &e) == nil && e.Error != "" {
		return &Error{Code: code, Message: e.Error, Hint: e.Hint}
	}
	return &Error{Code: code, Message: fmt.Sprintf("%s answers %d %s", base, code, http.StatusText(code)), Hint: stranger}
}
