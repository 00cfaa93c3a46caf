package api

import (
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// refusedAgain is how long the same attempt of the same sender is counted rather than told, and countedEvery when the count is told.
	refusedAgain = 10 * time.Minute
	countedEvery = time.Minute
	// maxRefusals are told apart.
	maxRefusals = 1000
)

// audit writes the log of writes. What strangers try is told as long as there is not too much of it, and counted beyond: the log must not
// be theirs to fill, and nothing that was tried may leave no line.
type audit struct {
	log hclog.Logger

	mu       sync.Mutex // guards what follows
	told     map[attempt]time.Time
	untold   int    // since the count was told last
	lastFrom string // of those
	lastText string
}

// attempt is what makes one like another.
type attempt struct {
	host, what, text string
}

// refused logs an attempt of who may not write: each kind of it once in a while.
func (a *audit) refused(r *http.Request, err error, s *strangers) {
	what := r.Method + " " + clip(r.URL.EscapedPath(), 200)
	if !a.news(attempt{hostOf(r.RemoteAddr), what, err.Error()}) || !s.allow(r.RemoteAddr) {
		a.count(r, err)
		return
	}
	a.log.Warn("operator write refused", "from", r.RemoteAddr, "what", what, "error", err)
}

// strange logs, if that is allowed, what cannot be understood or may not be asked.
func (a *audit) strange(r *http.Request, err error, allowed bool) {
	if !allowed {
		a.count(r, err)
		return
	}
	a.log.Warn("close request refused", "from", r.RemoteAddr, "error", err)
}

func (a *audit) news(what attempt) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, known := a.told[what]; known && time.Since(at) < refusedAgain {
		return false
	}
	if a.told == nil || len(a.told) >= maxRefusals {
		a.told = make(map[attempt]time.Time)
	}
	a.told[what] = time.Now()
	return true
}

func (a *audit) count(r *http.Request, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.untold++; a.untold == 1 {
		time.AfterFunc(countedEvery, a.tell)
	}
	a.lastFrom, a.lastText = r.RemoteAddr, r.Method+" "+clip(r.URL.EscapedPath(), 200)+": "+err.Error()
}

func (a *audit) tell() {
	a.mu.Lock()
	n, from, text := a.untold, a.lastFrom, a.lastText
	a.untold = 0
	a.mu.Unlock()
	a.log.Warn("requests refused, beside those that were told", "count", n, "last_from", from, "last", text)
}
