package api

import (
	"cmp"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	v1 "scomconnector/api/v1"
)

//go:embed act.html
var actHTML string

// deed is something that an operator may do from the page: it has a page of its own, which says what will happen, asks for the token,
// and takes a form under the rules of every other write. Showing it changes nothing.
type deed struct {
	title string
	names []string // what it is done to: fields of the address, and of the form
	// ask is what has to be known before the page can say what will happen; nil: nothing. Its field is among the names.
	ask func(s *server, f fields) choice
	// outlook is what would happen, a sentence each; an error says why it cannot be done.
	outlook func(s *server, now v1.Status, f fields) ([]string, error)
	// choices are further fields of the form; nil: none.
	choices func(now v1.Status, f fields) []choice
	button  string
	limit   time.Duration // how long it may take; 0: as long as any write
	// do does it and says what has happened, and what to look at next.
	do func(s *server, ctx context.Context, by string, f fields) (text, next string, err error)
}

// fields are what a form or an address says.
type fields map[string]string

// choice is one more field of a form: of several, a box to tick, or a text.
type choice struct {
	Name, Label string
	Options     []string // none: a box, or a text
	Selected    string
	Hint        string // of a text
}

// deeds are all of them, by the name in their address.
var deeds = map[string]deed{
	"transfer": {
		title: "Have another node lead", button: "Hand over now", outlook: handingOver, choices: whoMayLead,
		do: func(s *server, ctx context.Context, by string, f fields) (string, string, error) {
			force, err := f.ticked("force")
			if err != nil {
				return "", "", err
			}
			l, err := s.deps.Office.Transfer(ctx, v1.TransferOrder{To: f["to"], Force: force}, by)
			return l.Leader + " leads.", "Nothing more. With Failback auto the Primary takes over again by itself once it has been well for a while.", err
		},
	},
	"retry-request": {
		title: "Try a refused close request again", names: []string{"id"}, button: "Try again now",
		outlook: func(s *server, _ v1.Status, f fields) ([]string, error) {
			r, err := s.refusedRequest(f["id"])
			return []string{
				fmt.Sprintf("The request for alert %s (%s, from %s) goes back into the outbox, and the leader asks SCOM again.", r.Alert, asked(r.OutboxEntry), r.From),
				"SCOM's last word was: " + unended(brief(r.Reason)) + ". If that has not been mended, SCOM refuses it again, and it is parked again.",
			}, err
		},
		do: func(s *server, ctx context.Context, _ string, f fields) (string, string, error) {
			return fmt.Sprintf("Request %s is in the outbox again.", f["id"]), "Look at the close requests on the status page: it tells where it stands.", s.deps.Closes.Retry(ctx, f["id"])
		},
	},
	"remove-request": {
		title: "Give up a refused close request", names: []string{"id"}, button: "Give it up",
		outlook: func(s *server, _ v1.Status, f fields) ([]string, error) {
			r, err := s.refusedRequest(f["id"])
			return []string{
				fmt.Sprintf("The request for alert %s (%s, from %s) is taken away for good. Nothing is sent to SCOM.", r.Alert, asked(r.OutboxEntry), r.From),
				"Moogsoft and SCOM go on to disagree about this alert until somebody changes one of the two.",
			}, err
		},
		do: func(s *server, ctx context.Context, _ string, f fields) (string, string, error) {
			return fmt.Sprintf("Request %s is removed.", f["id"]), "", s.deps.Closes.Discard(ctx, f["id"])
		},
	},
	"rewind": {
		title: "Put a cursor back", names: []string{"pipeline", "to"}, button: "Put it back now", outlook: puttingBack,
		ask: func(s *server, f fields) choice {
			c := choice{Name: "to", Label: "Send again what SCOM shows from (UTC)", Selected: f["to"]}
			if at, err := s.cursorOf(f["pipeline"], time.Time{}); err == nil {
				c.Selected = cmp.Or(c.Selected, at.Cursor.Add(-time.Hour).UTC().Format(time.RFC3339))
				c.Hint = fmt.Sprintf("The cursor stands at %s; the earliest is %s. How long ago, such as 6h or 7d, will do, too.", at.Cursor.UTC().Format(time.RFC3339), at.Earliest.UTC().Format(time.RFC3339))
			}
			return c
		},
		do: func(s *server, ctx context.Context, by string, f fields) (string, string, error) {
			to, err := momentOf(f["to"])
			if err != nil {
				return "", "", err
			}
			back, err := s.deps.Cursors.Rewind(ctx, v1.RewindOrder{Pipeline: f["pipeline"], To: to}, by)
			return fmt.Sprintf("The cursor of %s stands at %s again; it was at %s.", back.Pipeline, machine(back.To), machine(back.From)),
				"Look at the pipeline on the status page: it tells how far it has come.", err
		},
	},
	"retry-alert": {
		title: "Send a parked alert again", names: []string{"pipeline", "key"}, button: "Send it again now", limit: resendDeadline,
		outlook: func(s *server, _ v1.Status, f fields) ([]string, error) {
			p, err := s.deps.Parked.Entry(f["pipeline"], f["key"])
			return []string{
				fmt.Sprintf("The leader sends what %s has parked under %s to Moogsoft again (%d bytes, as they were), and this page waits for the answer.", f["pipeline"], f["key"], len(p.Payload)),
				"The reason was: " + unended(brief(p.Entry.Reason)) + ". If that has not been mended it is refused again, and stays parked.",
			}, err
		},
		do: func(s *server, ctx context.Context, _ string, f fields) (string, string, error) {
			d, err := s.deps.Parked.Resend(ctx, f["pipeline"], f["key"])
			if d.Status == v1.RetryOvertaken {
				return fmt.Sprintf("Entry %s is off the shelf: a later state of that alert has reached Moogsoft already, and nothing was sent.", f["key"]), "", err
			}
			return fmt.Sprintf("Moogsoft has taken entry %s; it is parked no more.", f["key"]), "", err
		},
	},
	"remove-alert": {
		title: "Remove a parked alert", names: []string{"pipeline", "key"}, button: "Remove it",
		outlook: func(s *server, _ v1.Status, f fields) ([]string, error) {
			p, err := s.deps.Parked.Entry(f["pipeline"], f["key"])
			return []string{
				fmt.Sprintf("The entry %s of %s is taken away for good, with what was refused (%d bytes). Nothing is sent to Moogsoft.", f["key"], f["pipeline"], len(p.Payload)),
				"The reason was: " + unended(brief(p.Entry.Reason)) + ". Later changes of that alert are sent as those of any other.",
			}, err
		},
		do: func(s *server, ctx context.Context, _ string, f fields) (string, string, error) {
			return fmt.Sprintf("Entry %s is removed.", f["key"]), "", s.deps.Parked.Remove(ctx, f["pipeline"], f["key"])
		},
	},
}

// puttingBack says what a rewind would do.
func puttingBack(s *server, _ v1.Status, f fields) ([]string, error) {
	to, err := momentOf(f["to"])
	if err != nil {
		return nil, err
	}
	at, err := s.cursorOf(f["pipeline"], to)
	switch {
	case err != nil:
		return nil, err
	case to.Before(at.Earliest):
		return nil, fmt.Errorf("%w: the earliest is %s, since SCOM has groomed what was resolved before", ErrRewind, machine(at.Earliest))
	case !to.Before(at.Cursor):
		return nil, fmt.Errorf("%w: the cursor stands at %s already; it goes back, and does not skip what was not delivered", ErrRewind, machine(at.Cursor))
	}
	return []string{
		fmt.Sprintf("The cursor of %s goes back from %s to %s, %s.", at.Pipeline, machine(at.Cursor), machine(to), span(at.Cursor.Sub(to))),
		fmt.Sprintf("%s alerts that were sent with a state from then on are sent again, and closed ones that were forgotten already. Moogsoft folds what arrives twice by its signature.", number(at.Again)),
		"Nothing is lost. It is sent one span of time after the other, the oldest first; new alerts wait until what is behind them has been sent.",
	}, nil
}

// unended is a text without its full stop, for a sentence that goes on.
func unended(s string) string { return strings.TrimRight(s, ". ") }

// cursorOf is a pipeline's cursor, with what would be sent again from a time on.
func (s *server) cursorOf(pipeline string, to time.Time) (v1.Cursor, error) {
	for _, c := range s.deps.Cursors.List(to) {
		if c.Pipeline == pipeline {
			return c, nil
		}
	}
	return v1.Cursor{}, fmt.Errorf("pipeline %q: %w", clip(pipeline, 64), ErrNotFound)
}

func momentOf(text string) (time.Time, error) {
	to, err := v1.Moment(text, time.Now())
	if err != nil {
		return to, fmt.Errorf("%w: the time %q: %w", errRequest, clip(text, 40), err)
	}
	return to, nil
}

// refusedRequest is a parked close request.
func (s *server) refusedRequest(id string) (v1.ParkedRequest, error) {
	for _, r := range s.deps.Closes.ParkedRequests() {
		if r.ID == id {
			return r, nil
		}
	}
	return v1.ParkedRequest{}, fmt.Errorf("parked request %q: %w", clip(id, 64), ErrNotFound)
}

// handingOver says what a transfer would do.
func handingOver(_ *server, now v1.Status, _ fields) ([]string, error) {
	switch {
	case len(workers(now)) < 2:
		return nil, fmt.Errorf("%w: the cluster has no other node that could lead", ErrUnfit)
	case now.Leader == "":
		return nil, fmt.Errorf("%w to hand over", ErrNoLeader)
	}
	other := sibling(now, now.Leader)
	text := []string{
		fmt.Sprintf("%s finishes what it has begun and hands over to %s, which goes on from there: nothing is lost or sent twice. Nobody is put into maintenance.", now.Leader, other.Node),
		fmt.Sprintf("%s is asked first whether it reaches SCOM and a LAM; if it does not, this is refused unless forced.", other.Node),
	}
	if why := unable(other); why != "" {
		text = append(text, "At this moment it would be refused: "+why+".")
	} else if other.Maintenance {
		text = append(text, fmt.Sprintf("At this moment it would be refused: %s is in maintenance.", other.Node))
	}
	return text, nil
}

func whoMayLead(now v1.Status, f fields) []choice {
	to := choice{Name: "to", Label: "Who leads then", Selected: f["to"]}
	for _, m := range workers(now) {
		if m.Node != now.Leader {
			to.Options = append(to.Options, m.Node)
		}
	}
	return []choice{to, {Name: "force", Label: "Force: also if that node reaches neither SCOM nor a LAM"}}
}

// actView is what the template of these pages sees.
type actView struct {
	v1.Status
	Style     template.CSS
	Title     string
	Outcome   *outcome // nil: nothing was sent yet
	Outlook   []string
	Hidden    fields
	Ask       *choice // what has to be known first
	Choices   []choice
	Button    string // empty: there is nothing to press
	Barred    string
	AsksToken bool
	Code      string
	Path      string
}

// actPage shows what would happen.
func (s *server) actPage(w http.ResponseWriter, r *http.Request) {
	d, ok := deeds[mux.Vars(r)["act"]]
	if !ok {
		refuse(w, errNoRoute)
		return
	}
	f := fields{}
	for _, name := range d.allowed(s.deps.Status(), nil) {
		f[name] = r.URL.Query().Get(name)
	}
	s.showAct(w, r, http.StatusOK, d, f, nil)
}

// actForm does what the form says.
func (s *server) actForm(w http.ResponseWriter, r *http.Request) {
	name := mux.Vars(r)["act"]
	d, ok := deeds[name]
	if !ok {
		refuse(w, errNoRoute)
		return
	}
	f, formErr := readFields(r, append(d.allowed(s.deps.Status(), nil), "code", "token"))
	by, err := s.operator(r, f["token"], f["token"] != "")
	if err != nil {
		s.audit.refused(r, err, s.strangers)
		s.refuseAct(w, r, d, f, err)
		return
	}
	var is outcome
	_, err = s.carryOut(r, by, cmp.Or(d.limit, writeDeadline), func(r *http.Request, by string) (done, error) {
		what := done{what: "page: " + strings.TrimSpace(name+" "+d.target(f))}
		if formErr != nil {
			return what, formErr
		}
		if err := s.codes.use(f["code"], d.form(f), r.RemoteAddr); err != nil {
			return what, err
		}
		var err error
		is.Text, is.Next, err = d.do(s, r.Context(), by, f)
		return what, err
	})
	if err != nil {
		s.refuseAct(w, r, d, f, err)
		return
	}
	s.showAct(w, r, http.StatusOK, d, f, &is)
}

// allowed are the fields that the form may have beside code and token.
func (d deed) allowed(now v1.Status, f fields) []string {
	all := slices.Clone(d.names)
	if d.choices != nil {
		for _, c := range d.choices(now, f) {
			all = append(all, c.Name)
		}
	}
	return all
}

// target is what it is done to, for the audit.
func (d deed) target(f fields) string {
	var all []string
	for _, name := range d.names {
		all = append(all, fmt.Sprintf("%s=%q", name, clip(f[name], 80)))
	}
	return strings.Join(all, " ")
}

// form is what a code is for: this deed, to this target.
func (d deed) form(f fields) string { return d.title + "\x00" + d.target(f) }

// refuseAct answers with the page, since a person reads it; one who may not read the page is only told why.
func (s *server) refuseAct(w http.ResponseWriter, r *http.Request, d deed, f fields, err error) {
	if !s.mayRead(r) && (!s.operators.set() || !s.operators.is(f["token"])) {
		refuse(w, err)
		return
	}
	code, hint := judged(err)
	challenge(w, code, err)
	s.showAct(w, r, code, d, f, &outcome{Refused: true, Text: err.Error(), Next: formHint(err, hint)})
}

// formHint is the hint as somebody needs it who sits before a form.
func formHint(err error, hint string) string {
	switch {
	case errors.Is(err, errNoToken), errors.Is(err, errWrongToken):
		return "type the content of the file that Auth.OperatorTokenFile names in this node's node.json"
	case errors.Is(err, ErrWarned):
		return "read the reasons; who accepts them ticks Force"
	}
	return hint
}

func (s *server) showAct(w http.ResponseWriter, r *http.Request, code int, d deed, f fields, is *outcome) {
	v := actView{Status: s.deps.Status(), Style: template.CSS(style), Title: d.title, Outcome: is, Hidden: fields{}, AsksToken: s.operators.set(), Barred: s.barred(r), Path: r.URL.EscapedPath()}
	for _, name := range d.names {
		v.Hidden[name] = f[name]
	}
	if d.ask != nil && (is == nil || is.Refused) {
		c := d.ask(s, f)
		v.Ask = &c
	}
	if asked := v.Ask == nil || f[v.Ask.Name] != ""; asked && (is == nil || is.Refused) {
		text, err := d.outlook(s, v.Status, f)
		if v.Outlook = text; err == nil {
			v.Button, v.Code = d.button, s.codes.issue(d.form(f), r.RemoteAddr)
			if d.choices != nil {
				v.Choices = d.choices(v.Status, f)
			}
		} else if v.Outlook = nil; is == nil {
			var hint string
			code, hint = judged(err)
			v.Outcome = &outcome{Refused: true, Text: err.Error(), Next: hint}
		}
	}
	formHeaders(w)
	s.showPage(w, code, s.page.act, v)
}

// readFields reads a form strictly: each field once, and none that is not there. With an error it returns what it could read.
func readFields(r *http.Request, names []string) (fields, error) {
	f := fields{}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return f, fmt.Errorf("%w: %q", errMediaType, clip(r.Header.Get("Content-Type"), 40))
	}
	err = r.ParseForm()
	for _, name := range names {
		f[name] = r.PostForm.Get(name)
	}
	f["token"] = strings.TrimSpace(f["token"])
	if err != nil {
		if err := tooLarge(err); err != nil {
			return f, err
		}
		return f, fmt.Errorf("%w: the form cannot be read: %w", errRequest, err)
	}
	return f, onlyOnce(r.PostForm, names)
}

func onlyOnce(form url.Values, names []string) error {
	for name, values := range form {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%w: the form has no field %q", errRequest, clip(name, 40))
		}
		if len(values) > 1 {
			return fmt.Errorf("%w: the field %q is there %d times", errRequest, name, len(values))
		}
	}
	return nil
}
