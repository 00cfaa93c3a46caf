package poller

import (
	"sync"
	"sync/atomic"
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
	PhaseAwayLedger  = "waiting for the cluster"
	PhaseBlocked     = "blocked"
	PhaseStopped     = "stopped"
)

// Status is what a pipeline knows of itself. Zero times mean never, or "not the case".
type Status struct {
	Name   string
	Stream string

	Cursor alert.Millis
	// Lag is the age, by SCOM's clock, of the oldest change that is not delivered; while SCOM cannot be
	// read or is being caught up with, the age of the point up to which it has been read. Until the term's
	// first answer SCOM's clock is not known, and this node's stands in for it.
	Lag time.Duration
	// LagKnown: not before SCOM has been read to its end for the first time, or a change waits for the LAM.
	LagKnown bool
	LastPoll time.Time // when the last answer was completely read
	LastSent time.Time // when a LAM last took something

	Phase     string
	Progress  string // beside the phase; "03:15-03:30, 12 slices left"
	LastError string // in plain words, the newest of what has not passed; empty once all has
	SCOMError string // of those, why the last question to SCOM was not answered
	// SCOMFault is the class of that, SCOMBrief the same in a few words, SCOMConsole who was asked, and SCOMSaid what it said or
	// how the question ended, in the words of whoever said so.
	SCOMFault                        alert.FaultClass
	SCOMBrief, SCOMConsole, SCOMSaid string
	LAMError                         string // of those, why the destination takes nothing
	// LAMBrief is that in a few words, LAMDo what to do about it, LAMName who was asked last, and LAMSaid what that one answered,
	// or how the request ended; LAMDo and LAMSaid are empty where nobody knows.
	LAMBrief, LAMDo, LAMName, LAMSaid string
	// SCOMTries counts the questions to SCOM in a row that were not answered, LAMTries the posts in a row that nobody took.
	SCOMTries, LAMTries int

	// ConsolesDownSince is when polls began to fail. It is set once every console has failed, none has answered for
	// downAfter, or the self-alert is due: one failed poll with another console left is an error, but no outage.
	ConsolesDownSince time.Time
	// UnansweredSince is when polls began to fail, set at the first that failed with no other console left to ask, also where
	// the next one asks for less.
	UnansweredSince time.Time
	LAMAwaySince    time.Time
	Undelivered     int    // read, but not yet delivered
	SetAside        int    // of those, refused by a LAM and tried again
	SetAsideDo      string // what to do about the first of them
	Blocked         string // why nothing new is read, and what to do; else empty
	// Vanished counts alerts that SCOM shows no longer and that are too many to be closed without ConfirmVanished.
	Vanished int
	// Lateness is the longest time from a change to SCOM showing it that this term has seen, the time in which nobody asked left out.
	Lateness time.Duration
	Warnings []string
	Flow     Flow
}

// Flow counts what has gone through since the term began, our own events left out.
type Flow struct {
	Polls    uint64 // completely read answers
	Read     uint64 // changes in them that had to go out
	Posted   uint64 // handed to the Sink; what is tried again counts again
	Accepted uint64
}

// board is where the parts of a pipeline write what Status shows.
type board struct {
	mu       sync.Mutex
	status   Status // all but what Status computes
	flight   *flight
	clock    *clock
	behind   alert.Millis // read up to here while not up to date; else zero
	failures int          // polls that failed in a row
	failing  time.Time    // when the first of those failed; keeps its monotonic reading
	allDown  bool         // during those, every console has failed and no smaller question is left
	noOther  bool         // during those, no console was left to ask
	readOnce bool         // a poll has succeeded in this term
	errors   [errorSources]string
	newest   int // of errors
	warned   map[string]string
	blocks   [blockCauses]string

	read, posted, accepted atomic.Uint64 // of Flow; counted for each alert
}

func (b *board) set(change func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.status)
}

func (b *board) phase(phase, progress string) {
	b.set(func(s *Status) { s.Phase, s.Progress = phase, progress })
}

// Sources of errors.
const (
	errorOfSCOM = iota
	errorOfLAM
	errorOfLedger
	errorSources
)

// say shows a source's error until it is replaced or, with an empty text, has passed.
func (b *board) say(source int, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sayLocked(source, text)
}

func (b *board) sayLocked(source int, text string) {
	if b.errors[source] = text; text != "" {
		b.newest = source
	}
	s := &b.status
	s.SCOMTries = b.failures
	s.SCOMError, s.LAMError, s.LastError = b.errors[errorOfSCOM], b.errors[errorOfLAM], b.errors[b.newest]
	for _, older := range b.errors {
		if s.LastError == "" {
			s.LastError = older
		}
	}
}

// downAfter is how long polls fail before that is an outage, whatever is left to try: a console that hangs lets each question
// be halved many times. The self-alert has its own time.
const downAfter = time.Minute

// failed takes note of a failed poll that was begun at asked, and returns how many have failed in a row before it. all says that no other console
// is left to try, and narrowed that a smaller question is.
func (b *board) failed(asked time.Time, text string, behind alert.Millis, all, narrowed bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures++; b.failures == 1 {
		b.failing = asked
	}
	b.noOther = b.noOther || all
	b.allDown = b.allDown || all && !narrowed
	b.behind = behind
	b.sayLocked(errorOfSCOM, text)
	return b.failures - 1
}

// answered takes note of a completely read answer and returns since when there had been none, or zero.
func (b *board) answered(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := b.failing
	b.failures, b.failing, b.allDown, b.noOther, b.readOnce = 0, time.Time{}, false, false, true
	b.status.LastPoll = now.UTC()
	b.status.Flow.Polls++
	b.sayLocked(errorOfSCOM, "")
	return since
}

func (b *board) progress(behind alert.Millis) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = behind
}

// outage is what decides about a self-alert: since when no poll has succeeded, zero if the last one has,
// and whether that is due to be told.
func (b *board) outage(cfg Config, now time.Time) (since time.Time, due, readOnce bool, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failing, b.due(cfg, now), b.readOnce, b.errors[errorOfSCOM]
}

// due reports whether polls have failed for long enough, or often enough, to be told of. b.mu is held.
func (b *board) due(cfg Config, now time.Time) bool {
	return b.failures > 0 &&
		(cfg.AmountOfTimeouts > 0 && b.failures >= cfg.AmountOfTimeouts || now.Sub(b.failing) >= cfg.OutageAlertAfter)
}

// showOutage puts into s since when SCOM is not read. b.mu is held.
func (b *board) showOutage(s *Status, cfg Config, now time.Time) {
	if b.failures == 0 {
		return
	}
	if b.allDown || now.Sub(b.failing) >= downAfter || b.due(cfg, now) {
		s.ConsolesDownSince = b.failing.UTC()
	}
	if b.noOther {
		s.UnansweredSince = b.failing.UTC()
	}
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
	b.showOutage(&s, p.cfg, time.Now())
	f, c, behind, unrecorded := b.flight, b.clock, b.behind, b.errors[errorOfLedger]
	b.mu.Unlock()

	s.Name, s.Stream = p.cfg.Name, p.cfg.Stream
	s.Flow.Accepted, s.Flow.Posted, s.Flow.Read = b.accepted.Load(), b.posted.Load(), b.read.Load() // in this order: none outruns its source
	// What keeps the pipeline from working is shown before what it would be doing.
	switch {
	case s.Phase == PhaseStopped:
	case unrecorded != "":
		s.Phase, s.Progress = PhaseAwayLedger, ""
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
	now := c.now()
	if now == 0 { // no answer yet in this term: what is known is that nothing was read beyond the cursor
		now, behind = alert.MillisOf(time.Now()), s.Cursor
	}
	if behind != 0 && (oldest == 0 || behind < oldest) {
		oldest = behind
	}
	s.LagKnown = oldest != 0 || s.Cursor != 0
	if oldest != 0 && now > oldest {
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
