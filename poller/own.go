package poller

import (
	"context"
	"fmt"
	"time"

	"scomconnector/poller/alert"
)

// Kinds of own events, a closed set: each is part of a signature.
const (
	kindSCOM      = "scom-outage"
	kindLAM       = "lam-outage"
	kindFull      = "full"
	kindHeartbeat = "heartbeat"
)

const (
	classConnector = "connector"
	classHeartbeat = "heartbeat"
	severityAlarm  = 5
	severityClear  = 0

	// ownAgain is the pause after an own event that could not be sent.
	ownAgain = time.Minute
	// reportAnyway is when an outage of the destination is told of although catching up has not ended.
	reportAnyway = time.Hour
)

// ownEvents are the pipeline's own alarms. They follow a level, not an edge: at each tick what should
// be out is compared with what the ledger says is out, so that a crash or another leader changes nothing.
type ownEvents struct {
	next     time.Time // not before
	beat     time.Time // last heartbeat
	fault    string
	lamGone  *lamOutage // an outage that is over and not yet told of
	complete time.Time  // when a read began that then showed everything up to now
}

// lamOutage is told of after the fact, since nothing could be told while it lasted.
type lamOutage struct {
	from, to time.Time
	server   alert.Millis // SCOM's time at its end
	late     int          // versions delivered since that were modified before
}

// lamWasAway takes note of an outage of the destination that has just ended.
func (o *ownEvents) lamWasAway(from, to time.Time, server alert.Millis) {
	late := 0
	if o.lamGone != nil { // flapping: one report
		from, late = o.lamGone.from, o.lamGone.late
	}
	o.lamGone = &lamOutage{from: from, to: to, server: server, late: late}
}

// late counts what the outage has delayed.
func (o *ownEvents) late(v alert.Version) {
	if o.lamGone != nil && v.LastModified < o.lamGone.server {
		o.lamGone.late++
	}
}

func (o *ownEvents) caughtUp(began time.Time) { o.complete = began }

// attend does at each tick what is due.
func (s *sender) attend(ctx context.Context) error {
	if err := s.tell(ctx); err != nil {
		return err
	}
	if s.aside.empty() {
		return nil
	}
	return s.retryAside(ctx)
}

// tell sends the own events that are due.
func (s *sender) tell(ctx context.Context) error {
	now := time.Now()
	if now.Before(s.own.next) {
		return nil
	}
	since, down, readOnce, text := s.p.board.outage(s.p.cfg, now)
	var c Commit
	var events []alert.Own
	event := func(kind, class string, severity int, description string) {
		events = append(events, alert.Own{Kind: kind, Class: class, Severity: severity, Description: description, At: now.UTC()})
	}
	level := func(kind string, on, off bool, raise, clear string) {
		out := s.p.ledger.Raised(kind)
		if on && !out {
			event(kind, classConnector, severityAlarm, raise)
			c.Raised = append(c.Raised, kind)
		} else if off && out {
			event(kind, classConnector, severityClear, clear)
			c.Cleared = append(c.Cleared, kind)
		}
	}
	level(kindSCOM, down, since.IsZero() && readOnce,
		fmt.Sprintf("SCOM cannot be read since %s. No alert is lost: they follow once a web console answers. Check the web consoles and the connector's account. Last error: %s", utc(since), text),
		"SCOM can be read again; what changed meanwhile is being delivered.")
	why := s.p.board.blockedText()
	level(kindFull, why != "", why == "" && readOnce,
		"The connector delivers nothing new: "+why, "The connector delivers again.")
	for _, a := range s.p.alarms() {
		level(a.Kind, a.Raised, !a.Raised, a.Text, a.Cleared)
	}
	if o := s.own.lamGone; o != nil && (s.own.complete.After(o.to) || now.Sub(o.to) >= reportAnyway) {
		told := fmt.Sprintf("Moogsoft took no events from %s to %s; %d alert changes arrived late, none was lost.", utc(o.from), utc(o.to), o.late)
		event(kindLAM, classConnector, severityAlarm, told)
		event(kindLAM, classConnector, severityClear, told)
	}
	beat := s.p.cfg.Heartbeat > 0 && readOnce && since.IsZero() && why == "" && now.Sub(s.own.beat) >= s.p.cfg.Heartbeat
	if beat {
		event(kindHeartbeat, classHeartbeat, severityClear, "The connector is alive and polls SCOM.")
	}
	if len(events) == 0 {
		return nil
	}
	return s.sendOwn(ctx, now, events, c)
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// sendOwn posts own events and records which alarms are out.
func (s *sender) sendOwn(ctx context.Context, now time.Time, owns []alert.Own, c Commit) error {
	batch := make([]alert.Event, 0, len(owns))
	for _, o := range owns {
		body, err := s.p.encoder.AppendOwn(nil, o)
		if err != nil {
			return s.ownFailed(now, "own event "+o.Kind+": "+err.Error())
		}
		batch = append(batch, alert.Event{Kind: o.Kind, Body: body})
	}
	rest, refusals, away := s.post(ctx, batch)
	if len(rest) > 0 {
		// The next tick decides anew what is due: a heartbeat from before an outage would be a lie.
		return s.waitOut(ctx, away)
	}
	if len(refusals) > 0 {
		r := refusals[0]
		return s.ownFailed(now, fmt.Sprintf("LAM %s refuses the connector's own events with %d (%s)", r.LAM, r.Status, r.Answer))
	}
	s.own.fault = ""
	for _, o := range owns {
		switch o.Kind {
		case kindHeartbeat:
			s.own.beat = now
		case kindLAM:
			s.own.lamGone = nil
		default:
			s.log.Info("told Moogsoft", "kind", o.Kind, "severity", o.Severity)
		}
	}
	if len(c.Raised)+len(c.Cleared) == 0 {
		return nil
	}
	return s.commit(ctx, c)
}

func (s *sender) ownFailed(now time.Time, text string) error {
	s.own.next = now.Add(ownAgain)
	if s.own.fault != text {
		s.own.fault = text
		s.log.Warn("an own event could not be sent", "error", text)
	}
	return nil
}
