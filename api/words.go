package api

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/alert"
)

// words are what the pages' templates say things with.
func (p *page) words() template.FuncMap {
	return template.FuncMap{
		"number": number, "when": p.when, "age": p.age, "answered": p.answered, "clock": p.clock, "lasting": lasting, "word": word, "icon": icon, "title": title, "colour": colour,
		"lag": lag, "ms": milliseconds, "millis": millis, "bytes": inBytes, "rate": rate, "brief": brief, "coded": coded, "cause": causeWord, "scomLine": scomLine, "asked": asked, "wanted": wanted, "ending": ending,
	}
}

// colour is the level as people on the telephone call it.
func colour(l v1.Level) string {
	switch l {
	case v1.OK:
		return "Green"
	case v1.Degraded:
		return "Amber"
	}
	return "Red"
}

// title is what a tab shows, the worst first.
func title(s v1.Status) string {
	return fmt.Sprintf("%s, %s: %s, SCOM connector", colour(s.Verdict.Level), s.Verdict.Level, s.Node)
}

// when is a time for people and for the script, which shows it in the reader's own zone.
func (p *page) when(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, machine(t), template.HTMLEscapeString(p.clock(t))))
}

// age is how long ago something was, by the clock of the node that answers; the time itself shows when the pointer is on it.
func (p *page) age(now, t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return template.HTML(fmt.Sprintf(`<time class="age" datetime="%s" title="%s">%s</time>`, machine(t), template.HTMLEscapeString(p.clock(t)), ago(now, t)))
}

// answered is the age of a good answer. Who has given none that this node knows of may have given one to another leader.
func (p *page) answered(now, t time.Time) template.HTML {
	if t.IsZero() {
		return "none known yet"
	}
	return p.age(now, t)
}

func machine(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func lasting(now, t time.Time) string { return span(max(0, now.Sub(t))) }

// rate is a flow for people.
func rate(perMinute float64) string {
	if perMinute > 0 && perMinute < 10 {
		return strconv.FormatFloat(perMinute, 'f', 1, 64) + "/min"
	}
	return number(int64(min(perMinute, 1e15)+.5)) + "/min"
}

// inBytes is a size for people.
func inBytes(n int64) string {
	if n < 10<<30 {
		return number(n>>20) + " MB"
	}
	return number(n>>30) + " GB"
}

// millis is a duration that may be short.
func millis(ms float64) string {
	if ms < 10 {
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
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

// code is what is to be typed, as texts for people mark it.
var code = regexp.MustCompile("`([^`\n]+)`")

// coded is a text on the page, with what is to be typed set apart rather than between backticks.
func coded(text string) template.HTML {
	return template.HTML(code.ReplaceAllString(template.HTMLEscapeString(text), "<code>$1</code>"))
}

func milliseconds(ms float64) string {
	if ms <= 0 {
		return "–"
	}
	return millis(ms)
}

// word is a server's state in plain words.
func word(state string) string {
	switch state {
	case "ok":
		return "Connected"
	case "failing":
		return "Failing"
	case "reachable":
		return "Reachable again"
	}
	return "Not known yet"
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

// wanted is what a settled request asked for.
func wanted(e v1.SettledEntry) string { return asked(v1.OutboxEntry{State: e.State, Fields: e.Fields}) }

// ending is how a close request ended, in words.
func ending(status string) string {
	words := map[string]string{"closed": "done", "already_closed": "was so already", "already_done": "was so already", "refused": "refused"}
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
