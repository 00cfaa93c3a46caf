package service

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Notifier speaks systemd's notification protocol (sd_notify(3)): one datagram for each change. Thirty lines of it
// are all we need, so there is no library.
type Notifier struct {
	socket string
	every  time.Duration // least time between two beats; 0: systemd watches nothing
	last   atomic.Int64  // UnixNano of the last beat
}

// NewNotifier reads what systemd has put into the environment; ok is false where it asks for no notification.
func NewNotifier(getenv func(string) string, pid int) (n *Notifier, ok bool) {
	socket := getenv("NOTIFY_SOCKET")
	if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") {
		return nil, false
	}
	n = &Notifier{socket: socket}
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	owner := getenv("WATCHDOG_PID")
	if err == nil && usec > 0 && (owner == "" || owner == strconv.Itoa(pid)) {
		n.every = time.Duration(usec) * time.Microsecond / 4
	}
	return n, true
}

// sendTime bounds one datagram to a socket on this machine.
const sendTime = time.Second

// send is best effort: a service manager that does not listen must not stop alerts.
func (n *Notifier) send(state string) {
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixgram", n.socket)
	if err != nil {
		return
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(sendTime)); err != nil {
		return
	}
	_, _ = conn.Write([]byte(state)) // see above
}

// Ready implements Supervisor.
func (n *Notifier) Ready() { n.send("READY=1") }

// Verdict implements Supervisor: the sentence stands in `systemctl status`.
func (n *Notifier) Verdict(sentence string) {
	n.send("STATUS=" + strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, sentence))
}

// Beat implements Supervisor.
func (n *Notifier) Beat() {
	if n.every == 0 {
		return
	}
	now, last := time.Now().UnixNano(), n.last.Load()
	if now-last < n.every.Nanoseconds() || !n.last.CompareAndSwap(last, now) {
		return
	}
	n.send("WATCHDOG=1")
}

// Stopping implements Supervisor.
func (n *Notifier) Stopping() { n.send("STOPPING=1") }
