package scom

import (
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"scomconnector/poller/alert"
)

// Has is whether a server has something.
type Has string

// What is known of an optional thing.
const (
	Yes     Has = "yes"
	No      Has = "no"
	Unknown Has = "unknown"
)

// Features are what not every version of SCOM has, as a console has shown it since its last log-on. Nothing depends on the
// version's number, which REST does not tell.
type Features struct {
	LogOn time.Time // when that was; zero: not yet, and all else is unknown
	Role  string    // what SCOM calls the account's role; empty where it does not say

	CSRF            Has // the token, since 2019 UR1
	AlertColumns    Has // resources/alertColumns
	ManagementGroup Has // data/ManagementGroup, documented since 2022
	AlertDetails    Has // data/alertDetails, documented since 2022: owner, ticket and custom fields can be written
	ResetMonitor    Has // data/resetMonitorByAlertId, documented since 2022
	UTCColumns      Has // lastmodifiedutc

	DateForm string // in which dates are written in criteria: "iso" or "space"
	// Times is what shows that the times in rows are UTC.
	Times string
}

// What may show that times are UTC.
const (
	TimesNamed  = "UTC by the column's name"
	TimesTested = "UTC, tested against SCOM's own comparison"
	TimesUnsure = "not tested yet: SCOM has shown no alert to test them on"
)

// Version is what these features say about SCOM's version, in words.
func (f Features) Version() string {
	switch {
	case f.LogOn.IsZero():
		return "unknown"
	case f.CSRF == No:
		return "1801, 1807 or 2019 before UR1"
	case f.ManagementGroup == Yes && f.AlertDetails == Yes:
		return "2022 or later, or a late 2019"
	case f.ManagementGroup == No && f.AlertDetails == No:
		return "2019 UR1 or later, before 2022"
	}
	return "2019 UR1 or later"
}

// probeOptional bounds each question about something that the main job does without.
const probeOptional = 2 * time.Second

// learn asks what else the console has, and changes nothing: the alert that is asked for does not exist, and the path that resets
// monitors is asked by a method that it cannot have. Whatever goes wrong, the log-on stands.
func (c *console) learn(ctx context.Context, s *session) {
	f := Features{
		LogOn: time.Now(), Role: s.role, CSRF: No, AlertColumns: No, UTCColumns: Unknown, ManagementGroup: Unknown,
		AlertDetails: c.hasDetails(ctx, s), ResetMonitor: c.hasReset(ctx, s),
	}
	if s.has(cookieCSRF) {
		f.CSRF = Yes
	}
	if s.offered != nil {
		f.AlertColumns, f.UTCColumns = Yes, No
		if s.namesUTC() {
			f.UTCColumns = Yes
		}
	}
	s.mu.Lock()
	s.features = f
	s.mu.Unlock()
}

func (c *console) hasDetails(ctx context.Context, s *session) Has {
	a, err := c.optional(ctx, request{method: "GET", path: pathDetails + "/" + (alert.ID{}).String(), session: s, repeatable: true})
	switch {
	case err != nil:
	case a.status == http.StatusOK && !looksHTML(a.body), scomsWords(a.body) != "" && (a.status == http.StatusNotFound || a.status == http.StatusBadRequest):
		return Yes
	case a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed, a.status == http.StatusNotImplemented:
		return No
	}
	return Unknown
}

func (c *console) hasReset(ctx context.Context, s *session) Has {
	a, err := c.optional(ctx, request{method: "GET", path: pathReset, session: s, repeatable: true})
	switch {
	case err != nil:
	case a.status == http.StatusMethodNotAllowed:
		return Yes
	case a.status == http.StatusNotFound:
		return No
	}
	return Unknown
}

func (c *console) optional(ctx context.Context, r request) (small, error) {
	ctx, cancel := context.WithTimeout(ctx, probeOptional)
	defer cancel()
	return c.small(ctx, r)
}

// knownFeatures is what the present session has shown.
func (s *session) knownFeatures(group string) Features {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.features
	f.DateForm, f.Times = s.form, TimesUnsure
	switch {
	case s.proven && f.UTCColumns == Yes && s.form == formISO:
		f.Times = TimesNamed
	case s.proven:
		f.Times = TimesTested
	}
	for path, has := range map[string]*Has{pathDetails: &f.AlertDetails, pathReset: &f.ResetMonitor} {
		if s.lacks[path] { // a real call has shown it
			*has = No
		}
	}
	f.ManagementGroup = s.tellsGroup
	if group != "" {
		f.ManagementGroup = Yes
	}
	return f
}

// parseRole reads the role that SCOM gives the account, "" where it does not say.
func parseRole(body []byte) string {
	var said struct {
		Role string `json:"role"`
	}
	if json.Unmarshal(body, &said, lenient) != nil {
		return ""
	}
	return clip(said.Role)
}
