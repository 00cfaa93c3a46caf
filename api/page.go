package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's two files
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/alert"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
)

// style is pageCSS as a browser sees it: a checkout on Windows may hold CRLF, which browsers turn into LF before
// they hash.
var style = strings.ReplaceAll(pageCSS, "\r\n", "\n")

// policy allows the pages' own style, their icon, and nothing else; no script, no form, no frame.
var policy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page is what a browser is shown: the same status as the JSON, in words.
type page struct {
	status      *template.Template
	maintenance *template.Template
	zone        *time.Location
}

func newPage(zone *time.Location) *page {
	if zone == nil {
		zone = time.Local
	}
	p := &page{zone: zone}
	words := template.FuncMap{
		"number": number, "clock": p.clock, "ago": ago, "word": word, "icon": icon, "lag": lag, "ms": milliseconds, "brief": brief, "cause": causeWord,
		"scomLine": scomLine, "asked": asked, "ending": ending,
	}
	p.status = template.Must(template.New("status").Funcs(words).Parse(pageHTML))
	p.maintenance = template.Must(template.New("maintenance").Funcs(words).Parse(maintenanceHTML))
	return p
}

// view is what the template sees.
type view struct {
	v1.Status
	Style   template.CSS // our own file, whose hash is in the policy
	Refresh bool
	SCOMNow summary
	LAMNow  summary
	// LeaderURL is the leader's page, if that is another node.
	LeaderURL string
	LeaderWhy string
	Slowest   float64 // seconds, over all pipelines
	// Closes are the close requests that wait, and the newest that have come to their end; Refused are those that SCOM refuses.
	Closes  v1.OutboxList
	Refused []v1.ParkedRequest
	// RefusedCount is how many there are, of which Refused are the newest.
	RefusedCount int
}

// Most close requests that the page shows of each kind; the command line shows all.
const (
	maxWaitingShown = 20
	maxSettledShown = 10
	maxRefusedShown = 20
)

// showCloses fills in what is known of close requests.
func (v *view) showCloses(list v1.OutboxList, refused []v1.ParkedRequest) {
	v.Closes, v.Refused, v.RefusedCount = list, refused[:min(len(refused), maxRefusedShown)], len(refused)
	v.Closes.Entries = list.Entries[:min(len(list.Entries), maxWaitingShown)]
	v.Closes.Settled = list.Settled[:min(len(list.Settled), maxSettledShown)]
}

// summary is the state of a kind of servers in a word.
type summary struct {
	Class, Word, Detail string
}

func (s *server) statusPage(w http.ResponseWriter, r *http.Request) {
	v := newView(s.deps.Status(), r.URL.Query().Get("refresh") != "off")
	v.showCloses(s.deps.Closes.Outbox(), s.deps.Closes.ParkedRequests())
	var out bytes.Buffer // a page is sent whole, or an error instead of it
	if err := s.page.status.Execute(&out, v); err != nil {
		fail(w, "the page cannot be shown: "+err.Error(), "read /api/v1/status instead, and report this as a bug")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte(unturn.Replace(out.String())))
}

// unturn takes away the characters that turn the direction of writing: one of them in an alert's name
// would write the rest of its line backwards.
var unturn = strings.NewReplacer("\u202a", "\uFFFD", "\u202b", "\uFFFD", "\u202c", "\uFFFD", "\u202d", "\uFFFD", "\u202e", "\uFFFD",
	"\u2066", "\uFFFD", "\u2067", "\uFFFD", "\u2068", "\uFFFD", "\u2069", "\uFFFD")

func newView(s v1.Status, refresh bool) view {
	v := view{Status: s, Style: template.CSS(style), Refresh: refresh}
	var consoles, lams []endpoint
	for _, c := range s.SCOM {
		consoles = append(consoles, endpoint{c.Name, c.State, c.InUse})
	}
	for _, l := range s.LAMs {
		lams = append(lams, endpoint{l.Name, l.State, l.InUse})
	}
	v.SCOMNow, v.LAMNow = summarise(&s, consoles), summarise(&s, lams)
	for _, m := range s.Members {
		if m.Node == s.Leader && m.Node != s.Node {
			v.LeaderURL = m.URL
		}
	}
	for _, p := range s.Pipelines {
		v.Slowest = max(v.Slowest, p.LagSeconds)
	}
	if len(s.Changes) > 0 && s.Changes[0].Node == s.Leader {
		v.LeaderWhy = s.Changes[0].Reason
	}
	return v
}

// endpoint is what a console and a LAM have in common.
type endpoint struct {
	name, state string
	inUse       bool
}

// summarise tells whether the servers in use answer; one that fails beside them is told in the small print.
func summarise(s *v1.Status, servers []endpoint) summary {
	var good, bad []string
	cut := false // a server in use fails
	for _, e := range servers {
		switch {
		case e.state == "failing":
			bad = append(bad, e.name)
			cut = cut || e.inUse
		case e.state == "ok" && e.inUse:
			good = append(good, e.name)
		}
	}
	failing := strings.Join(bad, ", ")
	switch {
	case len(good) > 0 && len(bad) == 0:
		return summary{"ok", "Connected", strings.Join(good, ", ")}
	case len(good) > 0 && !cut:
		return summary{"warn", "Connected", strings.Join(good, ", ") + "; failing: " + failing}
	case len(bad) > 0:
		return summary{"failing", "Failing", failing}
	case len(servers) == 0:
		return summary{"unknown", "None set up", ""}
	case s.Leader != "" && s.Leader != s.Node:
		return summary{"unknown", "Used by " + s.Leader, "this node stands by"}
	}
	return summary{"unknown", "Not known yet", ""}
}

// number groups digits by thousands.
func number(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// clock is a time for people: UTC, and the node's own zone where that differs.
func (p *page) clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	utc, local := t.UTC(), t.In(p.zone)
	text := utc.Format("2006-01-02 15:04:05") + " UTC"
	if _, offset := local.Zone(); offset != 0 {
		if local.YearDay() != utc.YearDay() {
			return text + local.Format(" (2006-01-02 15:04:05 MST)")
		}
		text += local.Format(" (15:04:05 MST)")
	}
	return text
}

// ago is the age of t, by the clock of the node that answers.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	switch {
	case d < -5*time.Second:
		return "in " + span(-d)
	case d < time.Second:
		return "just now"
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

// lag is a delay in seconds for people.
func lag(seconds float64) string {
	if seconds < 120 {
		return strconv.FormatFloat(seconds, 'f', 1, 64) + " s"
	}
	return span(time.Duration(min(seconds, 1e9)) * time.Second)
}

// brief keeps one error from filling the page; the JSON has it whole.
func brief(text string) string {
	const enough = 600
	if len(text) <= enough {
		return text
	}
	return strings.ToValidUTF8(text[:enough], "") + "…"
}

func milliseconds(ms float64) string {
	if ms <= 0 {
		return "–"
	}
	return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
}

// word is a server's state in plain words.
func word(state string) string {
	switch state {
	case "ok":
		return "Connected"
	case "failing":
		return "Failing"
	}
	return "Not tried"
}

// asked is what a close request asks for.
func asked(e v1.OutboxEntry) string {
	text := fmt.Sprintf("resolution state %d", e.State)
	switch e.State {
	case int(alert.StateClosed):
		text = "close"
	case -1:
		text = "change"
	}
	if len(e.Fields) > 0 {
		text += ", set " + strings.Join(slices.Sorted(maps.Keys(e.Fields)), ", ")
	}
	return text
}

// ending is how a close request ended, in words.
func ending(status string) string {
	words := map[string]string{"closed": "done", "already_closed": "was so already", "refused": "refused"}
	return cmp.Or(words[status], status)
}

// causeWord is why leadership changed, in a word for the page; the reason beside it says it in full.
func causeWord(cause string) string {
	words := map[string]string{
		"formed": "first leader", "elected": "elected again", "lost": "leader lost", "takeover": "takeover", "alone": "went on alone", "transfer": "transfer",
		"maintenance": "maintenance", "stop": "planned stop", "failback": "fail-back", "work": "lack of work", "witness": "witness handed on",
	}
	return cmp.Or(words[cause], cause)
}

// icons show the level in the browser's tab. They are constants, so that they may stand in the page.
var icons = map[v1.Level]template.URL{
	v1.OK:       "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%231a7f37'/%3E%3C/svg%3E",
	v1.Degraded: "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M8 1 15 14H1z' fill='%23bf8700'/%3E%3C/svg%3E",
	v1.Stopped:  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect x='1' y='1' width='14' height='14' fill='%23cf222e'/%3E%3C/svg%3E",
}

func icon(l v1.Level) template.URL {
	if u, ok := icons[l]; ok {
		return u
	}
	return icons[v1.Stopped]
}
