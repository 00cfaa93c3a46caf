package api

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Deadlines of a write.
const (
	// An election and a commit take a few seconds, and so does a handover.
	writeDeadline = 10 * time.Second
	// A takeover may have to wait for a share that answers slowly before its election.
	takeoverDeadline = 20 * time.Second
	// A LAM may take half a minute to answer, and so may the one before it.
	resendDeadline = 45 * time.Second
)

// done is what a write answers.
type done struct {
	body any    // as JSON; nil: 204
	what string // for the audit; never a secret
	etag string
}

// writing lets those pass who may write, and audits both what was done and what was refused: by whom, from where, what.
func (s *server) writing(limit time.Duration, h func(r *http.Request, by string) (done, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := bearer(r)
		by, err := s.operator(r, given, ok)
		if err != nil {
			s.audit.refused(r, err, s.strangers)
			refuse(w, err)
			return
		}
		d, err := s.carryOut(r, by, limit, h)
		if err != nil {
			refuse(w, err)
			return
		}
		if d.etag != "" {
			w.Header().Set("ETag", d.etag)
		}
		if d.body == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answerJSON(w, http.StatusOK, d.body)
	})
}

// carryOut does one write within its deadline, and audits it.
func (s *server) carryOut(r *http.Request, by string, limit time.Duration, h func(r *http.Request, by string) (done, error)) (done, error) {
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	d, err := h(r.WithContext(ctx), by)
	if err != nil {
		what := cmp.Or(d.what, r.Method+" "+clip(r.URL.EscapedPath(), 200)) // a query may hold what somebody took for the place of a token
		s.audit.log.Warn("operator write failed", "who", by, "from", r.RemoteAddr, "what", what, "error", err)
		return done{}, err
	}
	s.audit.log.Info("operator write", "who", by, "from", r.RemoteAddr, "what", d.what)
	return d, nil
}

// operator says who the writer is, or why this is nobody who may write; given is the token that came with the request.
//
// The operator token decides where there is one. Without one, whoever sits at the machine may write. Three things could
// make a stranger look as if he did: a proxy on this machine, which says so in a header; a page that a browser on this
// machine has open, which carries its origin; and a name of a stranger's that resolves to this machine, which shows in Host.
func (s *server) operator(r *http.Request, given string, ok bool) (string, error) {
	if foreignPage(r) {
		return "", errForeignPage
	}
	if s.operators.set() {
		if !ok {
			return "", errNoToken
		}
		if !s.operators.is(given) {
			return "", errWrongToken
		}
		return named(r, "operator token"), nil
	}
	if err := s.atTheMachine(r); err != nil {
		return "", err
	}
	return named(r, "somebody on this machine"), nil
}

// atTheMachine says why a request does not come from somebody who sits at this machine.
func (s *server) atTheMachine(r *http.Request) error {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return errNotLocal
	}
	if forwarded(r) {
		return errForwarded
	}
	if !s.ownName(r.Host) {
		return errForeignHost
	}
	return nil
}

// OperatorHeader may carry the name of the person behind a token that several share. It is shown in the audit and in the
// settings' history; nobody checks it.
const OperatorHeader = "X-Operator-Name"

func named(r *http.Request, by string) string {
	name := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '"' {
			return -1
		}
		return c
	}, r.Header.Get(OperatorHeader))
	if name = clip(name, 64); name == "" {
		return by
	}
	return name + " (" + by + ")"
}

// foreignPage reports whether a browser sends this for another site's page. Commands send neither header.
func foreignPage(r *http.Request) bool {
	if !slices.Contains([]string{"", "none", "same-origin"}, strings.ToLower(r.Header.Get("Sec-Fetch-Site"))) {
		return true
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(withoutPort(u.Host, u.Scheme), withoutPort(r.Host, u.Scheme)) {
			return true
		}
	}
	return false
}

// withoutPort takes the scheme's own port away, which browsers leave out.
func withoutPort(host, scheme string) string {
	own := map[string]string{"http": ":80", "https": ":443"}
	return strings.TrimSuffix(host, own[scheme])
}

// forwarded reports whether a proxy has passed this on.
func forwarded(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip" || name == "Via" {
			return true
		}
	}
	return false
}

// ownName reports whether Host is a name of this node's: a loopback name, an IP of this machine, or a host of its settings.
func (s *server) ownName(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback() || s.ownAddress(ip.Unmap())
	}
	return host != "" && slices.ContainsFunc(s.deps.Names(), func(name string) bool { return strings.EqualFold(name, host) })
}

func (s *server) ownAddress(ip netip.Addr) bool {
	all, err := s.addresses()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
