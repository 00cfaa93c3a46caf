package freeport

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A test's node once found its port in the hands of another test's page, which had asked for any port. A socket whose range of ports is only this one (ip(7),
// IP_LOCAL_PORT_RANGE, Linux 6.3) asks for just that.
func TestATakenPortGoesToNobodyElse(t *testing.T) {
	taken := Take(t)
	port := portOf(t, taken)
	var refused error
	onlyThere := func(_, _ string, c syscall.RawConn) error {
		return errors.Join(c.Control(func(fd uintptr) {
			refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, port|port<<16)
		}), refused)
	}
	anyPort := net.ListenConfig{Control: onlyThere}
	if ln, err := anyPort.Listen(context.Background(), "tcp", "127.0.0.1:0"); err == nil {
		_ = ln.Close()
		t.Errorf("%s was given to a listener on any port", taken)
	}
	switch {
	case refused != nil && os.Getenv("SCOMCONNECTOR_REAL") == "1":
		t.Fatalf("SCOMCONNECTOR_REAL=1, and this system is older than Linux 6.3: %v", refused)
	case refused != nil:
		t.Skipf("needs Linux 6.3: %v", refused)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	dialer := net.Dialer{Control: onlyThere}
	if conn, err := dialer.Dial("tcp", other.Addr().String()); err == nil {
		_ = conn.Close()
		t.Errorf("%s was given to an outgoing connection", taken)
	}
}

func TestWhoNamesATakenPortListensThere(t *testing.T) {
	taken := Take(t)
	for range 3 { // a server may be started again
		if conn, err := net.Dial("tcp", taken); err == nil {
			_ = conn.Close()
			t.Fatal("something listens on a port that was only taken")
		}
		ln, err := net.Listen("tcp", taken)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", taken)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = ln.Close()
	}
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return at.Port
}
