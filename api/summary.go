package api

import (
	"html/template"
	"strings"
	"time"

	v1 "scomconnector/api/v1"
)

// view is what the template of the status page sees: the status, and what it says at a glance.
type view struct {
	v1.Status
	Style   template.CSS // our own file, whose hash is in the policy
	Refresh bool
	SCOMNow summary
	LAMNow  summary
	// LeaderURL is the leader's page, if that is another node.
	LeaderURL   string
	LeaderWhy   string
	LeaderSince time.Time
	Others      []v1.Member // that have a page to look at when this one does not answer
	// Working says that somebody reads SCOM, and this node knows how that goes.
	Working      bool
	LagUnknown   bool    // of one of the pipelines, or since none works yet
	Slowest      float64 // seconds, over all pipelines
	LagClass     string
	Waiting      int     // over all pipelines
	AcceptedRate float64 // per minute, over all pipelines
	RatesKnown   bool
	CountsSince  *time.Time // of the pipelines; nil: not known
	ParkedNow    int        // alerts, and close requests
}

// summary is the state of a kind of servers in a word.
type summary struct {
	Class, Word, Detail string
}

// late is the lag in seconds that is worth a colour: several ordinary polls.
const late = 120

func newView(s v1.Status, refresh bool) view {
	v := view{Status: s, Style: template.CSS(style), Refresh: refresh, LagClass: "plain", ParkedNow: s.Parked.Count + s.Refused.Count}
	var consoles, lams []endpoint
	for _, c := range s.SCOM {
		consoles = append(consoles, endpoint{c.Name, c.State, c.InUse})
	}
	for _, l := range s.LAMs {
		lams = append(lams, endpoint{l.Name, l.State, l.InUse})
	}
	v.SCOMNow, v.LAMNow = summarise(&s, consoles), summarise(&s, lams)
	for _, m := range s.Members {
		if m.Node != s.Node && m.URL != "" {
			v.Others = append(v.Others, m)
		}
		if m.Node == s.Leader && m.Node != s.Node {
			v.LeaderURL = m.URL
		}
	}
	for _, p := range s.Pipelines {
		v.Working = v.Working || p.Phase != ""
		v.LagUnknown = v.LagUnknown || !p.LagKnown
		v.Slowest = max(v.Slowest, p.LagSeconds)
		v.Waiting += p.Flow.Waiting
		v.AcceptedRate += p.Flow.Accepted.PerMinute
		v.RatesKnown = v.RatesKnown || p.Flow.RatesKnown
		if since := p.Flow.Since; !since.IsZero() {
			v.CountsSince = &since
		}
	}
	if !v.Working { // the leader has not begun
		v.LagUnknown = s.Leader != "" && s.Leader == s.Node
	}
	if v.Slowest >= late {
		v.LagClass = "warn"
	}
	if len(s.Changes) > 0 && s.Changes[0].Node == s.Leader {
		v.LeaderWhy, v.LeaderSince = s.Changes[0].Reason, s.Changes[0].At
	}
	return v
}

// endpoint is what a console and a LAM have in common.
type endpoint struct {
	name, state string
	inUse       bool
}

// summarise tells whether the servers in use answer; one that fails beside them is told in the small print.
func summarise(s *v1.Status, servers []endpoint) summary {
	var good, bad, open []string
	cut := false // a server in use fails
	for _, e := range servers {
		switch {
		case e.state == "failing":
			bad = append(bad, e.name)
			cut = cut || e.inUse
		case e.state == "ok" && e.inUse:
			good = append(good, e.name)
		case e.inUse:
			open = append(open, e.name) // it is about to be asked
		}
	}
	failing := strings.Join(bad, ", ")
	beside := ""
	if failing != "" {
		beside = "; failing: " + failing
	}
	switch {
	case cut:
		return summary{"failing", "Failing", failing}
	case len(good) > 0:
		return summary{unlessBad("ok", bad), "Connected", strings.Join(good, ", ") + beside}
	case len(open) > 0:
		return summary{unlessBad("unknown", bad), "Not known yet", strings.Join(open, ", ") + beside}
	case len(servers) == 0:
		return summary{"unknown", "None set up", ""}
	case s.Leader != "" && s.Leader != s.Node:
		return summary{"unknown", "Used by " + s.Leader, "this node stands by"}
	}
	return summary{unlessBad("unknown", bad), "Not known yet", strings.TrimPrefix(beside, "; ")}
}

func unlessBad(class string, bad []string) string {
	if len(bad) > 0 {
		return "warn"
	}
	return class
}
