package scom

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

// What stands in the first line of the page is plain words, short, and nothing that only a programmer reads.
func TestAFailureInAFewPlainWords(t *testing.T) {
	ended := &x509.Certificate{NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	dial := func(err error) *failure {
		return &failure{away: true, err: fmt.Errorf("no connection: %w", &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}, Err: err})}
	}
	for want, f := range map[string]*failure{
		"refuses connections":                                                  dial(syscall.ECONNREFUSED),
		"refuses connections ":                                                 dial(os.NewSyscallError("connectex", syscall.Errno(10061))), // so Windows says it
		"cannot be reached: there is no route to it":                           dial(syscall.EHOSTUNREACH),
		"cannot be reached: there is no route to it ":                          dial(os.NewSyscallError("connectex", syscall.Errno(10065))),
		"cannot be reached: there is no route to it  ":                         dial(os.NewSyscallError("connectex", syscall.Errno(10051))),
		"cannot be found: the name scom1 is not known":                         dial(&net.DNSError{Err: "no such host", Name: "scom1", IsNotFound: true}),
		"cannot be found: no answer about the name scom1":                      dial(&net.DNSError{Err: "i/o timeout", Name: "scom1", IsTimeout: true}),
		"cannot be reached":                                                    dial(errors.New("something odd")),
		"broke the connection":                                                 broken("connection lost: %w", io.EOF),
		"broke the connection ":                                                dial(os.NewSyscallError("wsarecv", syscall.Errno(10054))),
		"hangs: no answer within 10 s":                                         {class: alert.FaultTimeout, err: &timeout{noAnswer, 10 * time.Second}},
		"cannot be reached: no connection within 5 s":                          {class: alert.FaultTimeout, err: &timeout{noConnection, 5 * time.Second}},
		"hangs in the middle of its answer: no byte within 10 s":               {class: alert.FaultTimeout, err: &timeout{noByte, 10 * time.Second}},
		"shows a certificate that is not trusted here":                         dial(x509.UnknownAuthorityError{}),
		"shows a certificate that is not for scom1":                            dial(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "scom1"}),
		"shows a certificate that is valid from 2025-01-01 to 2026-01-01 only": dial(x509.CertificateInvalidError{Cert: ended, Reason: x509.Expired}),
		"shows a web page instead of SCOM's data":                              {err: errHTML},
		"answers 503 Service Unavailable":                                      refused(small{status: 503, header: http.Header{}}),
		"answers 404 Not Found":                                                refused(small{status: 404, header: http.Header{}}),
		"answers 440 Login Time-out":                                           refused(small{status: 440, header: http.Header{}}),
		"refuses the query":                                                    {class: alert.FaultCriteria, err: errors.New("the console refused the query: HTTP 400")},
	} {
		if got := f.brief(); got != strings.TrimSpace(want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := broken("%s", strings.Repeat("long ", 200)).brief(); len(got) > maxBrief+40 {
		t.Errorf("%d characters: %s", len(got), got)
	}
}

// A console that answers with errors only gets no password: it would leave it open what became of the log-on, and
// the account would be left alone for that.
func TestNoLogOnWhereThereAreOnlyErrors(t *testing.T) {
	for _, status := range []int{500, 503} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}}, nil)
			w.consoles[0].Set(scomtest.Faults{Status: status})
			for range 5 {
				if f := w.mustFail(alert.FaultTransport); f.What != briefStatus(status) {
					t.Errorf("got %q", f.What)
				}
			}
			w.consoles[0].Heal()
			w.mustPoll()
		})
	}
}

func TestARefusalInAWordOrTwo(t *testing.T) {
	for reason, want := range map[string]string{
		"HTTP 401 Unauthorized: The user name or password is incorrect.":          "401",
		"HTTP 401 Unauthorized at the end of the handshake":                       "401",
		"HTTP 403 Forbidden (the console is set to Windows authentication)":       "403",
		"CONTOSO.COM: the account is locked or disabled (KDC_ERR_CLIENT_REVOKED)": "the account is locked or disabled",
		"CONTOSO.COM: wrong password or key (KDC_ERR_PREAUTH_FAILED)":             "wrong password or key",
		"the key": "the key",
		"":        "",
	} {
		if got := (Refused{Reason: reason}).Brief(); got != want {
			t.Errorf("%q: got %q, want %q", reason, got, want)
		}
	}
}
