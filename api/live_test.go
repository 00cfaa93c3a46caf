package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
)

// listener is a browser that follows the events; what it has been sent can be read meanwhile.
type listener struct {
	head http.Header
	code int

	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *listener) Header() http.Header  { return l.head }
func (l *listener) WriteHeader(code int) { l.code = code }
func (l *listener) Flush()               {}
func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// heard is what was sent since the last call.
func (l *listener) heard() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// follow has a browser follow the events until its context ends.
func follow(ctx context.Context, h http.Handler, target string) *listener {
	l := &listener{head: http.Header{}}
	r := httptest.NewRequestWithContext(ctx, "GET", target, nil)
	go h.ServeHTTP(l, r)
	return l
}

func TestListenersHearOfNewsWithinASecondAndOfFiguresEveryThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards n.status
		n := &node{status: healthy()}
		n.read = func() v1.Status { mu.Lock(); defer mu.Unlock(); return n.status }
		h := n.handler("")
		ctx, cancel := context.WithCancel(t.Context())
		l := follow(ctx, h, "/api/v1/events")
		first := l.heard()
		if !strings.HasPrefix(first, "retry: 2000\n\nevent: status\ndata: {\"node\":\"primary\"") || !strings.HasSuffix(first, "}\n\n") {
			t.Errorf("at first: %s", first)
		}
		for name, want := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform"} {
			if got := l.head.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		time.Sleep(2500 * time.Millisecond)
		if got := l.heard(); got != ":\n\n:\n\n" {
			t.Errorf("in 2.5 s without news: %q, want two heartbeats", got)
		}
		time.Sleep(time.Second)
		if got := l.heard(); strings.Count(got, "event: status") != 1 {
			t.Errorf("after three seconds: %q, want the figures anew", got)
		}
		mu.Lock()
		n.status.Verdict = v1.Verdict{Level: v1.Stopped, Text: "NOT DELIVERING"}
		mu.Unlock()
		time.Sleep(time.Second)
		if got := l.heard(); !strings.Contains(got, "NOT DELIVERING") {
			t.Errorf("a second after news: %q", got)
		}
		cancel()
		l.heard()
		time.Sleep(5 * time.Second)
		if got := l.heard(); got != "" {
			t.Errorf("to one who is gone: %q", got)
		}
	})
}

// What the script puts in place is, byte for byte, what the page holds.
func TestEventsCarryThePagesOwnPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{status: broken()}
		h := n.handler("")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := follow(ctx, h, "/api/v1/events?as=page").heard()
		var data []string
		for line := range strings.Lines(got) {
			if text, ok := strings.CutPrefix(line, "data: "); ok {
				data = append(data, text)
			}
		}
		part := strings.TrimSpace(strings.Join(data, ""))
		if page := ask(h, "GET", "/").Body.String(); !strings.Contains(page, part) || !strings.HasPrefix(part, `<div id="live"`) || !strings.HasSuffix(part, "</div>") {
			t.Errorf("the event's data is no part of the page:\n%s", part)
		}
	})
}

func TestStrangersTextBeginsNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []string{"\r", "\n", "\r\n"} {
			s := healthy()
			s.Verdict.Text = "bad" + end + end + "event: page" + end + "data: <b>forged</b>" + end + end
			s.SCOM[0].LastError, s.Node = s.Verdict.Text, s.Verdict.Text
			ctx, cancel := context.WithCancel(t.Context())
			l := follow(ctx, (&node{status: s}).handler(""), "/api/v1/events?as=page")
			got := l.heard()
			if strings.Contains(got, "\r") || strings.Count("\n"+got, "\nevent:") != 1 || strings.Count(got, "\n\n") != 2 {
				t.Errorf("with %q a stranger's text makes events:\n%s", end, got)
			}
			cancel()
		}
	})
}

func TestListenersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := (&node{status: healthy()}).handler("")
		ctx, cancel := context.WithCancel(t.Context())
		for range maxListeners {
			follow(ctx, h, "/api/v1/events")
		}
		synctest.Wait()
		if w := ask(h, "GET", "/api/v1/events"); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "too many listeners") {
			t.Errorf("one too many: %d %s", w.Code, w.Body)
		}
		cancel()
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		if got := follow(ctx, h, "/api/v1/events").heard(); !strings.Contains(got, "event: status") {
			t.Errorf("once the others are gone: %q", got)
		}
	})
}

func TestEventsThatThereAreNot(t *testing.T) {
	h := (&node{status: healthy()}).handler("")
	if w := ask(h, "GET", "/api/v1/events?as=xml"); w.Code != 400 {
		t.Errorf("as=xml: %d %s", w.Code, w.Body)
	}
	if w := ask(h, "HEAD", "/api/v1/events"); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
	if w := ask((&node{}).handler("secret"), "GET", "/api/v1/events"); w.Code != 401 {
		t.Errorf("without the token for reading: %d", w.Code)
	}
}

// A stream outlasts the limits that the server has for requests, and ends, with a word, when the server does.
func TestEventsOutlastTheServersLimitsAndEndWithIt(t *testing.T) {
	t.Parallel()
	srv := Server((&node{status: healthy()}).handler(""))
	srv.ReadTimeout, srv.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	resp, err := http.Get(fmt.Sprintf("http://%s/api/v1/events", ln.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	beats := 0
	for beats < 2 && lines.Scan() {
		if lines.Text() == ":" {
			beats++
		}
	}
	if beats < 2 {
		t.Fatalf("the stream ended after %d heartbeats: %v", beats, lines.Err())
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Shutdown(t.Context()) }()
	last := ""
	for lines.Scan() {
		if lines.Text() != "" {
			last += lines.Text() + "\n"
		}
	}
	if !strings.HasSuffix(last, "event: stopping\ndata: primary\n") {
		t.Errorf("at the end: %q", last)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-served
}
