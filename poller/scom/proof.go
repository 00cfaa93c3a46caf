package scom

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/go-ntlmssp"
)

// The values of Console.Auth: how the connection itself is logged on, beside SCOM's session.
const (
	AuthNetwork  = "network"  // not at all: the account stands in the log-on's body
	AuthWindows  = "windows"  // NTLM, or with OwnAccount whatever Windows chooses
	AuthKerberos = "kerberos" // tickets
)

// carrier sends requests the way the console wants them; an error may be a *failure.
type carrier interface {
	http.RoundTripper
	CloseIdleConnections()
}

// proof makes the messages by which one connection is logged on.
type proof interface {
	// schemes are the names it goes by in WWW-Authenticate, the preferred one first.
	schemes() []string
	// begin starts a handshake. It has its own state, since each connection is logged on by itself.
	begin() (handshake, error)
}

// handshake is one log-on of one connection.
type handshake interface {
	// next answers the server's last message, nil at first.
	next(challenge []byte) ([]byte, error)
	// end releases what the handshake holds.
	end()
}

// ntlm proves by user and password. Version 2 only; the password never leaves this machine.
type ntlm struct{ user, password string }

func newNTLM(c Console) *ntlm {
	user := c.User
	if c.Domain != "" {
		user = c.Domain + `\` + c.User
	}
	return &ntlm{user, c.Password}
}

// IIS takes the same messages under both names. Under Negotiate others expect them wrapped, so that NTLM comes first.
func (*ntlm) schemes() []string { return []string{"NTLM", "Negotiate"} }

func (n *ntlm) begin() (handshake, error) { return n, nil }

func (n *ntlm) next(challenge []byte) ([]byte, error) {
	if challenge == nil {
		return ntlmssp.NewNegotiateMessage("", "")
	}
	return ntlmssp.NewAuthenticateMessage(challenge, n.user, n.password, nil)
}

func (*ntlm) end() {}

// offers is what a 401 says about logging on the connection.
type offers []string // the values of WWW-Authenticate

func offered(resp *http.Response) offers {
	if resp.StatusCode != http.StatusUnauthorized {
		return nil
	}
	var all offers
	for _, line := range resp.Header.Values("WWW-Authenticate") {
		for part := range strings.SplitSeq(line, ",") { // some join them in one line; a token has no comma
			all = append(all, strings.TrimSpace(part))
		}
	}
	return all
}

// token is what stands behind the scheme's name, and whether the scheme is offered at all.
func (o offers) token(scheme string) (token []byte, ok bool) {
	for _, offer := range o {
		name, text, _ := strings.Cut(offer, " ")
		if !strings.EqualFold(name, scheme) {
			continue
		}
		ok = true
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil && len(b) > 0 {
			return b, true
		}
	}
	return nil, ok
}

// scheme is the first of those wanted that is offered, "" if none is.
func (o offers) scheme(wanted []string) string {
	for _, s := range wanted {
		if _, ok := o.token(s); ok {
			return s
		}
	}
	return ""
}

// maxRefusal is how much of a 401's body is read: the connection is of use only if all of it is.
const maxRefusal = 1 << 20

// buffer reads a 401's body whole, so that its connection is free for the next message, and puts it back for who wants it.
func buffer(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return nil
}

// scomSpeaks reports whether SCOM itself says 401, such as for a session that has ended, and not the web server in front of it.
// IIS puts the same WWW-Authenticate into both. The body must be buffered.
func scomSpeaks(resp *http.Response) bool {
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return err == nil && errorMessage(body) != ""
}

// again is a copy of a request that may be sent beside the others made of it.
func again(ctx context.Context, req *http.Request) (*http.Request, error) {
	r := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		r.Body = body
	}
	return r, nil
}
