package publisher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"scomconnector/poller/alert"
)

// attempt is one Publish.
//
// Finding the guilty event: a refused piece is halved, the earlier half first, until an event
// stands alone. That one is Refused with the LAM's count of accepted requests as its mark; parking
// it takes a proof, and that is the caller's to wait for.
//
// When a LAM refuses everything, halving would cost two requests for each event. So after
// doubtAfter lone refusals, with nothing accepted by that LAM in this Publish, the newest event is
// tried out of turn: accepted, the LAM is fine and the search goes on to the end; refused, it is
// the LAM that is in doubt and not the events. It gets nothing more, and the next LAM is offered
// everything, also what stood alone. Accepts that one, the doubted LAM counts as failing. Accepts
// none, what stood alone is Refused, the rest Pending: the caller sets a few events aside for each
// Publish, so that even a row of broken events does not block what is behind it, and nothing is
// parked since nothing was ever accepted. That costs at most log2(n) + 2·doubtAfter + 2 requests
// for each LAM.
type attempt struct {
	d        *Destination
	batch    []alert.Event
	verdicts []alert.Verdict
	refusals map[int]alert.Refusal // by index
	todo     []int                 // what the next LAM is offered, in order
	doubted  []fault               // who refused everything they were offered
	back     <-chan struct{}       // Destination.comeback of before the first of them was asked

	asked  *lam // the last one
	faults []fault
}

// fault is why one LAM did not take everything.
type fault struct {
	lam *lam
	out outcome
}

const (
	// doubtAfter is how many lone events a LAM may refuse in a row before it is the LAM that is in
	// doubt. One or two broken alerts in a row happen; three different ones and the newest do not.
	doubtAfter = 3
	// smallest bounds what a connection that broke without an answer says about sizes. Some front
	// ends reset the connection instead of saying 413, so the next Publish tries half of it (not
	// this one: the events may have been taken); but none refuses so little.
	smallest = 64 << 10
	// trialTimeout is the deadline for an answer on trial.
	trialTimeout = 5 * time.Second
)

func newAttempt(d *Destination, batch []alert.Event) *attempt {
	a := &attempt{d: d, back: d.comeback(), batch: batch, verdicts: make([]alert.Verdict, len(batch)), todo: make([]int, len(batch))}
	for i := range a.todo {
		a.todo[i] = i
	}
	return a
}

// settled reports whether no LAM needs to be asked any more.
func (a *attempt) settled() bool { return len(a.todo) == 0 }

// search is what one LAM is being offered within one attempt.
type search struct {
	stack    [][]int // pieces still to send, the next one last
	accepted int     // requests
	lone     []alert.Refusal
}

// offer gives what is left to one LAM.
func (a *attempt) offer(ctx context.Context, g leg) {
	a.asked = g.lam
	s := &search{}
	if g.trial && !a.try(ctx, g.lam, s) {
		return
	}
	s.push(a.cut(g.lam, a.todo))
	fault := a.search(ctx, g.lam, s)
	doubt := fault == nil && s.accepted == 0 && (len(s.stack) > 0 || g.lam.loneInRow >= doubtAfter)
	a.conclude(g.lam, s, doubt)
	if fault != nil {
		a.fail(ctx, g.lam, *fault)
	}
}

// try gives a LAM that had failed the first event alone. It reports whether that was accepted.
func (a *attempt) try(ctx context.Context, l *lam, s *search) bool {
	one := a.todo[:1]
	out := a.post(ctx, l, one, min(trialTimeout, a.d.cfg.AnswerTimeout))
	if out.class != accepted {
		a.fail(ctx, l, out)
		return false
	}
	a.accept(l, s, one)
	a.todo = a.todo[1:]
	return true
}

// search sends the pieces until all are settled, the LAM is away (the result), or it is in doubt.
func (a *attempt) search(ctx context.Context, l *lam, s *search) *outcome {
	for len(s.stack) > 0 {
		piece := s.pop()
		out := a.post(ctx, l, piece, a.d.cfg.AnswerTimeout)
		switch {
		case out.class == accepted:
			a.accept(l, s, piece)
		case out.class == away:
			s.stack = append(s.stack, piece)
			if out.broken && len(piece) > 1 {
				l.learn(size(a.d.head, a.batch, piece), smallest, false, time.Now())
			}
			return &out
		case len(piece) > 1:
			if out.class == tooLarge {
				l.learn(size(a.d.head, a.batch, piece), leastLimit, true, time.Now())
			}
			s.push(a.halve(piece))
		default:
			a.refuse(l, s, piece[0], out)
			if len(s.lone) < doubtAfter || s.accepted > 0 || len(s.stack) == 0 {
				continue
			}
			if fault := a.jump(ctx, l, s); fault != nil || s.accepted == 0 {
				return fault
			}
		}
	}
	return nil
}

// jump tries the newest event out of turn.
func (a *attempt) jump(ctx context.Context, l *lam, s *search) *outcome {
	p, k := a.newest(s)
	if k < 0 {
		return nil
	}
	i := s.stack[p][k]
	out := a.post(ctx, l, []int{i}, a.d.cfg.AnswerTimeout)
	switch out.class {
	case away:
		return &out
	case accepted:
		a.accept(l, s, []int{i})
		if s.stack[p] = slices.Concat(s.stack[p][:k], s.stack[p][k+1:]); len(s.stack[p]) == 0 {
			s.stack = slices.Delete(s.stack, p, p+1)
		}
	default:
		a.refuse(l, s, i, out)
	}
	return nil
}

// newest finds the last event on the stack that no other of the same alert waits beside, since the
// order is owed to each alert; k is negative if there is none.
func (a *attempt) newest(s *search) (p, k int) {
	waiting := map[alert.ID]int{}
	for _, piece := range s.stack {
		for _, i := range piece {
			waiting[a.batch[i].ID]++
		}
	}
	for p, piece := range s.stack {
		for k := len(piece) - 1; k >= 0; k-- {
			if id := a.batch[piece[k]].ID; id.IsZero() || waiting[id] == 1 {
				return p, k
			}
		}
	}
	return 0, -1
}

func (a *attempt) accept(l *lam, s *search, piece []int) {
	for _, i := range piece {
		a.verdicts[i] = alert.Accepted
		delete(a.refusals, i)
	}
	l.accepted.Add(1)
	l.loneInRow = 0
	if s.accepted++; s.accepted == 1 {
		a.convict()
		a.d.use(l)
	}
}

func (a *attempt) refuse(l *lam, s *search, i int, out outcome) {
	l.loneInRow++
	r := alert.Refusal{Index: i, LAM: l.name, Status: out.status, Answer: out.answer, Mark: l.accepted.Load()}
	switch {
	case out.class == tooLarge && out.label == "": // it was not sent
		r.Do = out.do
	case out.class == tooLarge:
		r.Do = doAboutOne
	}
	s.lone = append(s.lone, r)
}

// conclude decides whose refusal counts, and what the next LAM is offered: what was not sent, and,
// if this LAM is in doubt, also what it refused.
func (a *attempt) conclude(l *lam, s *search, doubt bool) {
	if a.refusals == nil {
		a.refusals = map[int]alert.Refusal{}
	}
	for _, r := range s.lone {
		// The first LAM's word stands, since it is the one that will be asked again, unless this
		// one has proved itself by accepting something.
		if _, had := a.refusals[r.Index]; !had || s.accepted > 0 {
			a.refusals[r.Index] = r
		}
		a.verdicts[r.Index] = alert.Refused
	}
	open := make([]int, 0, len(a.todo))
	for _, i := range a.todo {
		if a.verdicts[i] == alert.Pending || doubt && a.verdicts[i] == alert.Refused {
			open = append(open, i)
		}
	}
	a.todo = open
	if doubt {
		last := s.lone[len(s.lone)-1]
		out := outcome{label: labelRefused, text: "refuses every event it is given (HTTP " + statusText(last.Status) + ")", do: "look at its answer and at the LAM's log", answer: last.Answer}
		if last.Status == http.StatusRequestEntityTooLarge {
			out.do = doAboutSize
		}
		a.doubted = append(a.doubted, fault{l, out})
	}
}

// convict notes that the LAMs in doubt were wrong, since another one takes what they refused.
func (a *attempt) convict() {
	for _, f := range a.doubted {
		f.lam.failed(a.d.log, time.Now(), f.out)
	}
	a.doubted = nil
}

// fail notes that l is wrong or away; the end of ctx is nobody's fault.
func (a *attempt) fail(ctx context.Context, l *lam, out outcome) {
	if ctx.Err() != nil {
		return
	}
	a.faults = append(a.faults, fault{l, out})
	l.failed(a.d.log, time.Now(), out)
}

// waitForLAMs is for a Publish in which every LAM has asked to be left alone.
func (a *attempt) waitForLAMs(now time.Time) {
	for _, l := range a.d.lams {
		l.mu.Lock()
		wait, out := l.health.waitUntil.Sub(now), outcome{text: l.health.words, do: l.health.do}
		l.mu.Unlock()
		a.asked = l
		out.retryAfter = max(wait, time.Millisecond)
		a.faults = append(a.faults, fault{l, out})
	}
}

func (a *attempt) delivery(ctx context.Context) alert.Delivery {
	out := alert.Delivery{Verdicts: a.verdicts}
	for i, v := range a.verdicts {
		if v == alert.Refused {
			out.Refusals = append(out.Refusals, a.refusals[i])
		}
	}
	if !slices.Contains(a.verdicts, alert.Pending) {
		return out
	}
	for _, f := range a.doubted { // none took anything: an operator must see why
		a.fail(ctx, f.lam, f.out)
	}
	out.Err = &alert.Away{LAM: a.d.lams[0].name, Err: ctx.Err()}
	if a.asked != nil {
		out.Err.LAM = a.asked.name
	}
	if ctx.Err() == nil {
		out.Err.RetryAfter, out.Err.Err = a.why()
		if n := len(a.faults); n > 0 {
			f := a.faults[n-1]
			if out.Err.RetryAfter == 0 {
				out.Err.Back = a.back
			}
			out.Err.LAM, out.Err.What, out.Err.Do, out.Err.Said = f.lam.name, f.out.text, f.out.do, f.out.said()
		}
	}
	return out
}

// why joins what the LAMs said, the last one first. The pause is the shortest that any of them asked
// for, and none if one of them asked for none.
func (a *attempt) why() (pause time.Duration, err error) {
	pause = -1
	for i := len(a.faults) - 1; i >= 0; i-- {
		f := a.faults[i]
		this := f.out.cause()
		if err == nil {
			err = this
		} else {
			err = fmt.Errorf("%w; before it, LAM %s: %w", err, f.lam.name, this)
		}
		if pause < 0 || f.out.retryAfter < pause {
			pause = f.out.retryAfter
		}
	}
	if err == nil {
		return 0, errors.New("no LAM could be asked")
	}
	return max(pause, 0), err
}

func (s *search) pop() []int {
	piece := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	return piece
}

// push puts pieces on the stack so that they are sent in order.
func (s *search) push(pieces [][]int) {
	for i := len(pieces) - 1; i >= 0; i-- {
		s.stack = append(s.stack, pieces[i])
	}
}

// cut makes pieces that fit into the hard cap, and into what this LAM was seen to take.
func (a *attempt) cut(l *lam, events []int) [][]int {
	limit := l.limit(a.d.cfg.MaxPayloadBytes, time.Now())
	var pieces [][]int
	start, used := 0, a.d.Overhead()
	for k, i := range events {
		n := len(a.batch[i].Body) + 1
		if k > start && used+n-1 > limit {
			pieces = append(pieces, events[start:k:k])
			start, used = k, a.d.Overhead()
		}
		used += n
	}
	if start < len(events) {
		pieces = append(pieces, events[start:])
	}
	return pieces
}

// halve cuts a piece in two of about the same size in bytes.
func (a *attempt) halve(piece []int) [][]int {
	total := 0
	for _, i := range piece {
		total += len(a.batch[i].Body) + 1
	}
	k, half := 0, 0
	for k < len(piece)-1 && (k == 0 || half+len(a.batch[piece[k]].Body) < total/2) {
		half += len(a.batch[piece[k]].Body) + 1
		k++
	}
	return [][]int{piece[:k:k], piece[k:]}
}

// post sends one piece and counts it. An event above the hard cap is never sent.
func (a *attempt) post(ctx context.Context, l *lam, piece []int, deadline time.Duration) outcome {
	n := size(a.d.head, a.batch, piece)
	if n > a.d.cfg.MaxPayloadBytes {
		return outcome{class: tooLarge, status: 413, answer: "not sent: larger than MaxPayloadSizeInMB allows", do: "raise MaxPayloadSizeInMB"}
	}
	out := l.post(ctx, a.d.head, a.batch, piece, deadline)
	a.d.metrics.observe(a.d.cfg.Name, out, n)
	if out.class == accepted {
		l.took(a.d.log, time.Now(), out.took)
	}
	return out
}
