package service

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// ear is the socket that systemd listens on.
func ear(t *testing.T) (path string, hear func() string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		if os.Getenv("SCOMCONNECTOR_REAL") == "1" {
			t.Fatal("SCOMCONNECTOR_REAL=1, and there are no datagram sockets with a path")
		}
		t.Skip("needs datagram sockets with a path")
	}
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return path, func() string {
		t.Helper()
		buf := make([]byte, 4096)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func environment(m map[string]string) func(string) string {
	return func(k string) string { return m[k] }
}

func TestTheNotifierSpeaksSystemdsProtocol(t *testing.T) {
	path, hear := ear(t)
	n, ok := NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}), 42)
	if !ok {
		t.Fatal("it does not take the socket")
	}
	n.Ready()
	n.Verdict("Delivering.\nSTOPPING=1")
	n.Beat()
	n.Beat() // too soon to say it again
	n.Stopping()
	for _, want := range []string{"READY=1", "STATUS=Delivering. STOPPING=1", "WATCHDOG=1", "STOPPING=1"} {
		if got := hear(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBeatsOnlyWhereSystemdWatchesThisProcess(t *testing.T) {
	path, hear := ear(t)
	for _, env := range []map[string]string{{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "7"}} {
		env["NOTIFY_SOCKET"] = path
		n, _ := NewNotifier(environment(env), 42)
		n.Beat()
		n.Ready()
		if got := hear(); got != "READY=1" {
			t.Errorf("%v: got %q before READY=1", env, got)
		}
	}
}

func TestWithoutASocketNobodyIsTold(t *testing.T) {
	for _, socket := range []string{"", "vsock:2:1234", "relative"} {
		if _, ok := NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": socket}), 1); ok {
			t.Errorf("%q is taken for a socket", socket)
		}
	}
	gone, _ := NewNotifier(environment(map[string]string{"NOTIFY_SOCKET": "/absent/gone"}), 1)
	gone.Ready() // returns, and nothing else is asked of it
}
