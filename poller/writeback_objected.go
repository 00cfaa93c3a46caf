package poller

import (
	"context"
	"errors"
	"time"

	"scomconnector/poller/alert"
)

const (
	maxTries  = 3               // of an objection that nobody can class
	maxResets = 5               // closes after a monitor was reset
	tryAgain  = 2 * time.Second // between those
)

// unknownToSCOM is why a close needed nothing done, where SCOM does not show the alert.
const unknownToSCOM = "unknown to SCOM: it never had this alert, hides it from our account, or has removed it since it was closed"

// objected decides about a request that SCOM does not carry out: it has ended, or is tried again later. shown says whether SCOM shows
// the alert: only where it does not, its word that there is none is believed.
func (w *Writeback) objected(ctx context.Context, c Close, o alert.Objection, shown bool) ([]Settlement, error) {
	p := w.progressOf(c.ID)
	later := func(d time.Duration) ([]Settlement, error) {
		p.after = time.Now().Add(d)
		w.board.note(c.ID, "SCOM refuses it for now: "+o.Text)
		return nil, nil
	}
	switch {
	case o.Kind == alert.ObjectionPassing:
		p.passing++
		return later(backoff(w.cfg.LowerBackoff, w.cfg.UpperBackoff, p.passing-1, w.rand(), 0))
	case o.Kind == alert.ObjectionUnhealthy && w.cfg.ResetMonitors && c.State == alert.StateClosed:
		return w.resetMonitor(ctx, c, o, later)
	case o.Kind == alert.ObjectionUnhealthy:
		return []Settlement{refusal(c, o.Text)}, nil
	}
	p.passing, p.share = 0, 1
	if p.tries++; p.tries < maxTries && (shown || o.Kind != alert.ObjectionNoAlert) {
		return later(tryAgain)
	}
	switch {
	case shown:
		return []Settlement{refusal(c, o.Text)}, nil
	case c.State == alert.StateClosed && !c.Keep && len(c.Fields) == 0:
		// Nothing is open there. That SCOM has groomed it cannot be told from an id that never was one.
		w.log.Info("a close request for an alert that SCOM does not know", "request", c.ID, "alert", c.Alert.String(), "says", o.Text)
		return []Settlement{{ID: c.ID, Outcome: Already, Reason: unknownToSCOM}}, nil
	}
	return []Settlement{refusal(c, "SCOM does not show this alert any more: "+o.Text)}, nil
}

// resetMonitor makes the monitor healthy, once, after which closing is tried for some seconds.
func (w *Writeback) resetMonitor(ctx context.Context, c Close, o alert.Objection, later func(time.Duration) ([]Settlement, error)) ([]Settlement, error) {
	p := w.progressOf(c.ID)
	if p.resets > 0 {
		if p.resets++; p.resets > maxResets {
			return []Settlement{refusal(c, o.Text+" (its monitor was reset, and is unhealthy again)")}, nil
		}
		return later(tryAgain)
	}
	written, err := w.target.ResetMonitor(ctx, c.Alert)
	if errors.Is(err, alert.ErrUnsupported) {
		return []Settlement{refusal(c, o.Text+" (this version of SCOM's web console cannot reset a monitor; SCOM 2022 and later can)")}, nil
	}
	if err != nil { // to be reset twice does not harm
		w.unanswered(c, 1, err)
		return nil, err
	}
	if r, objects := written.Objections[c.Alert]; objects && r.Kind != alert.ObjectionPassing {
		return []Settlement{refusal(c, o.Text+" (its monitor cannot be reset: "+r.Text+")")}, nil
	} else if objects {
		return later(tryAgain)
	}
	p.resets, p.touched = 1, true
	return later(time.Second)
}
