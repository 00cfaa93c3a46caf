package api

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// One refusal kept all later ones of that sender from the log, whatever he tried, for as long as the process ran.
func TestWhatIsRefusedIsToldOrCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{status: healthy(), operators: "s3cret"}
		h := n.handler("")
		wrong := header("Authorization", "Bearer wrong")
		tries := func() {
			for range 5 {
				served{http.MethodPost, "/api/v1/transfer"}.ask(h, from("192.0.2.9:1"), wrong)
				served{http.MethodPost, "/api/v1/takeover"}.ask(h, from("192.0.2.9:1"), wrong)
				served{http.MethodPut, "/api/v1/config"}.ask(h, from("192.0.2.9:1"), wrong)
			}
		}
		tries()
		lines := func(want ...string) {
			t.Helper()
			text := n.log.String()
			n.log.Reset()
			if got := strings.Count(text, "\n"); got != len(want) {
				t.Errorf("got %d lines, want %d:\n%s", got, len(want), text)
			}
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("want %q in\n%s", w, text)
				}
			}
		}
		lines("POST /api/v1/transfer", "POST /api/v1/takeover", "PUT /api/v1/config")
		time.Sleep(countedEvery + time.Second)
		lines("count=12 last_from=192.0.2.9:1 last=\"PUT /api/v1/config: ")
		time.Sleep(refusedAgain)
		lines()
		tries()
		lines("POST /api/v1/transfer", "POST /api/v1/takeover", "PUT /api/v1/config")
		for range 60 {
			served{http.MethodPost, eventPost}.ask(h, from("192.0.2.7:1"))
		}
		if got := strings.Count(n.log.String(), "\n"); got != strangeBurst {
			t.Errorf("60 broken close requests make %d lines, want %d", got, strangeBurst)
		}
		n.log.Reset()
		time.Sleep(countedEvery + time.Second)
		lines("count=52 ")
	})
}
