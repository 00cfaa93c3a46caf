package poller

import (
	"sync"
	"time"

	"scomconnector/poller/alert"
)

// Phases that a person is shown.
const (
	PhaseIdle        = "idle"
	PhasePolling     = "polling"
	PhaseFirst       = "first read"
	PhaseCatchingUp  = "catching up"
	PhaseReconciling = "reconciling"
	PhaseAwaySCOM    = "waiting for SCOM"
	PhaseAwayLAM     = "waiting for the LAM"
	PhaseBlocked     = "blocked"
	PhaseStopped     = "stopped"
)

// Status is what a pipeline knows of itself. Zero times mean never, or "not the case".
type Status struct {
	Name   string
	Stream string

	Cursor alert.Millis
	// Lag is the age, by SCOM's clock, of the oldest change that is not delivered; while SCOM cannot be
	// read or is being caught up with, the age of the point up to which it has been read.
	Lag      time.Duration
	LastPoll time.Time // when the last answer was completely read
	LastSent time.Time // when a LAM last took something

	Phase     string
	Progress  string // beside the phase; "03:15-03:30, 12 slices left"
	LastError string // in plain words; empty once it has passed

	ConsolesDownSince time.Time
	LAMAwaySince      time.Time
	Undelivered       int    // read, but not yet delivered
	SetAside          int    // of those, refused by a LAM and tried again
	Blocked           string // why nothing new is read, and what to do; else empty
	// Vanished counts alerts that SCOM shows no longer and that are too many to be closed without ConfirmVanished.
	Vanished int
	// Lateness is the longest time from a change to SCOM showing it that this term has seen.
	Lateness time.Duration
	Warnings []string
}

// board is where the parts of a pipeline write what Status shows.
type board struct {
	mu       sync.Mutex
	status   Status // all but what Status computes
	flight   *flight
	clock    *clock
	behind   alert.Millis // read up to here while not up to date; else zero
	failures int          // polls that failed in a row
	readOnce bool         // a poll has succeeded in this term
	warned   map[string]string
	blocks   [blockCauses]string
}

func (b *board) set(change func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.status)
}

func (b *board) phase(phase, progress string) {
	b.set(func(s *Status) { s.Phase, s.Progress = phase, progress })
}

// failed takes note of a failed poll and returns how many have failed in a row before it.
func (b *board) failed(now time.Time, text string, behind alert.Millis) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.behind = behind
	b.status.LastError = text
	if b.status.ConsolesDownSince.IsZero() {
		b.status.ConsolesDownSince = now.UTC()
	}
	return b.failures - 1
}

// answered takes note of a completely read answer and returns since when there had been none, or zero.
func (b *board) answered(now time.Time, fault string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := b.status.ConsolesDownSince
	b.failures, b.readOnce = 0, true
	b.status.LastPoll, b.status.ConsolesDownSince = now.UTC(), time.Time{}
	if fault != "" && b.status.LastError == fault {
		b.status.LastError = ""
	}
	return since
}

func (b *board) progress(behind alert.Millis) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = behind
}

// outage is what decides about a self-alert.
func (b *board) outage() (since time.Time, failures int, readOnce bool, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status.ConsolesDownSince, b.failures, b.readOnce, b.status.LastError
}

// Causes of blocking, in the order in which they are shown.
const (
	blockFull    = iota // the delivered map
	blockParked         // the parked entries
	blockRefused        // a LAM refuses everything
	blockCauses
)

// block sets or, with an empty text, removes a cause, and reports whether that is news.
func (b *board) block(cause int, why string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocks[cause] == why {
		return false
	}
	b.blocks[cause] = why
	b.status.Blocked = ""
	for _, text := range b.blocks {
		if b.status.Blocked == "" {
			b.status.Blocked = text
		}
	}
	return true
}

func (b *board) blockedText() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status.Blocked
}

func (b *board) blockedBy(cause int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.blocks[cause]
}

func (b *board) warnsOf(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.warned[key] != ""
}

// warn shows text under the key until it is replaced or, with an empty text, removed. It reports
// whether that is news, which is when it is worth a line in the log.
func (b *board) warn(key, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.warned[key] == text {
		return false
	}
	if b.warned == nil {
		b.warned = make(map[string]string)
	}
	if text == "" {
		delete(b.warned, key)
	} else {
		b.warned[key] = text
	}
	return true
}

// Status is safe to call at any time, also before and after Run.
func (p *Pipeline) Status() Status {
	b := &p.board
	b.mu.Lock()
	s := b.status
	for _, key := range warningKeys {
		if text := b.warned[key]; text != "" {
			s.Warnings = append(s.Warnings, text)
		}
	}
	f, c, behind := b.flight, b.clock, b.behind
	b.mu.Unlock()

	s.Name, s.Stream = p.cfg.Name, p.cfg.Stream
	// What keeps the pipeline from working is shown before what it would be doing.
	switch {
	case s.Phase == PhaseStopped:
	case !s.LAMAwaySince.IsZero():
		s.Phase, s.Progress = PhaseAwayLAM, ""
	case s.Blocked != "":
		s.Phase, s.Progress = PhaseBlocked, ""
	case !s.ConsolesDownSince.IsZero():
		s.Phase, s.Progress = PhaseAwaySCOM, ""
	}
	s.Cursor = p.ledger.Position().Cursor
	if f == nil {
		return s
	}
	oldest, n := f.oldest()
	s.Undelivered = n
	if behind != 0 && (oldest == 0 || behind < oldest) {
		oldest = behind
	}
	if now := c.now(); oldest != 0 && now > oldest {
		s.Lag = now.Sub(oldest)
	}
	return s
}

// warningKeys is the closed set of warnings, in the order in which they are shown.
var warningKeys = []string{warnClock, warnNoDate, warnLate, warnVanished, warnRefused, warnReconcile}

const (
	warnClock     = "clock"
	warnNoDate    = "no-date"
	warnLate      = "late"
	warnVanished  = "vanished"
	warnRefused   = "refused"
	warnReconcile = "reconcile"
)
