package api

import (
	"cmp"
	_ "embed" // the page
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	v1 "scomconnector/api/v1"
)

//go:embed maintenance.html
var maintenanceHTML string

func (s *server) maintenance(w http.ResponseWriter, _ *http.Request) {
	status := s.deps.Status()
	l := v1.Leadership{Leader: status.Leader, Maintenance: status.Maintenance}
	fill(&l.Maintenance)
	answerJSON(w, http.StatusOK, l)
}

// maintenancePage shows who leads, what would happen, and the form. It changes nothing.
func (s *server) maintenancePage(w http.ResponseWriter, r *http.Request) {
	asked := formOrder{node: r.URL.Query().Get("node"), action: r.URL.Query().Get("action")}
	s.showMaintenance(w, r, http.StatusOK, asked, nil)
}

// formOrder is what a form says.
type formOrder struct {
	node, action  string // "enter", "leave", "takeover"
	force, sticky bool
	code, token   string
}

// form names the form that an action belongs to: a code is for one of them.
func (o formOrder) form() string {
	if o.action == "takeover" {
		return "takeover"
	}
	return "maintenance"
}

// outcome is what became of a form.
type outcome struct {
	Refused    bool
	Text, Next string
}

// maintenanceForm does what the page's form says, under the rules of every other write.
func (s *server) maintenanceForm(w http.ResponseWriter, r *http.Request) {
	f, formErr := readFields(r, []string{"node", "action", "force", "sticky", "code", "token"})
	o, formErr := f.order(formErr)
	by, err := s.operator(r, o.token, o.token != "")
	if err != nil {
		s.audit.refused(r, err, s.strangers)
		s.refuseForm(w, r, o, err)
		return
	}
	var l v1.Leadership
	limit := writeDeadline
	if o.action == "takeover" {
		limit = takeoverDeadline
	}
	_, err = s.carryOut(r, by, limit, func(r *http.Request, by string) (d done, err error) {
		if formErr != nil {
			return done{}, formErr
		}
		if err := s.codes.use(o.code, o.form(), r.RemoteAddr); err != nil {
			return done{}, err
		}
		if o.action == "takeover" {
			l, d, err = s.takeOver(r, by, v1.TakeoverOrder{Force: o.force})
			return d, err
		}
		l, d, err = s.maintain(r, by, v1.MaintenanceOrder{Node: o.node, Action: o.action, Force: o.force, Sticky: o.sticky && o.action == "enter"})
		return d, err
	})
	if err != nil {
		s.refuseForm(w, r, o, err)
		return
	}
	var is outcome
	is.Text, is.Next = happened(o, l, s.deps.Status())
	s.showMaintenance(w, r, http.StatusOK, formOrder{node: o.node}, &is) // the form offers the way back
}

// refuseForm answers with the page, since a person reads it; one who may not read the page is only told why.
func (s *server) refuseForm(w http.ResponseWriter, r *http.Request, o formOrder, err error) {
	if !s.mayRead(r) && (!s.operators.set() || !s.operators.is(o.token)) {
		refuse(w, err)
		return
	}
	code, hint := judged(err)
	challenge(w, code, err)
	s.showMaintenance(w, r, code, o, &outcome{Refused: true, Text: err.Error(), Next: formHint(err, hint)})
}

// order is what a form says, as far as it could be read.
func (f fields) order(err error) (formOrder, error) {
	o := formOrder{node: f["node"], action: f["action"], code: f["code"], token: f["token"]}
	var forceErr, stickyErr error
	o.force, forceErr = f.ticked("force")
	o.sticky, stickyErr = f.ticked("sticky")
	return o, cmp.Or(err, forceErr, stickyErr)
}

// ticked reads a check box, which is absent where it is not ticked.
func (f fields) ticked(name string) (bool, error) {
	switch v := f[name]; v {
	case "true", "on", "1":
		return true, nil
	case "", "false", "off", "0":
		return false, nil
	default:
		return false, fmt.Errorf("%w: %s must be true or false, not %q", errRequest, name, clip(v, 40))
	}
}

// maintenanceView is what the template of the maintenance page sees.
type maintenanceView struct {
	v1.Status
	Style        template.CSS
	Outcome      *outcome // nil: nothing was sent yet
	Prospects    []prospect
	Selected     prospect // of the form; what it says is what pressing the button does
	Sticky       bool
	Notice       string // the address asks for something that is not there
	Barred       string // why the form would be refused from where it is read
	AsksToken    bool
	Code         string
	TakeoverCode string
	Loss         []string
}

func (s *server) showMaintenance(w http.ResponseWriter, r *http.Request, code int, o formOrder, is *outcome) {
	status := s.deps.Status()
	v := maintenanceView{
		Status: status, Style: template.CSS(style), Outcome: is, Prospects: prospects(status), AsksToken: s.operators.set(),
		Code: s.codes.issue("maintenance", r.RemoteAddr), TakeoverCode: s.codes.issue("takeover", r.RemoteAddr), Loss: Loss(status),
	}
	v.Selected, v.Notice = v.selected(o)
	v.Sticky = is != nil && is.Refused && o.sticky
	v.Barred = s.barred(r)
	formHeaders(w)
	s.showPage(w, code, s.page.maintenance, v)
}

// barred is why a form would be refused from where it is read; empty if not.
func (s *server) barred(r *http.Request) string {
	if s.operators.set() {
		return ""
	}
	err := s.atTheMachine(r)
	if err == nil {
		return ""
	}
	_, hint := judged(err)
	return err.Error() + ": " + hint
}

// formHeaders let a page send its form.
func formHeaders(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", formPolicy)
	// With no-referrer browsers give "null" as the origin of a form, and that could be anybody's.
	w.Header().Set("Referrer-Policy", "same-origin")
}

// selected is what the form shows first: what the address asks for, else the leader's way into maintenance. An address that asks for
// something that is not there presets nothing: who mistyped would press the button for something else.
func (v maintenanceView) selected(o formOrder) (p prospect, notice string) {
	if len(v.Prospects) == 0 {
		return prospect{}, ""
	}
	find := func(node string) int {
		return slices.IndexFunc(v.Prospects, func(p prospect) bool { return p.Node == node })
	}
	if i := max(0, find(v.Leader)); o.node == "" {
		p = v.Prospects[i]
	} else if i := find(o.node); i >= 0 {
		p = v.Prospects[i]
	} else {
		return prospect{}, fmt.Sprintf("There is no node %q that could lead; choose node and action below.", clip(o.node, 64))
	}
	switch o.action {
	case "", "takeover", p.Action:
	case "enter": // it is in maintenance already
		p.Action, p.Text = "enter", fmt.Sprintf("%s is in maintenance already; to enter again changes only whether a restart ends it.", p.Node)
	case "leave":
		p.Action, p.Text, p.Refused = "leave", fmt.Sprintf("%s is not in maintenance; to leave it changes nothing.", p.Node), false
	default:
		return prospect{}, fmt.Sprintf("There is no action %q: a node can enter maintenance or leave it; choose node and action below.", clip(o.action, 40))
	}
	return p, notice
}

// Moment tells a time both as a time and as how far off it is.
func (v maintenanceView) Moment(t time.Time) string {
	return fmt.Sprintf("in %s, at %s UTC", until(v.Time, t), t.UTC().Format("15:04:05"))
}
