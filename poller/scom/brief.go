package scom

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"scomconnector/poller/alert"
)

// maxBrief bounds words that stand in one sentence with the console's name and the cure; the whole error is told beside it.
const maxBrief = 100

// What Windows says where others say ECONNREFUSED, ECONNRESET, EHOSTUNREACH and ENETUNREACH. Its text is in Windows' own language.
const (
	wsaConnRefused = syscall.Errno(10061)
	wsaConnReset   = syscall.Errno(10054)
	wsaHostUnreach = syscall.Errno(10065)
	wsaNetUnreach  = syscall.Errno(10051)
)

// brief is what is the matter in a few plain words, as they follow the console's name: "answers 503 Service Unavailable".
func (f *failure) brief() string {
	if f.plain != "" {
		return f.plain
	}
	err := f.err
	if late, ok := errors.AsType[*timeout](err); ok {
		return late.brief()
	}
	if text := briefCertificate(err); text != "" {
		return text
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		if unknown.IsTimeout {
			return fmt.Sprintf("cannot be found: no answer about the name %s", unknown.Name)
		}
		return fmt.Sprintf("cannot be found: the name %s is not known", unknown.Name)
	}
	text := err.Error()
	switch {
	case errors.Is(err, errHTML):
		return "shows a web page instead of SCOM's data"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, wsaConnRefused):
		return "refuses connections"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, wsaHostUnreach), errors.Is(err, wsaNetUnreach):
		return "cannot be reached: there is no route to it"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, wsaConnReset), errors.Is(err, io.EOF), strings.HasPrefix(text, "connection lost: "):
		return "broke the connection"
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "does not speak TLS on this port"
	case strings.HasPrefix(text, "no connection: "):
		return "cannot be reached"
	case f.class == alert.FaultAuth:
		return "refuses the log-on: " + clipTo(strings.TrimPrefix(text, "log-on: "), maxBrief)
	}
	first, _, _ := strings.Cut(clipTo(text, maxBrief), "; ")
	if f.class == alert.FaultCriteria {
		return "refuses the query"
	}
	return "does not answer as it should: " + first
}

func (t *timeout) brief() string {
	within := fmt.Sprintf("within %g s", t.after.Seconds())
	switch t.text {
	case noAnswer:
		return "hangs: no answer " + within
	case noConnection:
		return "cannot be reached: no connection " + within
	case noByte:
		return "hangs in the middle of its answer: no byte " + within
	}
	return t.Error()
}

// briefCertificate is empty for faults that are not a certificate's.
func briefCertificate(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "shows a certificate that is not trusted here"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("shows a certificate that is not for %s", e.Host)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired && e.Cert != nil {
			return fmt.Sprintf("shows a certificate that is valid from %s to %s only", e.Cert.NotBefore.UTC().Format(time.DateOnly), e.Cert.NotAfter.UTC().Format(time.DateOnly))
		}
		return "shows a certificate that is not acceptable"
	}
	return ""
}

// briefStatus is an answer with an error status, without what the server has to say about it.
func briefStatus(status int) string {
	if status == statusLoginTimeout {
		return "answers 440 Login Time-out"
	}
	return strings.TrimRight(fmt.Sprintf("answers %d %s", status, http.StatusText(status)), " ")
}
