package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// demoLeads is how long the Primary may take until it leads.
const demoLeads = 30 * time.Second

// show prints the page's address once the Primary leads, then what arrives at the LAM, until ctx ends.
func (s *stage) show(ctx context.Context, out io.Writer, storm int) error {
	began := time.Now()
	s.group.Populate(40, 6*time.Hour)
	if err := s.awaitLeader(ctx, s.nodes[0].url); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nstatus page of the Primary, which leads:  %s\n", s.nodes[0].url)
	fmt.Fprintf(out, "the others:                               %s  %s\nCtrl-C ends the demo\n\n", s.nodes[1].url, s.nodes[2].url)

	life, end := context.WithCancel(ctx)
	defer end()
	var lives sync.WaitGroup
	lives.Go(func() {
		if err := s.group.Live(life, scomtest.LifeOptions{PerMinute: 40}); life.Err() == nil {
			fmt.Fprintln(out, "the simulated SCOM stands still:", err)
		}
	})
	defer lives.Wait()
	defer end()
	seen := 0
	if storm > 0 {
		var err error
		if seen, err = s.storm(ctx, out, storm); err != nil {
			return err
		}
	}
	for {
		if err := s.lam.WaitFor(ctx, seen+1); err != nil {
			return ctx.Err()
		}
		all := s.lam.Received()
		for _, e := range all[seen:] {
			printEvent(out, e, began)
		}
		if seen = len(all); seen > maxDemoEvents {
			s.lam.Forget()
			seen = 0
		}
	}
}

// maxDemoEvents is when the simulated LAM forgets, so that a demo may run for days.
const maxDemoEvents = 250_000

// storm raises n alerts at once and shows how they drain; it returns how many events it left behind.
func (s *stage) storm(ctx context.Context, out io.Writer, n int) (int, error) {
	before := s.lam.Counts().Events
	fmt.Fprintf(out, "a storm: %d alerts at once\n", n)
	start := time.Now()
	raised := make(chan error, 1)
	go func() {
		_, err := s.group.Storm(ctx, n, 2*time.Second)
		raised <- err
	}()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		got := s.lam.Counts().Events - before
		fmt.Fprintf(out, "\r  %7d of %d delivered, %5.1f s ", min(got, n), n, time.Since(start).Seconds())
		if got >= n {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, errors.Join(ctx.Err(), <-raised)
		}
	}
	fmt.Fprintf(out, "\n  done: %.0f alerts/s, %d of them twice\n\n", float64(n)/time.Since(start).Seconds(), s.lam.Counts().Duplicates)
	return s.lam.Counts().Events, <-raised
}

// printEvent is one line: when, how bad, where, what, and how long after SCOM's own stamp, unless that is from before the demo began.
func printEvent(out io.Writer, e publishertest.Event, began time.Time) {
	var body struct {
		Source, Type string
		Severity     int
		CustomInfo   struct {
			Scom struct {
				LastModified time.Time `json:"lastModified"`
			} `json:"scom"`
		} `json:"custom_info"`
	}
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return // what the LAM itself took cannot be broken JSON; a line less harms nobody
	}
	after := ""
	if t := body.CustomInfo.Scom.LastModified; t.After(began) {
		after = fmt.Sprintf("%5.1f s after SCOM", e.At.Sub(t).Seconds())
	}
	words := [...]string{"clear", "indeterminate", "warning", "minor", "major", "critical"}
	word := "?"
	if body.Severity >= 0 && body.Severity < len(words) {
		word = words[body.Severity]
	}
	fmt.Fprintf(out, "%s  %-13s %-28s %-60s %s\n", e.At.Local().Format("15:04:05"), word, clip(body.Source, 28), clip(body.Type, 60), after)
}

func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// awaitLeader asks the node as a load balancer would.
func (s *stage) awaitLeader(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, demoLeads)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/leader", http.NoBody)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("the Primary did not lead within %v", demoLeads)
			}
			return ctx.Err()
		}
	}
}
