package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hostile is what somebody writes who wants the operator's browser to do something.
const hostile = `<script>alert(1)</script><img src=x onerror="alert(2)"><a href="javascript:alert(3)">here</a></code></dd></dl></details>`

// refusing is a LAM that refuses the hostile alert, in the same vein, and takes all else.
func refusing(lam http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if bytes.Contains(body, []byte("onerror")) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			answer := json.NewEncoder(w)
			answer.SetEscapeHTML(false) // a stranger's encoder does not, either
			answer.Encode(object{"success": false, "message": "refused: " + hostile})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		lam.ServeHTTP(w, r)
	})
}

// The status page of a real node in a real browser, on a telephone and on a wall: it shows what the original
// connector showed and the verdict, fits, loads nothing from elsewhere, breaks no rule of its own policy, and
// what an attacker wrote into an alert and a LAM's answer stays text.
func TestThePageInARealBrowser(t *testing.T) {
	b := newBrowser(t)
	p := newPlant(t, plantOptions{front: refusing, more: `"MinPollCycleTime": 0.5,`})
	p.group.Populate(40, time.Hour)
	p.group.Raise(alertOf(hostile))
	node := p.procs[0]
	node.start()
	await(t, "the others are delivered", 60*time.Second, func() bool { return p.lam.IDs() >= 40 })
	p.group.Raise(alertOf("accepted after the refusal, which parks what was refused"))
	await(t, "the hostile alert is parked", 60*time.Second, func() bool {
		s, err := node.status()
		return err == nil && s.Parked.Count == 1 && s.Totals.Processed >= 40
	})
	for _, width := range []int{360, 1920} {
		t.Run(fmt.Sprintf("%d pixels", width), func(t *testing.T) {
			b.t = t
			b.load(node.url+"/", width)
			b.sees("it lives", 20*time.Second, `document.getElementById("pace").textContent.startsWith("Live")`) // what is shown then came as an event
			var text string
			b.ask("document.body.textContent", &text)
			for _, want := range []string{"Total Alerts Processed", "SCOM Server Status", "MOOG Server Status", "Do: ", "alerts/default", "refused: <script>alert(1)</script>"} {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not show %q", want)
				}
			}
			checkTiles(t, b)
			var harm []string
			b.ask(`[...document.querySelectorAll("script:not([src='/page.js']), img, iframe, form, [onerror], [onclick], a[href^='javascript']")].map(e => e.outerHTML)`, &harm)
			if len(harm) > 0 {
				t.Errorf("the page holds %q", harm)
			}
			var over int
			b.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth", &over)
			if over > 0 {
				t.Errorf("the page is %d pixels wider than the window", over)
			}
			b.ask(`(document.querySelectorAll("time:not(.age)").forEach(e => { e.textContent = "2026-11-28 14:41:26 UTC (2026-11-29 01:41:26 AEDT)"; }),
				document.documentElement.scrollWidth - document.documentElement.clientWidth)`, &over)
			if over > 0 {
				t.Errorf("without its script, and of a node in another zone, the page is %d pixels wider than the window", over)
			}
			checkAccess(t, b)
			for _, c := range b.complaints(node.url) {
				t.Error(c)
			}
		})
	}
}

// checkTiles reads the page as a person does who looks for a moment: how many, and whether both sides answer.
func checkTiles(t *testing.T, b *browser) {
	t.Helper()
	var tiles map[string]string
	b.ask(`Object.fromEntries([...document.querySelectorAll(".tile")].map(e => [e.querySelector("h2").textContent, e.querySelector(".big").textContent]))`, &tiles)
	if tiles["SCOM Server Status"] != "Connected" || tiles["MOOG Server Status"] != "Connected" || tiles["Parked"] != "1" || tiles["Leader"] != "n1" {
		t.Errorf("the tiles are %q", tiles)
	}
	var total int
	if fmt.Sscan(strings.ReplaceAll(tiles["Total Alerts Processed"], ",", ""), &total); total < 40 {
		t.Errorf("total alerts processed: %q, want at least 40", tiles["Total Alerts Processed"])
	}
	var verdict string
	if b.ask(`document.querySelector("header.verdict").textContent`, &verdict); !strings.Contains(verdict, "parked") {
		t.Errorf("the verdict says %q, and an alert is parked", verdict)
	}
	var seen bool
	if b.ask(`(r => r.top >= 0 && r.bottom <= innerHeight)(document.querySelector("header.verdict").getBoundingClientRect())`, &seen); !seen {
		t.Error("the verdict is not on the first screen")
	}
}
