package scomtest

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"time"
)

// Faults are what is wrong with a console. The zero value is a healthy one. Several may be set at
// once; of those that answer instead of SCOM the first in this list wins.
type Faults struct {
	// Path limits the faults to requests whose path contains it ("data/alert", "authenticate");
	// empty: all requests.
	Path string
	// Every limits them to each n-th of those; 0 and 1: all.
	Every int
	// Count ends them after so many requests were hit; 0: they stay.
	Count int

	Down     bool // connections are closed without an answer, also those in the middle of one
	Hang     bool // connections are taken, and never answered
	HangBody bool // headers, then silence
	// RedirectToLogin sends everybody to a log-in page, as a wrong path or forms authentication do.
	RedirectToLogin bool
	HTML            bool // a page with status 200
	Status          int  // this status with a small HTML page, such as 503
	BadJSON         bool // status 200, and JSON that breaks off into garbage
	DoThenHang      bool // a change is made, and never answered
	SessionGone     bool // the session is forgotten and answered as expired; then the fault is over
	WrongPassword   bool // every log-on is refused, as if the password had been changed; with Count, set Path to authenticate

	Latency time.Duration // before the database is read
	// ReadThenWait is a pause between the database's read and the first byte, so that the answer is
	// older than its Date.
	ReadThenWait   time.Duration
	BytesPerSecond int64 // of the answer's body
	// CutAfter closes the connection after so many bytes of the answer's body; a change it asked for
	// is done. CutCleanly ends the answer there as if it were whole instead.
	CutAfter   int64
	CutCleanly bool

	ClockOffset time.Duration // added to the Date header
	NoDate      bool          // no Date header
}

// Counters count what a console has seen since its start.
type Counters struct {
	// Requests by path below the base path, lower case, without ids: "data/alert".
	Requests      map[string]int
	Logons        int // successful ones
	BadLogons     int
	Handshakes    int   // connections that were logged on
	Bytes         int64 // of answers' bodies, before compression
	Rows          int64
	Faulted       int // requests that a fault hit
	MaxConcurrent int
}

// Set replaces the console's faults; it takes hold of running requests where it is Down.
func (c *Console) Set(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults, c.matched = f, 0
	close(c.changed)
	c.changed = make(chan struct{})
}

// Faults are the faults now; those that have ended by themselves are gone.
func (c *Console) Faults() Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults
}

// Heal ends all faults. Requests that hang are closed without an answer, as by a service restarted.
func (c *Console) Heal() { c.Set(Faults{}) }

// Counters are the counts now.
func (c *Console) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counters
	n.Requests = maps.Clone(n.Requests)
	return n
}

// infront reports whether all requests are hit before IIS looks at their log-on.
func (f Faults) infront() bool {
	return f.Path == "" && f.Every <= 1 && f.Count == 0 && (f.Down || f.Hang || f.HangBody || f.RedirectToLogin || f.HTML || f.Status != 0 || f.BadJSON)
}

// take returns the faults that hit a request for path.
func (c *Console) take(path string) Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.faults
	if f == (Faults{}) || !strings.Contains(path, strings.ToLower(f.Path)) {
		return Faults{}
	}
	if f.SessionGone && (path == "authenticate" || path == "authenticationmode") {
		f.SessionGone = false // there is no session to lose yet
		return f
	}
	if c.matched++; f.Every > 1 && c.matched%f.Every != 0 {
		return Faults{}
	}
	c.counters.Faulted++
	if f.SessionGone {
		c.faults.SessionGone = false
	}
	if f.Count > 0 {
		if c.faults.Count--; c.faults.Count == 0 {
			c.faults = Faults{}
		}
	}
	return f
}

// down reports whether the console was switched off.
func (c *Console) down(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults.Down && strings.Contains(path, strings.ToLower(c.faults.Path)) && c.faults.Every <= 1 && c.faults.Count == 0
}

// hang waits until the client gives up, the faults change or the console closes; then the
// connection is closed.
func (c *Console) hang(ctx context.Context) {
	c.mu.Lock()
	changed := c.changed
	c.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-c.closing:
	}
	panic(http.ErrAbortHandler)
}

// pause waits d; if the client gives up or the console closes meanwhile, the connection is closed.
func (c *Console) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	case <-c.closing:
		panic(http.ErrAbortHandler)
	}
}

const htmlPage = `<!DOCTYPE html><html><head><title>Operations Manager</title></head>` +
	`<body><h1>%s</h1><form action="login.aspx"><input name="user"><input name="password" type="password"></form></body></html>`

// answer is a ResponseWriter that a fault may slow down or cut.
type answer struct {
	http.ResponseWriter
	console *Console
	ctx     context.Context
	path    string
	faults  Faults
	n       int64 // bytes of the body so far
	cut     bool  // the rest is swallowed
}

func (a *answer) Write(p []byte) (int, error) {
	whole := len(p)
	for len(p) > 0 {
		if a.cut {
			return whole, nil
		}
		if a.console.down(a.path) {
			panic(http.ErrAbortHandler)
		}
		part := p[:min(len(p), a.step())]
		n, err := a.ResponseWriter.Write(part)
		a.n += int64(n)
		if err != nil {
			return whole - len(p) + n, err
		}
		p = p[n:]
		a.afterStep(int64(n))
	}
	return whole, nil
}

// step is how many bytes may be written next.
func (a *answer) step() int {
	step := int64(1 << 20)
	if r := a.faults.BytesPerSecond; r > 0 {
		step = max(1, r/10) // ten steps a second
	}
	if a.faults.CutAfter > 0 {
		step = min(step, a.faults.CutAfter-a.n)
	}
	return int(step)
}

func (a *answer) afterStep(n int64) {
	f := &a.faults
	if f.BytesPerSecond > 0 {
		http.NewResponseController(a.ResponseWriter).Flush()
		a.console.pause(a.ctx, time.Duration(n)*time.Second/time.Duration(f.BytesPerSecond))
	}
	if f.CutAfter == 0 || a.n < f.CutAfter {
		return
	}
	if a.cut = f.CutCleanly; !a.cut {
		http.NewResponseController(a.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
}
