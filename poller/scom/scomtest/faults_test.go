package scomtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/test/pipenet"
)

// inBubble serves a console by a network in memory, so that waiting takes no time.
func inBubble(t *testing.T, c *scomtest.Console) *person {
	t.Helper()
	network := pipenet.New()
	l, err := network.Listen("scom:80")
	if err != nil {
		t.Fatal(err)
	}
	c.Serve(l)
	tr := &http.Transport{DialContext: network.Dialer("client")}
	t.Cleanup(func() {
		c.Close()
		tr.CloseIdleConnections()
		synctest.Wait()
	})
	return &person{t: t, base: "http://scom:80/OperationsManager/", http: &http.Client{
		Transport:     tr,
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func TestFaultsThatFail(t *testing.T) {
	cases := []struct {
		name  string
		fault scomtest.Faults
		took  time.Duration
		body  bool // headers come
	}{
		{"down", scomtest.Faults{Down: true}, 0, false},
		{"hang", scomtest.Faults{Hang: true}, 30 * time.Second, false},
		{"hang body", scomtest.Faults{HangBody: true}, 30 * time.Second, true},
		{"cut", scomtest.Faults{CutAfter: 1000, Path: "data/alert"}, 0, true},
		{"late hang", scomtest.Faults{Hang: true, Latency: 5 * time.Second}, 30 * time.Second, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := scomtest.New(scomtest.Options{})
				g.Populate(100, time.Hour)
				c := g.Console(scomtest.ConsoleOptions{})
				p := inBubble(t, c)
				p.logOn(goodLogOn)
				c.Set(tc.fault)
				start := time.Now()
				status, _, _, err := p.try("data/alert", map[string]any{"displayColumns": []string{"id", "description"}})
				if took := time.Since(start); err == nil || took != tc.took || (status != 0) != tc.body {
					t.Errorf("got status %d, %v after %v, want %v", status, err, took, tc.took)
				}
				if got := len(g.Shown()); got != 0 {
					t.Errorf("%d versions shown", got)
				}
				c.Heal()
				if got := len(p.alerts("", "id").ids()); got != 100 {
					t.Errorf("healed: got %d alerts", got)
				}
			})
		})
	}
}

func TestFaultsThatAnswer(t *testing.T) {
	cases := []struct {
		name   string
		fault  scomtest.Faults
		status int
		want   string
	}{
		{"status", scomtest.Faults{Status: 503}, 503, "Service Unavailable"},
		{"html", scomtest.Faults{HTML: true}, 200, "<!DOCTYPE html>"},
		{"redirect", scomtest.Faults{RedirectToLogin: true}, 302, ""},
		{"bad json", scomtest.Faults{BadJSON: true}, 200, `{"tableColumns":[`},
		{"session", scomtest.Faults{SessionGone: true}, 440, "expired"},
		{"wins", scomtest.Faults{Status: 500, HTML: true, BadJSON: true}, 200, "<!DOCTYPE html>"},
	}
	for _, tc := range cases {
		g := scomtest.New(scomtest.Options{})
		c := g.Console(scomtest.ConsoleOptions{})
		p := serve(t, c)
		p.logOn(goodLogOn)
		c.Set(tc.fault)
		status, body, h := p.do("data/alert", map[string]any{})
		if status != tc.status || !strings.Contains(body, tc.want) || status == 200 && json.Valid([]byte(body)) {
			t.Errorf("%s: got %d %s", tc.name, status, body)
		}
		if status == 302 {
			p.base = strings.TrimSuffix(p.base, "/OperationsManager/")
			if status, body, _ := p.do(h.Get("Location"), nil); status != 200 || !strings.Contains(body, "password") {
				t.Errorf("the log-in page at %s: got %d %s", h.Get("Location"), status, body)
			}
		}
	}
}

func TestWrongPasswordFault(t *testing.T) {
	c := scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{})
	p := serve(t, c)
	c.Set(scomtest.Faults{WrongPassword: true})
	if got := p.logOn(goodLogOn); got != 401 || c.Counters().BadLogons != 1 {
		t.Errorf("got %d, %+v", got, c.Counters())
	}
	c.Heal()
	if got := p.logOn(goodLogOn); got != 200 {
		t.Errorf("healed: got %d", got)
	}
}

func TestFaultsHitWhatTheySay(t *testing.T) {
	c := scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{})
	p := serve(t, c)
	p.logOn(goodLogOn)
	statuses := func(path string, n int) (list []int) {
		for range n {
			status, _, _ := p.do(path, nil)
			list = append(list, status)
		}
		return list
	}
	c.Set(scomtest.Faults{Status: 503, Every: 3, Path: "alertSeverity"})
	if got := statuses("resources/alertSeverity", 6); !slices.Equal(got, []int{200, 200, 503, 200, 200, 503}) {
		t.Errorf("every third: got %v", got)
	}
	if got := statuses("resources/alertPriority", 3); !slices.Equal(got, []int{200, 200, 200}) {
		t.Errorf("another path: got %v", got)
	}
	c.Set(scomtest.Faults{Status: 503, Count: 2})
	if got := statuses("authenticationMode", 4); !slices.Equal(got, []int{503, 503, 200, 200}) || c.Faults() != (scomtest.Faults{}) {
		t.Errorf("twice: got %v, left %+v", got, c.Faults())
	}
	c.Set(scomtest.Faults{SessionGone: true})
	if got := statuses("authenticationMode", 1); !slices.Equal(got, []int{200}) {
		t.Errorf("session gone, asked without one: got %v", got)
	}
	n := c.Counters()
	if n.Faulted != 4 || n.Requests["resources/alertseverity"] != 6 || n.Requests["authenticationmode"] != 5 || n.Logons != 1 || n.Bytes == 0 || n.MaxConcurrent != 1 {
		t.Errorf("counters: %+v", n)
	}
}

func TestClockOfTheConsole(t *testing.T) {
	clock := newManual()
	c := scomtest.New(scomtest.Options{Now: clock.now}).Console(scomtest.ConsoleOptions{})
	p := serve(t, c)
	date := func() string {
		_, _, h := p.do("authenticationMode", nil)
		return h.Get("Date")
	}
	if got, want := date(), "Fri, 02 Jan 2026 03:04:05 GMT"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.Set(scomtest.Faults{ClockOffset: -10 * time.Minute})
	if got, want := date(), "Fri, 02 Jan 2026 02:54:05 GMT"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.Set(scomtest.Faults{NoDate: true})
	if got := date(); got != "" {
		t.Errorf("got %s, want none", got)
	}
}

func TestSlowAndLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := scomtest.New(scomtest.Options{})
		for range 1000 {
			g.Raise(scomtest.Alert{Description: "long enough to take a while"})
		}
		c := g.Console(scomtest.ConsoleOptions{})
		p := inBubble(t, c)
		p.http.Timeout = 0
		p.logOn(goodLogOn)
		measure := func(f scomtest.Faults) (took time.Duration, bytes int) {
			c.Set(f)
			start := time.Now()
			_, body, _ := p.do("data/alert", map[string]any{"displayColumns": []string{"id", "description"}})
			return time.Since(start), len(body)
		}
		if took, n := measure(scomtest.Faults{BytesPerSecond: 10_000}); took.Seconds() < float64(n)/10_000*0.95 || took.Seconds() > float64(n)/10_000*1.05 {
			t.Errorf("%d bytes at 10 kB/s took %v", n, took)
		}
		if took, _ := measure(scomtest.Faults{Latency: 3 * time.Second}); took != 3*time.Second {
			t.Errorf("latency: took %v", took)
		}
	})
}

// TestReadThenWait: what happens while an answer waits is not in it, though the answer's Date is later.
func TestReadThenWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := scomtest.New(quiet(scomtest.Options{}))
		early := g.Raise(scomtest.Alert{})
		c := g.Console(scomtest.ConsoleOptions{})
		p := inBubble(t, c)
		p.logOn(goodLogOn)
		c.Set(scomtest.Faults{ReadThenWait: 10 * time.Second})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := p.alerts("", "id").ids(); !slices.Equal(got, []string{early}) {
				t.Errorf("got %v", got)
			}
		})
		synctest.Wait()
		g.Raise(scomtest.Alert{})
		wg.Wait()
	})
}

// TestDownCutsRunningAnswers, as the end of a machine does; one that hangs is released by healing.
func TestDownCutsRunningAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := scomtest.New(scomtest.Options{})
		g.Populate(500, time.Hour)
		c := g.Console(scomtest.ConsoleOptions{})
		p := inBubble(t, c)
		p.logOn(goodLogOn)
		c.Set(scomtest.Faults{BytesPerSecond: 1000})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, _, err := p.try("data/alert", map[string]any{"displayColumns": []string{"id", "name", "description"}}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v, want an answer that breaks off", err)
			}
		})
		wait(t, 5*time.Second)
		c.Set(scomtest.Faults{Down: true})
		wg.Wait()
		c.Set(scomtest.Faults{Hang: true})
		start := time.Now()
		wg.Go(func() {
			if _, _, _, err := p.try("authenticationMode", nil); err == nil || time.Since(start) != 5*time.Second {
				t.Errorf("released after %v: %v", time.Since(start), err)
			}
		})
		wait(t, 5*time.Second)
		c.Heal()
		wg.Wait()
	})
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
	synctest.Wait()
}

func TestCloseEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{})
		p := inBubble(t, c)
		c.Set(scomtest.Faults{Hang: true})
		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(func() {
			if _, _, _, err := p.try("authenticationMode", nil); err == nil {
				t.Error("got an answer")
			}
		})
		synctest.Wait()
		c.Close()
		wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// TestServesOverlappingRequests at several listeners, under -race.
func TestServesOverlappingRequests(t *testing.T) {
	g := scomtest.New(scomtest.Options{})
	g.Populate(500, time.Hour)
	c := g.Console(scomtest.ConsoleOptions{})
	var wg sync.WaitGroup
	for range 4 {
		p := serve(t, c)
		wg.Go(func() {
			p.logOn(goodLogOn)
			for range 20 {
				if got := len(p.alerts("", "id", "name", "lastmodified").ids()); got < 500 {
					t.Errorf("got %d alerts", got)
				}
				g.Raise(scomtest.Alert{})
			}
		})
	}
	wg.Wait()
	if got := g.Len(); got != 580 {
		t.Errorf("got %d alerts", got)
	}
}

func TestForeignPathsAreNotFound(t *testing.T) {
	c := scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{BasePath: "/om/"})
	p := serve(t, c)
	if status, _, _ := p.do("authenticationMode", nil); status != 404 {
		t.Errorf("below another base: got %d", status)
	}
	p.base = strings.Replace(p.base, "OperationsManager", "OM", 1)
	if status, _, _ := p.do("AuthenticationMode", nil); status != 200 {
		t.Errorf("in another case: got %d", status)
	}
	p.logOn(goodLogOn)
	for _, path := range []string{"data/event", "", "data/alert"} { // there are no events over REST, and no GET of alerts
		if status, _, _ := p.do(path, nil); status != 404 {
			t.Errorf("%q: got %d, want 404", path, status)
		}
	}
	if status, _, _ := p.do("data/alert", []byte(strings.Repeat(" ", 2<<20))); status != 413 {
		t.Errorf("2 MiB of request: got %d, want 413", status)
	}
}
