package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// The simulators' ports where they stand alone.
const (
	simScomPort  = "8080"
	simLamPort   = "8081"
	simTallyPort = "8082"
)

// simulators runs the demo's scenery alone, for nodes that run elsewhere, until ctx ends.
func simulators(ctx context.Context, out io.Writer, host string) error {
	s := &stage{group: scomtest.New(scomtest.Options{Name: "DEMO-MG", Seed: uint64(time.Now().UnixNano()), NoRecord: true})}
	s.console = s.group.Console(scomtest.ConsoleOptions{})
	s.lam = publishertest.New(publishertest.Options{})
	defer s.Close()
	tally := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.tally(w) })}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	for port, serve := range map[string]func(net.Listener){
		simScomPort: s.console.Serve, simLamPort: s.lam.Serve,
		simTallyPort: func(ln net.Listener) {
			wg.Go(func() {
				if err := tally.Serve(ln); ctx.Err() == nil {
					failed <- err
				}
			})
		},
	} {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
		if err != nil {
			if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaAddrInUse) {
				return hinted{fmt.Errorf("the simulators listen: %w", err), "another program uses that port: stop it, or give --simulators another address of this machine; the ports are 8080, 8081 and 8082"}
			}
			return hinted{fmt.Errorf("the simulators listen: %w", err), "--simulators takes an address of this machine, such as 127.0.0.1"}
		}
		serve(ln)
	}
	s.group.Populate(40, 6*time.Hour)
	nameSimulators(out, host)
	wg.Go(func() { failed <- s.group.Live(ctx, scomtest.LifeOptions{PerMinute: 40}) })
	err := s.until(ctx, failed)
	cancel()
	err = errors.Join(err, tally.Close())
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return err
}

// nameSimulators says where they are, and who may log on.
func nameSimulators(out io.Writer, host string) {
	fmt.Fprintf(out, "simulated SCOM at http://%s/OperationsManager, simulated LAM at http://%s/events/scom_lam,\nwhat has arrived and what is missing at http://%s/;\nthe simulated SCOM takes the account %s with the password %s, and no other\n",
		net.JoinHostPort(host, simScomPort), net.JoinHostPort(host, simLamPort), net.JoinHostPort(host, simTallyPort), scomtest.DefaultAccount.User, scomtest.DefaultAccount.Password)
}

// until returns when ctx ends, when something fails, or when the LAM holds all that it is to hold.
func (s *stage) until(ctx context.Context, failed <-chan error) error {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-tick.C:
			if s.lam.Counts().Events > maxDemoEvents {
				return fmt.Errorf("the simulated LAM has taken %d events, and keeps them all: start it anew", maxDemoEvents)
			}
		}
	}
}

// arrived compares what SCOM shows with what the LAM has.
type arrived struct {
	Alerts     int      `json:"alerts"`
	Events     int      `json:"events"`     // that the LAM has taken
	Duplicates int      `json:"duplicates"` // of them, that it had already
	Missing    []string `json:"missing"`    // alerts whose last state has not arrived, or not yet
}

// tally answers with it. An alert of the last moments is still on its way, and missing until then.
func (s *stage) tally(w http.ResponseWriter) {
	counts := s.lam.Counts()
	a := arrived{Events: counts.Events, Duplicates: counts.Duplicates, Missing: []string{}}
	for _, one := range s.group.Snapshot() {
		a.Alerts++
		id := strings.ToLower(one.ID)
		e, ok := s.lam.Latest(id)
		at, err := time.Parse(time.RFC3339Nano, e.LastModified)
		if !ok || e.ResolutionState != one.ResolutionState || err != nil || at.UnixMilli() != one.LastModified.UnixMilli() {
			a.Missing = append(a.Missing, id)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(a); err != nil {
		return // who asked has gone
	}
}
