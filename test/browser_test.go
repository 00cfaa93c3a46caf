package test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium, driven over its debugging pipe: JSON messages with a zero byte behind each.
type browser struct {
	t       *testing.T
	ctx     context.Context
	to      io.Writer
	session string // of the one tab

	mu     sync.Mutex // guards what follows
	last   int
	answer map[int]chan message
	events []message
	more   chan struct{} // closed and replaced with each event
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// browserTime bounds a whole test with a browser; a busy machine needs seconds to start one.
const browserTime = 5 * time.Minute

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil && path == "" {
			path = p
		}
	}
	need(t, path != "", "chromium")
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	profile, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, "--headless", "--remote-debugging-pipe", "--user-data-dir="+profile, "--no-first-run", "--disable-gpu",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-proxy-server")
	if os.Geteuid() == 0 {
		cmd.Args = append(cmd.Args, "--no-sandbox") // Chromium refuses to be root with one
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the flag demands
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, ctx: ctx, to: ourOut, answer: map[int]chan message{}, more: make(chan struct{})}
	read := make(chan struct{})
	go func() { defer close(read); b.read(ourIn) }()
	t.Cleanup(func() {
		ourOut.Close() // Chromium ends when its pipe does
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		cancel()
		ourIn.Close()
		<-read
		os.RemoveAll(profile)
	})
	b.open()
	return b
}

func (b *browser) read(r io.Reader) {
	dec := json.NewDecoder(&unzero{r})
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			return
		}
		b.mu.Lock()
		if m.ID != 0 {
			b.answer[m.ID] <- m
			delete(b.answer, m.ID)
		} else {
			b.events = append(b.events, m)
			close(b.more)
			b.more = make(chan struct{})
		}
		b.mu.Unlock()
	}
}

// unzero turns the zero bytes between messages into blanks.
type unzero struct{ r io.Reader }

func (u *unzero) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	copy(p, bytes.ReplaceAll(p[:n], []byte{0}, []byte{' '}))
	return n, err
}

// call sends one command and decodes its result into into, which may be nil.
func (b *browser) call(method string, params, into any) {
	b.t.Helper()
	args, err := json.Marshal(params)
	if err != nil {
		b.t.Fatal(err)
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.last++
	m := message{ID: b.last, Session: b.session, Method: method, Params: args}
	b.answer[m.ID] = answer
	b.mu.Unlock()
	text, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case a := <-answer:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error)
		}
		if into != nil {
			if err := json.Unmarshal(a.Result, into); err != nil {
				b.t.Fatalf("%s: %v in %s", method, err, a.Result)
			}
		}
	case <-b.ctx.Done():
		b.t.Fatalf("%s: %v", method, b.ctx.Err())
	}
}

type object map[string]any

// open makes the tab and switches on all that tells of trouble.
func (b *browser) open() {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("Target.createTarget", object{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Audits"} {
		b.call(domain+".enable", object{}, nil)
	}
}

// load shows the address in a window of that width, and waits until it is whole.
func (b *browser) load(url string, width int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", object{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.mu.Lock()
	b.events = nil
	b.mu.Unlock()
	b.call("Page.navigate", object{"url": url}, nil)
	b.loaded(url)
}

// loaded waits until the page is whole that was asked for last.
func (b *browser) loaded(url string) {
	b.t.Helper()
	if !b.happens(time.Minute, "Page.loadEventFired") {
		b.t.Fatalf("%s does not load within a minute: %v", url, b.ctx.Err())
	}
}

// happens waits until the browser has told one of the events since they were last forgotten.
func (b *browser) happens(limit time.Duration, methods ...string) bool {
	end := time.After(limit)
	for {
		b.mu.Lock()
		told := slices.ContainsFunc(b.events, func(m message) bool { return slices.Contains(methods, m.Method) })
		more := b.more
		b.mu.Unlock()
		if told {
			return true
		}
		select {
		case <-more:
		case <-end:
			return false
		case <-b.ctx.Done():
			return false
		}
	}
}

// ask evaluates an expression in the page.
func (b *browser) ask(expression string, into any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", object{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r.ExceptionDetails)
	}
	if err := json.Unmarshal(r.Result.Value, into); err != nil {
		b.t.Fatalf("%s: %v in %s", expression, err, r.Result.Value)
	}
}

// complaints are what the browser's console, its auditor and dialogs have told since the last load, and
// requests to anybody but the node.
func (b *browser) complaints(origin string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, e := range b.events {
		switch e.Method {
		case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Audits.issueAdded", "Page.javascriptDialogOpening":
			all = append(all, fmt.Sprintf("%s %s", e.Method, e.Params))
		case "Network.requestWillBeSent":
			var r struct{ Request struct{ URL string } }
			if err := json.Unmarshal(e.Params, &r); err != nil || !strings.HasPrefix(r.Request.URL, origin+"/") && !strings.HasPrefix(r.Request.URL, "data:") {
				all = append(all, "it asks for "+r.Request.URL)
			}
		}
	}
	return all
}

// click presses the mouse on the first element that the selector finds, and what it leads to is loaded when this returns. A page that lives
// may move the element between the look and the press, as it does under a person's hand, who presses again then; one that has not moved must do.
func (b *browser) click(selector string) {
	b.t.Helper()
	for {
		at := b.where(selector)
		b.mu.Lock()
		b.events = nil
		b.mu.Unlock()
		for _, what := range []string{"mousePressed", "mouseReleased"} {
			b.call("Input.dispatchMouseEvent", object{"type": what, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
		}
		if b.happens(10*time.Second, "Page.frameRequestedNavigation", "Page.frameStartedLoading", "Page.loadEventFired") {
			b.loaded(selector)
			return
		}
		if b.where(selector) == at {
			b.t.Fatalf("a click on %s leads nowhere", selector)
		}
	}
}

type spot struct{ X, Y float64 }

// where is the middle of the element, once the page shows it.
func (b *browser) where(selector string) spot {
	b.t.Helper()
	var at *spot
	await(b.t, selector+" to click", 20*time.Second, func() bool {
		b.ask(fmt.Sprintf(`(e => { if (!e) return null; e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); return {X: r.left + r.width / 2, Y: r.top + r.height / 2} })(document.querySelector(%q))`, selector), &at)
		return at != nil
	})
	return *at
}

// fill types into a field.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	var found bool
	b.ask(fmt.Sprintf(`(e => { e.focus(); return document.activeElement === e })(document.querySelector(%q))`, selector), &found)
	if !found {
		b.t.Fatalf("%s takes no text", selector)
	}
	b.call("Input.insertText", object{"text": text}, nil)
}

// press presses a key.
func (b *browser) press(key string, code int) {
	b.t.Helper()
	for _, what := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", object{"type": what, "key": key, "code": key, "windowsVirtualKeyCode": code}, nil)
	}
}

// sees waits until an expression is true in the page.
func (b *browser) sees(what string, limit time.Duration, expression string) {
	b.t.Helper()
	defer func() {
		if b.t.Failed() {
			var text string
			b.ask("document.title + ': ' + document.body.innerText.slice(0, 1500)", &text)
			b.t.Logf("the page shows %s", text)
		}
	}()
	await(b.t, what, limit, func() bool {
		var is bool
		b.ask("!!("+expression+")", &is)
		return is
	})
}

// dark has the page as somebody sees it who prefers dark colours.
func (b *browser) dark(on bool) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": map[bool]string{true: "dark", false: "light"}[on]}}}, nil)
}

// shoot writes what the window shows, at most so high.
func (b *browser) shoot(file string, width, height int) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", object{"format": "png", "captureBeyondViewport": true, "clip": object{"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

//go:embed access.js
var accessJS string

// checkAccess asks in light and in dark what an accessibility checker asks.
func checkAccess(t *testing.T, b *browser) {
	t.Helper()
	for _, dark := range []bool{false, true} {
		b.dark(dark)
		var faults []string
		b.ask(accessJS, &faults)
		for _, f := range faults {
			t.Errorf("dark %v: %s", dark, f)
		}
	}
	b.dark(false)
}
