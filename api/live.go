package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	v1 "scomconnector/api/v1"
)

// Limits of the event stream.
const (
	// maxListeners have the page open, or follow the JSON. Each costs a connection and a copy of what is sent, no more.
	maxListeners = 64
	// lookEvery is how soon a listener hears of what matters; without news he is sent the figures every paceEvery.
	lookEvery = time.Second
	paceEvery = 3 * time.Second
	// maxStall is how long a listener may take nothing of what he is sent.
	maxStall = 10 * time.Second
)

var errListeners = errors.New("too many listeners at this moment")

// live is what all listeners are sent. One of them makes it, at most once per look, whatever their number. The zero value is ready.
type live struct {
	mu    sync.Mutex // guards what follows
	at    time.Time
	news  string
	forms map[string]string // as server-sent events
}

// The forms of an event.
const (
	formStatus = "status" // the status as JSON
	formPage   = "page"   // the part of the page that changes, made by the very template that makes the page
)

// latest is the newest event, and what is newsworthy in it: while that stays the same nobody is told more often than every few seconds.
func (s *server) latest(form string) (event, news string, err error) {
	l := &s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forms == nil || time.Since(l.at) >= lookEvery*9/10 {
		now := s.deps.Status()
		l.at, l.news, l.forms = time.Now(), headline(now), map[string]string{}
		text, err := json.Marshal(filled(now))
		if err != nil {
			return "", "", err
		}
		l.forms[formStatus] = string(text)
		if l.forms[formPage], err = render(s.page.status, "live", newView(now, true)); err != nil {
			return "", "", err
		}
	}
	return "event: " + form + "\n" + dataOf(l.forms[form]) + "\n", l.news, nil
}

// dataOf is a text as an event's data. Each of the three ways to end a line ends a field: a stranger's text must not begin one.
func dataOf(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	return "data: " + strings.ReplaceAll(text, "\n", "\ndata: ") + "\n"
}

// headline is what a person waits for: who leads, whether it delivers, what fails. Figures and ages are not in it.
func headline(s v1.Status) string {
	var b strings.Builder
	fmt.Fprint(&b, s.Verdict, s.Leader, s.Token, s.Config.Version, s.Parked.Count, s.Refused.Count, s.Outbox.Pending, s.Outbox.Error, s.Maintenance, s.Warnings, s.Store.Fault)
	for _, m := range s.Members {
		fmt.Fprint(&b, m.Node, m.Voter, m.Part, m.Leader, m.Fault, m.Maintenance)
	}
	for _, c := range s.SCOM {
		fmt.Fprint(&b, c.State, c.InUse, c.LastError)
	}
	for _, l := range s.LAMs {
		fmt.Fprint(&b, l.State, l.InUse, l.LastError)
	}
	return b.String()
}

// events tells a listener what changes, until he goes or the node stops: the status as JSON or, for this node's own page, the part
// of it that changes.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	form := formStatus
	switch as := r.URL.Query().Get("as"); as {
	case "", formStatus:
	case formPage:
		form = formPage
	default:
		refuse(w, fmt.Errorf("%w: as=%s; it can be status or page", errRequest, clip(as, 40)))
		return
	}
	select {
	case s.listeners <- struct{}{}:
		defer func() { <-s.listeners }()
	default:
		refuse(w, errListeners)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "text/event-stream; charset=utf-8")
	head.Set("Cache-Control", "no-store, no-transform") // a proxy that compresses would wait for more
	head.Set("X-Accel-Buffering", "no")                 // nginx
	stream := stream{w: w, rc: http.NewResponseController(w)}
	stream.rc.SetReadDeadline(time.Time{}) //nolint:errcheck // without it the stream ends early, and the listener comes again
	if r.Method == http.MethodHead || stream.send("retry: 2000\n\n") != nil {
		return
	}
	s.tell(r.Context(), stream, form)
}

// tell sends events until the listener goes, takes nothing, or the node stops.
func (s *server) tell(ctx context.Context, to stream, form string) {
	closing := closingOf(ctx)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var told string
	var last time.Time
	for {
		event, news, err := s.latest(form)
		if err != nil { // only by values of our own that cannot be written
			return
		}
		if news == told && time.Since(last) < paceEvery-lookEvery/2 {
			event = ":\n\n" // a heartbeat: proxies close what is silent, and a listener that is gone is noticed
		} else {
			told, last = news, time.Now()
		}
		if to.send(event) != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-closing:
			to.send("event: stopping\n" + dataOf(s.deps.Status().Node) + "\n") //nolint:errcheck // who is gone needs no farewell
			return
		}
	}
}

// closingOf ends when the server is shut down; see Server. A handler without one is never shut down.
func closingOf(ctx context.Context) <-chan struct{} {
	if closing, ok := ctx.Value(closingKey{}).(context.Context); ok {
		return closing.Done()
	}
	return nil
}

// stream is a connection that is written to for a long time.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s stream) send(text string) error {
	s.rc.SetWriteDeadline(time.Now().Add(maxStall)) //nolint:errcheck // a recorder in a test has none
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}
