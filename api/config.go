package api

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	v1 "scomconnector/api/v1"
)

// Settings is the cluster-wide settings as an operator sees and changes them. Calls may overlap. Errors are those of this
// package; reading never blocks.
type Settings interface {
	// Version is one of the versions that are kept, secrets hidden; 0 is the one in use.
	Version(n uint64) (v1.Settings, error)
	// Versions lists those that are kept, newest first, without their texts.
	Versions() []v1.SettingsVersion
	// Apply makes the text the settings in use if c.Expect is still their version. It returns once this node knows the new
	// version. A text that is in use already is no new version, and no error whatever c.Expect is: who repeats a request
	// whose answer was lost must not be told that somebody else was faster.
	Apply(ctx context.Context, c Change) (Applied, error)
}

// Change is a new text of the settings.
type Change struct {
	Text   []byte
	Expect uint64 // the version that it replaces; 0: there is none yet
	From   uint64 // the version whose hidden secrets stand where the text says (hidden); 0: the one in use
	Author string
}

// Applied is what Apply did.
type Applied struct {
	Version uint64   // in use now
	Changed []string // the keys; none if the text was in use already
	// Unchecked are the members that could not be asked whether the text is usable there.
	Unchecked []string
}

func (s *server) config(w http.ResponseWriter, r *http.Request) {
	n, err := versionParam(r, "version")
	if err != nil {
		refuse(w, err)
		return
	}
	settings, err := s.deps.Settings.Version(n)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("ETag", etag(settings.Version))
	answerJSON(w, http.StatusOK, settings)
}

func (s *server) configVersions(w http.ResponseWriter, _ *http.Request) {
	all := v1.SettingsVersions{Versions: s.deps.Settings.Versions()}
	fill(&all.Versions)
	answerJSON(w, http.StatusOK, all)
}

func (s *server) applyConfig(r *http.Request, by string) (done, error) {
	expect, err := ifMatch(r)
	if err != nil {
		return done{}, err
	}
	from, err := versionParam(r, "from")
	if err != nil {
		return done{}, err
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return done{}, cmp.Or(tooLarge(err), fmt.Errorf("%w: its body ends too early: %w", errRequest, err))
	}
	applied, err := s.deps.Settings.Apply(r.Context(), Change{Text: text, Expect: expect, From: from, Author: by + ", from " + r.RemoteAddr})
	if err != nil {
		return done{}, err
	}
	what := fmt.Sprintf("settings: version %d is in use already", applied.Version)
	if len(applied.Changed) > 0 {
		what = fmt.Sprintf("settings: version %d in place of %d, changed: %s", applied.Version, expect, strings.Join(applied.Changed, ", "))
	}
	if len(applied.Unchecked) > 0 {
		what += "; not checked by " + strings.Join(applied.Unchecked, ", ")
	}
	answer := v1.SettingsApplied{Version: applied.Version, Unchecked: applied.Unchecked}
	fill(&answer.Unchecked)
	return done{body: answer, what: what, etag: etag(applied.Version)}, nil
}

func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// ifMatch is the version that the client has changed. The quotation marks, which a shell eats easily, may be missing.
func ifMatch(r *http.Request) (uint64, error) {
	given := strings.TrimSpace(strings.Join(r.Header.Values("If-Match"), ","))
	if given == "" {
		return 0, errNoMatch
	}
	n, err := strconv.ParseUint(strings.Trim(given, `"`), 10, 64)
	if err != nil {
		return 0, fmt.Errorf(`%w: If-Match must be one version, such as "3", not %q`, errRequest, clip(given, 40))
	}
	return n, nil
}

// versionParam is a version in the query; 0 if it is not given.
func versionParam(r *http.Request, name string) (uint64, error) {
	given := r.URL.Query().Get(name)
	if given == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(given, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: %s must be a number from 1, not %q", errRequest, name, clip(given, 40))
	}
	return n, nil
}
