package scom

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"scomconnector/poller/alert"
)

// account is one user and password, shared by all consoles that use it: directories lock accounts
// after a few bad log-ons, wherever they were made, so a refusal at one console silences all.
type account struct {
	name string // DOMAIN\user, for people
	// turn holds a value while a log-on is under way: one at a time, so that the others learn of a
	// refusal before they make their own.
	turn chan struct{}

	first, most time.Duration

	mu     sync.Mutex // guards what follows
	until  time.Time  // no log-on before
	pause  time.Duration
	reason string
}

func newAccount(c Console, cfg Config) *account {
	name := c.User
	if c.Domain != "" {
		name = c.Domain + `\` + c.User
	}
	return &account{name: name, turn: make(chan struct{}, 1), first: cfg.AuthPause, most: cfg.AuthPauseMax}
}

// accountKey tells accounts apart; Windows ignores case in names.
func accountKey(c Console) [3]string {
	return [3]string{strings.ToLower(c.Domain), strings.ToLower(c.User), c.Password}
}

func (a *account) enter(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *account) leave() { <-a.turn }

// refuse notes a bad log-on and returns how long the account is left alone now.
func (a *account) refuse(now time.Time, reason string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pause = min(max(2*a.pause, a.first), a.most)
	a.until, a.reason = now.Add(a.pause), reason
	return a.pause
}

func (a *account) accept() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until, a.pause, a.reason = time.Time{}, 0, ""
}

// left is how long no log-on may be made, zero if one may.
func (a *account) left(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(0, a.until.Sub(now))
}

// paused is the failure to report while no log-on may be made, else nil.
func (a *account) paused(now time.Time) *failure {
	left := a.left(now)
	if left == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return &failure{
		class: alert.FaultAuth,
		away:  true,
		err:   fmt.Errorf("log-on of %s was refused (%s): correct user and password; the next try is at %s, so that the account is not locked", a.name, a.reason, a.until.UTC().Format("15:04:05 UTC")),
	}
}
