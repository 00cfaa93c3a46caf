package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
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
const browserTime = 2 * time.Minute

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
	for {
		b.mu.Lock()
		loaded := false
		for _, e := range b.events {
			loaded = loaded || e.Method == "Page.loadEventFired"
		}
		more := b.more
		b.mu.Unlock()
		if loaded {
			return
		}
		select {
		case <-more:
		case <-b.ctx.Done():
			b.t.Fatalf("%s does not load: %v", url, b.ctx.Err())
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

// hostile is what somebody writes who wants the operator's browser to do something.
const hostile = `<script>alert(1)</script><img src=x onerror="alert(2)"><a href="javascript:alert(3)">here</a></code></dd></dl></details>`

// refusing is a LAM that refuses the hostile alert, in the same vein, and takes all else.
func refusing(lam http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if bytes.Contains(body, []byte("onerror")) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			answer := json.NewEncoder(w)
			answer.SetEscapeHTML(false) // a stranger's encoder does not, either
			answer.Encode(object{"success": false, "message": "refused: " + hostile})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		lam.ServeHTTP(w, r)
	})
}

// The status page of a real node in a real browser, on a telephone and on a wall: it shows what the original
// connector showed and the verdict, fits, loads nothing from elsewhere, breaks no rule of its own policy, and
// what an attacker wrote into an alert and a LAM's answer stays text.
func TestThePageInARealBrowser(t *testing.T) {
	b := newBrowser(t)
	p := newPlant(t, plantOptions{front: refusing, more: `"MinPollCycleTime": 0.5,`})
	p.group.Populate(40, time.Hour)
	p.group.Raise(alertOf(hostile))
	node := p.procs[0]
	node.start()
	await(t, "the others are delivered", 60*time.Second, func() bool { return p.lam.IDs() >= 40 })
	p.group.Raise(alertOf("accepted after the refusal, which parks what was refused"))
	await(t, "the hostile alert is parked", 60*time.Second, func() bool {
		s, err := node.status()
		return err == nil && s.Parked.Count == 1 && s.Totals.Processed >= 40
	})
	for _, width := range []int{360, 1920} {
		t.Run(fmt.Sprintf("%d pixels", width), func(t *testing.T) {
			b.t = t
			b.load(node.url+"/", width)
			var text string
			b.ask("document.body.textContent", &text)
			for _, want := range []string{"Total Alerts Processed", "SCOM Server Status", "MOOG Server Status", "Do: ", "alerts/default", "refused: <script>alert(1)</script>"} {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not show %q", want)
				}
			}
			checkTiles(t, b)
			var harm []string
			b.ask(`[...document.querySelectorAll("script:not([src='/page.js']), img, iframe, form, [onerror], [onclick], a[href^='javascript']")].map(e => e.outerHTML)`, &harm)
			if len(harm) > 0 {
				t.Errorf("the page holds %q", harm)
			}
			var over int
			b.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth", &over)
			if over > 0 {
				t.Errorf("the page is %d pixels wider than the window", over)
			}
			for _, c := range b.complaints(node.url) {
				t.Error(c)
			}
		})
	}
}

// checkTiles reads the page as a person does who looks for a moment: how many, and whether both sides answer.
func checkTiles(t *testing.T, b *browser) {
	t.Helper()
	var tiles map[string]string
	b.ask(`Object.fromEntries([...document.querySelectorAll(".tile")].map(e => [e.querySelector("h2").textContent, e.querySelector(".big").textContent]))`, &tiles)
	if tiles["SCOM Server Status"] != "Connected" || tiles["MOOG Server Status"] != "Connected" || tiles["Parked"] != "1" || tiles["Leader"] != "n1" {
		t.Errorf("the tiles are %q", tiles)
	}
	var total int
	if fmt.Sscan(strings.ReplaceAll(tiles["Total Alerts Processed"], ",", ""), &total); total < 40 {
		t.Errorf("total alerts processed: %q, want at least 40", tiles["Total Alerts Processed"])
	}
	var verdict string
	if b.ask(`document.querySelector("header.verdict").textContent`, &verdict); !strings.Contains(verdict, "parked") {
		t.Errorf("the verdict says %q, and an alert is parked", verdict)
	}
	var seen bool
	if b.ask(`(r => r.top >= 0 && r.bottom <= innerHeight)(document.querySelector("header.verdict").getBoundingClientRect())`, &seen); !seen {
		t.Error("the verdict is not on the first screen")
	}
}
