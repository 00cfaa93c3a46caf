package publisher

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzClassify: whatever a stranger answers, it is one of the table's rows, and nothing is taken for
// accepted that is not plainly so.
func FuzzClassify(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"success":true,"message":"Processed 1 events"}`))
	f.Add(200, "text/html", []byte("<html>Login.php</html>"))
	f.Add(200, "", []byte("\xef\xbb\xbf{\"SUCCESS\":\"False\"}"))
	f.Add(400, "application/json", []byte(`{"success":false}`))
	f.Add(413, "text/html", []byte("<h1>413</h1>"))
	f.Add(200, "application/json", []byte(`[{"success":false}]`))
	f.Add(200, "application/json", []byte(`[[]]`))
	f.Add(204, "", []byte(nil))
	f.Add(-1, ";", []byte("{"))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		out := classify(status, contentType, body)
		if !slices.Contains(labels, out.label) {
			t.Fatalf("label %q is not in the closed set", out.label)
		}
		if (out.class == accepted) != (out.text == "") {
			t.Errorf("class %d with text %q", out.class, out.text)
		}
		if out.class == accepted && (status < 200 || status > 299 || len(strings.TrimSpace(string(body))) > 0 && strings.HasPrefix(strings.TrimSpace(string(body)), "<")) {
			t.Errorf("accepted: %d %q %q", status, contentType, body)
		}
		if (out.class == refused || out.class == tooLarge) && (status < 400 || status > 499) {
			t.Errorf("the event is blamed for %d", status)
		}
		q := quote(body, []string{"hunter2"})
		if len(q) > maxQuote || strings.Contains(q, "hunter2") || !utf8.ValidString(q) || strings.ContainsAny(q, "\n\r\x1b") {
			t.Errorf("quoted as %q", q)
		}
		h := http.Header{"Retry-After": {contentType}, "Date": {string(body)}}
		if d := retryAfter(h, time.Unix(1_800_000_000, 0)); d < 0 || d > maxRetryAfter {
			t.Errorf("Retry-After %q: %v", contentType, d)
		}
	})
}

func TestALongAnswerIsJudgedByItsBeginning(t *testing.T) {
	long := strings.Repeat(`{"id":"x"},`, maxAnswer/10)
	for _, c := range []struct {
		body string
		want class
	}{
		{`{"success":true,"events":[` + long, accepted},
		{`{"success" : false,"events":[` + long, away},
		{`<html>` + long, away},
		{`hello ` + long, away},
	} {
		body := []byte(c.body)[:maxAnswer+1]
		if got := classify(200, "application/json", body).class; got != c.want {
			t.Errorf("%.40q...: got %d, want %d", c.body, got, c.want)
		}
	}
}

// TestThePauseGrowsAndIsForgotten: the breaker's arithmetic, without a clock.
func TestThePauseGrowsAndIsForgotten(t *testing.T) {
	var h health
	now := time.Unix(1_800_000_000, 0)
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600, 600} {
		h.failed(now, outcome{text: "x"})
		if got := h.until.Sub(now); got != want*time.Second {
			t.Errorf("failure %d: pause %v, want %v", i+1, got, want*time.Second)
		}
		h.took(now, 0)
		now = now.Add(stableAfter - time.Second) // works, but not for long enough
	}
	now = now.Add(time.Second)
	h.failed(now, outcome{text: "x"})
	if got := h.until.Sub(now); got != basePause {
		t.Errorf("after a stable time: pause %v, want %v", got, basePause)
	}
	for range 100 { // no overflow
		h.failed(now, outcome{text: "x"})
	}
	if got := h.until.Sub(now); got != maxPause {
		t.Errorf("after 100 failures: pause %v, want %v", got, maxPause)
	}
}

// Windows numbers the failures of sockets in its own way, and says them in its own language.
func TestWhatWindowsSaysOfASocketIsKnown(t *testing.T) {
	for number, want := range map[syscall.Errno]string{10061: "refuses connections", 10054: "closed the connection without an answer", 10053: "closed the connection without an answer"} {
		if got := explain(os.NewSyscallError("connectex", number), time.Second); got.text != want {
			t.Errorf("%d: got %q, want %q", number, got.text, want)
		}
	}
}
