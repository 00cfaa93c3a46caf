package publisher

import "time"

// health is what is known of one LAM, and its breaker. It has no clock: times come in.
//
// The breaker opens at each failed delivery, for a pause that doubles with each failure within a
// stable period, so that a LAM that answers every third request with 502 is left alone for longer
// and longer as long as another one works. After the pause, and once a connection test has
// succeeded, it gets one event on trial. An open breaker only orders the LAMs: where nothing better
// is left, an open one is asked all the same, at the pace of the caller's own back-off.
type health struct {
	open    bool
	until   time.Time // no trial before
	strikes int       // failures since it was last stable
	since   time.Time // when it began to take traffic; zero: never
	// waitUntil is what the LAM itself asked for (Retry-After); nothing is sent before.
	waitUntil time.Time
	// probed: a connection test succeeded after the breaker opened.
	probed bool

	lastOK    time.Time
	latency   time.Duration
	err       string // of the last delivery; empty: it succeeded
	words, do string // err in a few words without what differs each time, such as port numbers, and what to do about it
	lasting   bool   // err is an answer that a connection test proves nothing against, such as 401
	failedAt  time.Time
	probeErr  string // of the last connection test
	probeFail outcome
	everTried bool
}

const (
	basePause = 10 * time.Second
	maxPause  = 10 * time.Minute
	// stableAfter is how long a LAM must have worked for its past to be forgotten.
	stableAfter = 5 * time.Minute
)

// failed notes a failed delivery. It reports whether that is news.
func (h *health) failed(now time.Time, out outcome) (news bool) {
	if h.settled(now) {
		h.strikes = 0
	}
	h.strikes++
	h.open, h.probed, h.everTried = true, false, true
	h.until = now.Add(min(basePause<<min(h.strikes-1, 10), maxPause))
	h.since = time.Time{}
	h.waitUntil = time.Time{}
	if out.retryAfter > 0 {
		h.waitUntil = now.Add(out.retryAfter)
	}
	news = h.words != out.text
	h.err, h.words, h.do, h.lasting, h.failedAt = out.cause().Error(), out.text, out.do, out.lasting(), now
	return news
}

// took notes an accepted request. It reports whether the LAM had been failing.
func (h *health) took(now time.Time, latency time.Duration) (news bool) {
	news = h.err != ""
	if h.open || h.since.IsZero() {
		h.since = now
	}
	h.open, h.everTried = false, true
	h.err, h.words, h.do, h.lasting, h.probeErr = "", "", "", false, ""
	h.waitUntil = time.Time{}
	h.lastOK, h.latency = now, latency
	return news
}

// settled reports whether it has worked long enough for its strikes not to count any more.
func (h *health) settled(now time.Time) bool {
	return !h.open && !h.since.IsZero() && now.Sub(h.since) >= stableAfter
}

// tested notes a connection test.
func (h *health) tested(now time.Time, err string, out outcome) {
	h.everTried = true
	h.probeErr, h.probeFail = err, out
	h.probed = err == ""
	if h.err == "" && err != "" {
		h.failedAt = now
	}
}

func (h *health) waiting(now time.Time) bool { return now.Before(h.waitUntil) }

// due reports whether a trial is.
func (h *health) due(now time.Time) bool { return h.open && h.probed && !now.Before(h.until) }

// reachable reports whether it failed by a fault that is over as far as a connection test can show: for a LAM that waits while
// another one works, that is all there is to know until it is needed.
func (h *health) reachable(now time.Time) bool {
	return h.open && h.probed && !h.lasting && !now.Before(h.until) && !h.waiting(now)
}

func (h *health) state() string {
	switch {
	case h.open || h.probeErr != "":
		return "failing"
	case !h.everTried:
		return "unknown"
	}
	return "ok"
}

// leg is one step of a Publish: which LAM, and how much it is trusted with.
type leg struct {
	lam *lam
	// trial: one event with a short deadline first, since a working LAM waits behind this one.
	trial bool
}

// route is the order in which the LAMs are asked now: those that work, in the operator's order, with
// at most one earlier one on trial before them, so that the delay by trials is bounded; those that
// failed come last. A LAM that asked to be left alone is not in it.
func (d *Destination) route(now time.Time) []leg {
	var good, bad []leg
	var trial *lam
	for _, l := range d.lams {
		l.mu.Lock()
		h := l.health
		l.mu.Unlock()
		switch {
		case h.waiting(now):
		case !h.open:
			good = append(good, leg{lam: l})
		case len(good) == 0 && trial == nil && h.due(now):
			trial = l
		default:
			bad = append(bad, leg{lam: l})
		}
	}
	if trial != nil {
		good = append([]leg{{lam: trial, trial: len(good) > 0}}, good...)
	}
	return append(good, bad...)
}
