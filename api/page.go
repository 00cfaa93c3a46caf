package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's files
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
	"time"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// style is pageCSS as a browser sees it: a checkout on Windows may hold CRLF, which browsers turn into LF before
// they hash.
var style = strings.ReplaceAll(pageCSS, "\r\n", "\n")

// policy allows the pages' own style, their icon, and nothing else; no script, no form, no frame. It is that of every answer
// but two kinds: livePolicy is of the status page, whose one script is a file of this node that may ask this node, and formPolicy
// of the pages that have a form, which they may send to their own node.
var policy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var (
	livePolicy = policy + "; script-src 'self'; connect-src 'self'"
	formPolicy = strings.Replace(policy, "form-action 'none'", "form-action 'self'", 1)
)

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page is what a browser is shown: the same status as the JSON, in words.
type page struct {
	status, maintenance, act, settings *template.Template

	zone *time.Location
}

func newPage(zone *time.Location) *page {
	if zone == nil {
		zone = time.Local
	}
	p := &page{zone: zone}
	parse := func(name, text string) *template.Template {
		return template.Must(template.New(name).Funcs(p.words()).Parse(text))
	}
	p.status, p.maintenance = parse("status", pageHTML), parse("maintenance", maintenanceHTML)
	p.act, p.settings = parse("act", actHTML), parse("settings", settingsHTML)
	return p
}

func (s *server) statusPage(w http.ResponseWriter, r *http.Request) {
	live := r.URL.Query().Get("refresh") != "off"
	w.Header().Set("Content-Security-Policy", livePolicy)
	s.showPage(w, http.StatusOK, s.page.status, newView(s.deps.Status(), live))
}

func (s *server) pageScript(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Write([]byte(pageJS))
}

// showPage sends a page whole, or an error instead of it.
func (s *server) showPage(w http.ResponseWriter, code int, t *template.Template, view any) {
	text, err := render(t, "", view)
	if err != nil {
		w.Header().Set("Content-Security-Policy", policy)
		fail(w, "the page cannot be shown: "+err.Error(), "read /api/v1/status or use the command line instead, and report this as a bug")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write([]byte(text))
}

// render is a template, or one part of it.
func render(t *template.Template, part string, view any) (string, error) {
	var out bytes.Buffer
	if part == "" {
		part = t.Name()
	}
	err := t.ExecuteTemplate(&out, part, view)
	return unturn.Replace(out.String()), err
}

// unturn takes away the characters that turn the direction of writing: one of them in an alert's name
// would write the rest of its line backwards.
var unturn = strings.NewReplacer("\u202a", "\uFFFD", "\u202b", "\uFFFD", "\u202c", "\uFFFD", "\u202d", "\uFFFD", "\u202e", "\uFFFD",
	"\u2066", "\uFFFD", "\u2067", "\uFFFD", "\u2068", "\uFFFD", "\u2069", "\uFFFD")
