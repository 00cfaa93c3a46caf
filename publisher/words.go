package publisher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// proxyError is a proxy's refusal to connect us.
type proxyError struct{ status int }

func (e *proxyError) Error() string { return "proxy answers HTTP " + statusText(e.status) }

// cause is the outcome as one error, in plain words first.
func (o outcome) cause() error {
	switch {
	case o.err != nil && o.err.Error() != o.text && o.text != "":
		return fmt.Errorf("%s: %w", o.words(), o.err)
	case o.err != nil:
		return o.err
	case o.answer != "" && o.answer[0] != '<': // a page says nothing that the text does not
		return errors.New(o.words() + ": " + o.answer)
	}
	return errors.New(o.words())
}

// said is what the LAM answered, or how the request ended; empty where the text says it all.
func (o outcome) said() string {
	if o.err != nil && o.err.Error() != o.text {
		return o.err.Error()
	}
	if o.answer != "" && o.answer[0] != '<' {
		return o.answer
	}
	return ""
}

// words are what is wrong and what to do.
func (o outcome) words() string {
	if o.do == "" {
		return o.text
	}
	return o.text + ": " + o.do
}

// explain puts a fault without an answer into plain words.
func explain(err error, connect time.Duration) outcome {
	out := outcome{label: labelTransport, err: err}
	if e, ok := errors.AsType[*fileError](err); ok {
		out.label, out.text, out.err = labelTLS, e.Error(), nil
		return out
	}
	if text, do := explainTLS(err); text != "" {
		out.label, out.text, out.do = labelTLS, text, do
		return out
	}
	if refusal, ok := errors.AsType[*proxyError](err); ok {
		out = classifyProxy(refusal.status)
		out.err = nil
		return out
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		out.text, out.do = fmt.Sprintf("cannot be found: the name %s is not known", unknown.Name), "check MoogUrl and this machine's DNS"
		return out
	}
	var timeout net.Error
	switch {
	case errors.Is(err, errNoConnection):
		out.label, out.text, out.err = labelTimeout, fmt.Sprintf("cannot be reached: no connection within %v", connect), nil
		out.do = "check that the LAM's machine is up, and firewalls in between"
	case errors.Is(err, errNoAnswer):
		out.label, out.text, out.err = labelTimeout, "hangs: it took the connection but gave no answer in time", nil
		out.do = "look at the LAM and at what stands in front of it"
	case errors.Is(err, context.Canceled):
		out.label, out.text = labelCancelled, "stopped by us"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, wsaConnRefused):
		out.text, out.do = "refuses connections", "start the LAM, or what stands in front of it; check MoogUrl"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, wsaConnReset), errors.Is(err, wsaConnAborted),
		errors.Is(err, net.ErrClosed), // by our own reader, which saw the end first
		strings.Contains(err.Error(), "server closed idle connection"):
		out.text = "closed the connection without an answer"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		out.label, out.text = labelTimeout, "cannot be reached in time"
	default:
		out.text = "cannot be reached"
	}
	return out
}

// What Windows says where others say ECONNREFUSED, ECONNRESET and EPIPE. Its text is in Windows' own language.
const (
	wsaConnRefused = syscall.Errno(10061)
	wsaConnReset   = syscall.Errno(10054)
	wsaConnAborted = syscall.Errno(10053)
)

func classifyProxy(status int) outcome {
	out := outcome{label: labelTransport, status: status,
		text: fmt.Sprintf("the proxy does not connect us to it (HTTP %s)", statusText(status))}
	if status == 407 || status == 401 || status == 403 {
		out = classifyClient(outcome{status: 407})
	}
	return out
}

// explainTLS is empty for faults that are not TLS's.
func explainTLS(err error) (text, do string) {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "shows a certificate that is not trusted here", "set MoogPublicKey to that certificate or its CA"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("shows a certificate that is not for %s", e.Host), "use the name it is for in MoogUrl, or set MoogPublicKey to that certificate"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired && e.Cert != nil {
			return fmt.Sprintf("shows a certificate that is valid from %s to %s only", e.Cert.NotBefore.UTC().Format(time.DateOnly), e.Cert.NotAfter.UTC().Format(time.DateOnly)), "renew it"
		}
		return "shows a certificate that is not acceptable", ""
	}
	if errors.Is(err, errNotPinned) {
		return "shows another certificate", "if it was renewed put the new one into MoogPublicKey, else somebody is in between"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return "does not speak TLS on this port", "check IsSslEnabled and MoogUrl"
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok || strings.Contains(err.Error(), "remote error: tls:") {
		return "ended the TLS handshake", "if it demands a client certificate check ClientCertFile and ClientKeyFile"
	}
	return "", ""
}

// warnings is a list in one line.
type warnings []string

func (w *warnings) add(s string) { *w = append(*w, s) }

// expirySoon is when a certificate's end is worth a word.
const expirySoon = 30 * 24 * time.Hour

func (w *warnings) expiry(end, now time.Time) {
	switch {
	case end.IsZero() || end.Sub(now) > expirySoon:
	case end.Before(now):
		w.add("the certificate in MoogPublicKey expired on " + end.Format(time.DateOnly))
	default:
		w.add("the certificate in MoogPublicKey expires on " + end.Format(time.DateOnly))
	}
}

func (w warnings) String() string { return strings.Join(w, "; ") }
