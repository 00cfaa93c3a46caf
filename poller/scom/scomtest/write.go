package scomtest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// failure is why one alert could not be changed. All null, it stands beside a success: SCOM's own
// sample has such a dummy.
type failure struct {
	AlertID        *string `json:"alertId"`
	FailureMessage *string `json:"failureMessage"`
	ExceptionType  *string `json:"exceptionType"`
}

// setStates answers data/alertResolutionStates. Refusals are HTTP 200 with isFailure.
func (c *Console) setStates(w http.ResponseWriter, r *request) {
	var q struct {
		AlertIDs        []string        `json:"alertIds"`
		ResolutionState json.RawMessage `json:"resolutionState"` // 255, and "255" works too
		Comment         string          `json:"comment"`
	}
	if err := json.Unmarshal(r.body, &q); err != nil {
		refuse(w, http.StatusBadRequest, "The request is invalid: "+err.Error())
		return
	}
	state, err := strconv.Atoi(strings.Trim(string(q.ResolutionState), `"`))
	if err != nil || state < 0 || state > 255 || len(q.AlertIDs) == 0 {
		refuse(w, http.StatusBadRequest, "The request is invalid: alertIds and a resolutionState of 0 to 255 are needed.")
		return
	}
	if !c.mayWrite(w, r) {
		return
	}
	failures := []failure{}
	for _, id := range q.AlertIDs {
		if f := c.group.write(id, r.session.user, q.Comment, func(a *Alert) {
			a.setState(state, r.session.user, c.group.now())
		}); f != nil {
			if c.group.opt.BracedFailures {
				braced := "{" + strings.ToUpper(id) + "}"
				f.AlertID = &braced
			}
			failures = append(failures, *f)
		}
	}
	c.maybeHang(r)
	failed := len(failures) > 0
	if c.group.opt.Version == "1801" { // the documentation of 2018 has a bare boolean
		writeJSON(w, !failed)
		return
	}
	if !failed {
		failures = append(failures, failure{})
	}
	writeJSON(w, map[string]any{"failures": failures, "isFailure": failed})
}

// maybeHang keeps the answer to a change that was made.
func (c *Console) maybeHang(r *request) {
	if r.faults.DoThenHang {
		c.hang(r.Context())
	}
}

// mayWrite answers itself where the account's role may only read.
func (c *Console) mayWrite(w http.ResponseWriter, r *request) bool {
	if strings.HasPrefix(r.session.role, "Read-") {
		refuse(w, http.StatusForbidden, "The user does not have sufficient permission to perform the operation.")
		return false
	}
	return true
}

// write changes an alert as a person at a console would: not every alert can be closed.
func (g *Group) write(id, by, comment string, edit func(*Alert)) *failure {
	g.mu.Lock()
	defer g.mu.Unlock()
	var refused *failure
	row := &HistoryRow{ModifiedBy: by, Comments: comment}
	done := g.changeLocked(id, -1, row, func(a *Alert) bool {
		before := a.ResolutionState
		edit(a)
		if a.ResolutionState != Closed || before == Closed || !a.IsMonitorAlert || !a.Unhealthy || !g.atLeast("2019") {
			return true
		}
		if g.opt.ResetOnClose && g.atLeast("2022") {
			a.Unhealthy = false
			return true
		}
		refused = newFailure(id, "The current alert cannot be closed as the monitor that has generated this alert is still unhealthy",
			"AlertMonitorUnhealthyException")
		return false
	})
	if !done && refused == nil {
		refused = newFailure(id, "The object with id "+id+" was not found.", "ObjectNotFoundException")
	}
	return refused
}

func newFailure(id, message, exception string) *failure {
	exception = "Microsoft.EnterpriseManagement.Common." + exception
	return &failure{AlertID: &id, FailureMessage: &message, ExceptionType: &exception}
}

// details is the object of data/alertDetails, read and written whole.
type details struct {
	ID                 string    `json:"id"`
	Source             *string   `json:"source"`
	SourceID           *string   `json:"sourceId"`
	Priority           string    `json:"priority"`
	Severity           string    `json:"severity"`
	IsMonitorAlert     bool      `json:"isMonitorAlert"`
	Age                string    `json:"age"`
	RepeatCount        int64     `json:"repeatCount"`
	RuleName           *string   `json:"ruleName"`
	MonitorName        *string   `json:"monitorName"`
	TypeSourceID       *string   `json:"typeSourceId"`
	Owner              *string   `json:"owner"`
	TicketID           *string   `json:"ticketId"`
	ResolutionState    string    `json:"resolutionState"`
	CustomFields       []*string `json:"customFields"`
	AlertUpdateFailure struct {
		FailureMessage *string `json:"failureMessage"`
		ExceptionType  *string `json:"exceptionType"`
	} `json:"alertUpdateFailure"`
}

func (c *Console) details(w http.ResponseWriter, r *request) {
	if d, ok := c.group.detailsOf(r.id); ok {
		writeJSON(w, d)
		return
	}
	refuse(w, http.StatusNotFound, "The object with id "+r.id+" was not found.")
}

func (g *Group) detailsOf(id string) (*details, bool) {
	a, ok := g.Get(id)
	if !ok {
		return nil, false
	}
	d := &details{
		ID: a.ID, Source: null(a.ObjectDisplayName), SourceID: null(a.ObjectID),
		Priority: [...]string{"Low", "Normal", "High"}[min(2, max(0, a.Priority))], Severity: severityName(a.Severity),
		IsMonitorAlert: a.IsMonitorAlert, Age: age(g.now().Sub(a.TimeAdded)), RepeatCount: a.RepeatCount,
		MonitorName: null(a.MonitorName), TypeSourceID: null(a.RuleID), Owner: null(a.Owner), TicketID: null(a.TicketID),
		ResolutionState: strconv.Itoa(a.ResolutionState),
	}
	if !a.IsMonitorAlert {
		d.RuleName = null(a.Name)
	}
	for _, f := range a.CustomFields {
		d.CustomFields = append(d.CustomFields, null(f))
	}
	return d, true
}

func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// setDetails writes the whole object back: what the request leaves out is cleared. Nobody has
// documented that; a client that posts half of the object must not look harmless here.
func (c *Console) setDetails(w http.ResponseWriter, r *request) {
	var q details
	if err := json.Unmarshal(r.body, &q); err != nil {
		refuse(w, http.StatusBadRequest, "The request is invalid: "+err.Error())
		return
	}
	state, err := strconv.Atoi(q.ResolutionState)
	if err != nil || state < 0 || state > 255 || len(q.CustomFields) > 10 {
		refuse(w, http.StatusBadRequest, "The request is invalid.")
		return
	}
	if !c.mayWrite(w, r) {
		return
	}
	user := r.session.user
	f := c.group.write(q.ID, user, "Alert properties changed.", func(a *Alert) {
		if a.ResolutionState != state {
			a.setState(state, user, c.group.now())
		}
		a.LastModifiedBy, a.Owner, a.TicketID = user, text(q.Owner), text(q.TicketID)
		a.CustomFields = [10]string{}
		for i, v := range q.CustomFields {
			a.CustomFields[i] = text(v)
		}
	})
	c.maybeHang(r)
	d, ok := c.group.detailsOf(q.ID)
	if !ok {
		d = &q
	}
	if f != nil {
		d.AlertUpdateFailure.FailureMessage, d.AlertUpdateFailure.ExceptionType = f.FailureMessage, f.ExceptionType
	}
	writeJSON(w, d)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// resetMonitor makes the monitor behind an alert healthy. The alert stays as it is: the monitor's own
// next verdict would close it, and a simulated one never has any.
func (c *Console) resetMonitor(w http.ResponseWriter, r *request) {
	var id string
	if err := json.Unmarshal(r.body, &id); err != nil || !validGUID(id) {
		refuse(w, http.StatusBadRequest, "The request is invalid: the body is not an alert id.")
		return
	}
	if !c.mayWrite(w, r) {
		return
	}
	err := c.group.ResetMonitor(id)
	c.maybeHang(r)
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	writeJSON(w, true)
}

// ResetMonitor makes the monitor behind an alert healthy.
func (g *Group) ResetMonitor(id string) error {
	found := g.change(id, -1, &HistoryRow{ModifiedBy: "System", Comments: "The monitor was reset."}, func(a *Alert) bool {
		a.Unhealthy = false
		a.StateLastModified = sqlTime(g.now())
		return true
	})
	if !found {
		return errors.New("The object with id " + id + " was not found.") //nolint:staticcheck // SCOM's own words
	}
	return nil
}
