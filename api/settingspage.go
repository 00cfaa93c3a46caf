package api

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"net/http"
	"strconv"

	v1 "scomconnector/api/v1"
)

//go:embed settings.html
var settingsHTML string

// settingsView is what the template of the settings page sees. Its text has what stands behind plain: hidden already.
type settingsView struct {
	v1.Status
	Style    template.CSS
	Outcome  *outcome // why there is nothing to show
	Shown    v1.Settings
	Versions []v1.SettingsVersion
}

// settingsPage shows the settings in use, or an earlier version.
func (s *server) settingsPage(w http.ResponseWriter, r *http.Request) {
	v := settingsView{Status: s.deps.Status(), Style: template.CSS(style), Versions: s.deps.Settings.Versions()}
	shown, err := s.askedVersion(r.URL.Query().Get("version"))
	code := http.StatusOK
	if err != nil {
		var hint string
		code, hint = judged(err)
		v.Outcome = &outcome{Refused: true, Text: err.Error(), Next: hint}
	}
	v.Shown = shown
	s.showPage(w, code, s.page.settings, v)
}

func (s *server) askedVersion(text string) (v1.Settings, error) {
	if text == "" {
		return s.deps.Settings.Version(0)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return v1.Settings{}, fmt.Errorf("%w: version must be a number from 1, not %q", errRequest, clip(text, 40))
	}
	return s.deps.Settings.Version(n)
}
