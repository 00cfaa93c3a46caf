package test

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// systemd's side of the notification protocol: what the real program says to it, from its start to its end.
func TestTheProgramTellsSystemdHowItFares(t *testing.T) {
	need(t, runtime.GOOS != "windows", "system with datagram sockets that have a path")
	p := newPlant(t, plantOptions{nodes: 1})
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	heard := make(chan string, 100)
	go func() {
		defer close(heard)
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			select {
			case heard <- string(buf[:n]):
			default: // nobody waits for it
			}
		}
	}()
	hear := func(prefix string) string {
		t.Helper()
		limit := time.After(30 * time.Second)
		for {
			select {
			case s := <-heard:
				if strings.HasPrefix(s, prefix) {
					return s
				}
			case <-limit:
				t.Fatalf("systemd was never told %s", prefix)
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "400000") // beats at least each second, as often as the node looks at itself
	node := p.procs[0]
	node.start()
	hear("READY=1")
	if _, _, err := node.get("/healthz"); err != nil {
		t.Errorf("it says that it is ready, and does not answer: %v", err)
	}
	hear("WATCHDOG=1")
	if s := hear("STATUS="); len(s) < len("STATUS=")+10 {
		t.Errorf("the state of affairs is %q", s)
	}
	hear("WATCHDOG=1")
	if err := node.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	hear("STOPPING=1")
	// As a service it logs to a file of its own.
	log, err := os.ReadFile(filepath.Join(node.dir, "data", "logs", "scomconnector.log"))
	if err != nil || !strings.Contains(string(log), "node stopped") {
		t.Errorf("the log in the data folder: %v\n%s", err, log)
	}
}
