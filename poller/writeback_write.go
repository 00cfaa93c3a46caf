package poller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"scomconnector/poller/alert"
)

// shownNow is what SCOM showed of a group before it is written.
type shownNow struct {
	alerts map[alert.ID]*alert.Alert
	broken map[alert.ID]bool // shown, but not to be understood
	date   alert.Millis      // the console's
	began  time.Time         // our clock, before the question
}

// carryOut brings the group, which SCOM has just shown like that, as far as it gets now. The error is an *alert.Fault, the term's
// end, or ctx's.
func (w *Writeback) carryOut(ctx context.Context, group []Close, now shownNow) error {
	var settled []Settlement
	var todo, doubtful []Close
	for _, c := range group {
		switch p := w.progressOf(c.ID); {
		case w.satisfied(c, now):
			settled = append(settled, p.done(c))
		case p.doubt && (!c.Keep || c.Comment != ""): // else no write of it carries a mark: see overtaken
			doubtful = append(doubtful, c)
		default:
			todo = append(todo, c)
		}
	}
	marked, err := w.lookUp(ctx, doubtful)
	for _, c := range doubtful {
		p := w.progressOf(c.ID)
		switch mark, known := marked[c.ID]; {
		case mark:
			p.touched = true
			// The mark tells of the state, before which the fields' turn was.
			if a := now.alerts[c.Alert]; !p.fieldsDone && a != nil && !showsFields(a, c.Fields) {
				p.lacking = unknownFields(c, a)
			}
			settled = append(settled, p.done(c))
		case known:
			p.doubt = false
			todo = append(todo, c)
		}
	}
	if len(todo) > 0 && !w.ended(ctx) && err == nil {
		var more []Settlement
		more, err = w.write(ctx, todo, now)
		settled = append(settled, more...)
	}
	// What is known is recorded first, whatever befell the rest.
	if e := w.settle(ctx, settled); e != nil {
		return e
	}
	return err
}

// done is the settlement of a request whose state SCOM shows, or has taken.
func (p *progress) done(c Close) Settlement {
	switch {
	case p.lacking != "":
		reason := p.lacking
		if !c.Keep {
			reason = fmt.Sprintf("the resolution state was set to %d, but %s", c.State, reason)
		}
		return refusal(c, reason)
	case p.touched:
		return Settlement{ID: c.ID, Outcome: Done}
	}
	return Settlement{ID: c.ID, Outcome: Already}
}

// maxReason bounds a settlement's reason, as the outbox does.
const maxReason = 1 << 10

func refusal(c Close, reason string) Settlement {
	return Settlement{ID: c.ID, Outcome: Refused, Reason: cut(reason, maxReason)}
}

// look reads the alerts as SCOM shows them now.
func (w *Writeback) look(ctx context.Context, group []Close) (shownNow, error) {
	now := shownNow{alerts: make(map[alert.ID]*alert.Alert, len(group)), broken: make(map[alert.ID]bool), began: time.Now()}
	ids := make([]alert.ID, len(group))
	for i, c := range group {
		ids[i] = c.Alert
	}
	ans, err := w.target.Poll(ctx, alert.Query{IDs: ids}, func(r alert.Row) error {
		if r.Alert == nil {
			now.broken[r.ID] = true
			return nil
		}
		a := *r.Alert
		now.alerts[r.ID] = &a
		return nil
	})
	now.date = ans.ServerDate
	return now, err
}

func (n shownNow) shows(id alert.ID) bool { return n.alerts[id] != nil || n.broken[id] }

// satisfied reports whether SCOM shows what is asked for, so that nothing need be written. A request that changes fields is
// never known to be from here: its call compares them.
func (w *Writeback) satisfied(c Close, now shownNow) bool {
	p := w.progressOf(c.ID)
	a := now.alerts[c.Alert]
	if c.Keep || len(c.Fields) > 0 && !p.fieldsDone || a == nil || a.ResolutionState != c.State {
		return false
	}
	return !w.echoes.stale(a.Version())
}

// lookUp reports which requests' marks stand in the histories of their alerts; those that are missing in the answer could not be
// looked up.
func (w *Writeback) lookUp(ctx context.Context, doubtful []Close) (marked map[string]bool, err error) {
	var mu sync.Mutex // guards marked and err
	marked = make(map[string]bool, len(doubtful))
	for some := range slices.Chunk(doubtful, lookUps) {
		if err != nil || w.ended(ctx) {
			break
		}
		var wg sync.WaitGroup
		for _, c := range some {
			wg.Go(func() {
				found, e := w.target.Marked(ctx, c.Alert, []string{c.ID})
				mu.Lock()
				defer mu.Unlock()
				if e != nil && !errors.Is(e, alert.ErrUnsupported) {
					err = e
					w.unanswered(c, 1, e)
					return
				}
				marked[c.ID] = len(found) > 0 // where there is no history the state alone decides
			})
		}
		wg.Wait()
	}
	return marked, err
}

// unanswered has a request wait after a write or look-up of n requests without an answer. It lets the others go first: the reason may
// be this one's alert.
func (w *Writeback) unanswered(c Close, n int, err error) {
	p := w.progressOf(c.ID)
	wait := backoff(w.cfg.LowerBackoff, w.cfg.UpperBackoff, p.faults, w.rand(), 0)
	p.faults++
	if p.doubt {
		wait = max(wait, landing)
	}
	p.after = time.Now().Add(wait)
	p.share = max(1, n/2)
	w.board.note(c.ID, "no answer from SCOM, tried again at "+p.after.UTC().Format("15:04:05 UTC")+": "+err.Error())
}

// write changes the alerts. All of todo go into one call, or it is a single one.
func (w *Writeback) write(ctx context.Context, todo []Close, now shownNow) ([]Settlement, error) {
	for _, c := range todo {
		if p := w.progressOf(c.ID); p.overtaken(c, now.alerts[c.Alert]) {
			p.fieldsDone, p.lacking = true, unknownFields(c, now.alerts[c.Alert])
		}
	}
	if err := w.begin(ctx, todo, now); err != nil {
		return nil, err
	}
	first := todo[0]
	state := first.State
	if alone(first) {
		s, over, err := w.writeFields(ctx, first, now)
		if over || err != nil {
			return s, err
		}
	}
	if first.Keep { // only the comment is left, which SCOM takes beside a state
		a := now.alerts[first.Alert]
		if a == nil {
			return []Settlement{refusal(first, "SCOM does not show this alert any more")}, nil
		}
		state = a.ResolutionState
	}
	ids := make([]alert.ID, len(todo))
	for i, c := range todo {
		ids[i] = c.Alert
		w.echoes.begin(now, c, state, w.target.Account())
	}
	written, err := w.target.SetState(ctx, ids, state, comment(todo))
	if err != nil {
		if written, err = w.unwritten(todo, now, err); err != nil {
			return nil, err
		}
	}
	var settled []Settlement
	for _, c := range todo {
		s, err := w.judge(ctx, c, written, len(todo), now)
		settled = append(settled, s...)
		if err != nil {
			return settled, err
		}
	}
	return settled, nil
}

// judge says what the answer to a write of n requests means for one of them.
func (w *Writeback) judge(ctx context.Context, c Close, written alert.Written, n int, now shownNow) ([]Settlement, error) {
	p := w.progressOf(c.ID)
	p.faults, p.doubt = 0, false
	o, objects := written.Objections[c.Alert]
	if vague := written.Vague; vague != nil && !objects {
		if n > 1 { // some were changed: the next read shows which
			p.doubt, p.touched, p.share = true, true, n/2
			w.echoes.end(c.Alert, now)
			return nil, nil
		}
		o, objects = *vague, true
	}
	if objects {
		w.echoes.forget(c.Alert)
		return w.objected(ctx, c, o, now.shows(c.Alert))
	}
	p.touched = true
	w.echoes.end(c.Alert, now)
	return []Settlement{p.done(c)}, nil
}

// unwritten takes note of a write without an answer. That SCOM refuses the question itself is one, if it was about a single alert.
func (w *Writeback) unwritten(todo []Close, now shownNow, err error) (alert.Written, error) {
	f, fault := alert.FaultOf(err)
	unknown := !fault || f.Unknown
	refused := fault && !unknown && f.Class == alert.FaultCriteria
	for _, c := range todo {
		p := w.progressOf(c.ID)
		if unknown {
			p.doubt, p.touched = true, true // if it shows, it is ours
			p.unsure = p.unsure || !p.fieldsDone
			w.echoes.end(c.Alert, now)
		} else {
			w.echoes.forget(c.Alert)
		}
		if !refused {
			w.unanswered(c, len(todo), err)
		}
	}
	if refused {
		return alert.Written{Vague: &alert.Objection{Text: f.Err.Error()}}, nil
	}
	return alert.Written{}, err
}

// writeFields changes the fields of a request, if it has any left. over: the request has ended, or must wait.
func (w *Writeback) writeFields(ctx context.Context, c Close, now shownNow) (settled []Settlement, over bool, err error) {
	p := w.progressOf(c.ID)
	a := now.alerts[c.Alert]
	if len(c.Fields) > 0 && !p.fieldsDone {
		state := c.State
		if c.Keep && a != nil {
			state = a.ResolutionState
		}
		w.echoes.begin(now, c, state, w.target.Account())
		written, err := w.target.SetFields(ctx, c.Alert, c.Fields)
		unsupported := errors.Is(err, alert.ErrUnsupported)
		if err != nil && !unsupported {
			if written, err = w.unwritten([]Close{c}, now, err); err != nil {
				return nil, true, err
			}
		}
		o, objects := written.Objections[c.Alert]
		if written.Vague != nil {
			o, objects = *written.Vague, true
		}
		if unsupported || objects || written.Unchanged {
			w.echoes.forget(c.Alert)
		} else {
			p.touched = true
			w.echoes.end(c.Alert, now)
		}
		switch {
		case unsupported:
			p.lacking = "this version of SCOM's web console cannot change " + names(c.Fields) + " (SCOM 2022 and later can)"
		case objects && (o.Kind == alert.ObjectionPassing || o.Kind == alert.ObjectionNoAlert || c.Keep):
			s, err := w.objected(ctx, c, o, now.shows(c.Alert))
			return s, true, err
		case objects:
			p.lacking = "SCOM does not change " + names(c.Fields) + ": " + o.Text
		}
		p.fieldsDone, p.faults, p.doubt, p.unsure = true, 0, false, false
	}
	shows := !c.Keep && a != nil && a.ResolutionState == c.State && !w.echoes.stale(a.Version())
	if c.Keep && c.Comment == "" || shows {
		return []Settlement{p.done(c)}, true, nil
	}
	return nil, false, nil
}

// overtaken reports whether the fields of a request must be left to a person. A change of fields carries no mark. If its outcome is not
// known, and the alert was changed since it was begun and does not show the fields as asked for, then either it never arrived, or it did
// and somebody has changed them again, whose change must not be undone hours later.
func (p *progress) overtaken(c Close, a *alert.Alert) bool {
	return len(c.Fields) > 0 && p.unsure && !p.fieldsDone && c.Seen != 0 && a != nil && alert.MillisOf(a.LastModified) != c.Seen && !showsFields(a, c.Fields)
}

func showsFields(a *alert.Alert, fields []alert.Field) bool {
	asked := *a
	for _, f := range fields {
		setField(&asked, f)
	}
	return asked == *a
}

func unknownFields(c Close, a *alert.Alert) string {
	return fmt.Sprintf("it is not known whether SCOM has changed %s: the answer was lost, and %s has changed the alert since; look at it, and retry this if it is still wanted",
		names(c.Fields), cmp.Or(a.LastModifiedBy, "somebody"))
}

func names(fields []alert.Field) string {
	var list []string
	for _, f := range fields {
		list = append(list, f.Name)
	}
	return strings.Join(list, ", ")
}

// comment is what a write of these requests leaves in the alerts' histories: their common text, and each one's mark.
func comment(group []Close) string {
	var marks strings.Builder
	for _, c := range group {
		marks.WriteString(" [sc:" + c.ID + "]")
	}
	text := strings.Join(strings.Fields(group[0].Comment), " ")
	return strings.TrimSpace(cut(text, maxComment-marks.Len()) + marks.String())
}

// cut shortens a text to at most n bytes, not in the middle of a character.
func cut(s string, n int) string {
	const mark = "..."
	if len(s) <= n {
		return s
	}
	n = max(0, n-len(mark))
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
