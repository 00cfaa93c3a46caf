package api

import (
	"fmt"
	"time"

	v1 "scomconnector/api/v1"
)

// Loss is what a takeover by the node of this status may cost, a sentence each; its own warnings come on top.
func Loss(s v1.Status) []string {
	age := "This node has heard of no leader since it was started: nobody knows how old its copy of the state is."
	if heard := s.Takeover.LastHeard; !heard.IsZero() {
		age = fmt.Sprintf("This node's copy of the state is as old as its last word from a leader: %s, from %s UTC.",
			span(max(0, s.Time.Sub(heard))), heard.UTC().Format("2006-01-02 15:04:05"))
	}
	return []string{
		age,
		"Alerts that the other node has delivered since then are sent again; Moogsoft folds them by their signature.",
		"Close requests that the other node has accepted since then and not yet carried out wait until it returns; they are lost if it never does.",
	}
}

// ends is when maintenance ends by itself.
func ends(sticky bool) string {
	if sticky {
		return "Its maintenance lasts, also over restarts, until somebody has it leave."
	}
	return "Its maintenance ends when it comes back after an ordinary stop, or has run well for 5 minutes after a crash, or when somebody has it leave."
}

// prospect is what an order for a node would do, as this node sees the cluster.
type prospect struct {
	Node    string
	Action  string // the one that changes something: a node in maintenance can leave it
	Text    string
	Refused bool // also with force
}

// prospects tells it of every node that could lead.
func prospects(s v1.Status) []prospect {
	var all []prospect
	for _, m := range workers(s) {
		p := prospect{Node: m.Node, Action: "enter"}
		if m.Maintenance {
			p.Action, p.Text = "leave", leaving(s, m)
		} else {
			p.Text, p.Refused = entering(s, m)
		}
		all = append(all, p)
	}
	return all
}

// workers are the members that lead when all is well: a witness never does.
func workers(s v1.Status) []v1.Member {
	var all []v1.Member
	for _, m := range s.Members {
		if m.Role != "Witness" {
			all = append(all, m)
		}
	}
	return all
}

// sibling is the other one that could lead; its name is empty if there is none.
func sibling(s v1.Status, node string) v1.Member {
	for _, m := range workers(s) {
		if m.Node != node {
			return m
		}
	}
	return v1.Member{}
}

// entering says what maintenance of a node would do, and whether it would be refused.
func entering(s v1.Status, m v1.Member) (text string, refused bool) {
	other := sibling(s, m.Node)
	switch {
	case other.Node == "":
		return fmt.Sprintf("This is refused: the cluster has no other node that could lead. %s may be stopped all the same: nothing is delivered until it "+
			"is back, and nothing is lost, since SCOM keeps the alerts.", m.Node), true
	case other.Maintenance:
		return fmt.Sprintf("This is refused, also with force: %s is in maintenance, and one of the two must be able to lead. Have %[1]s leave maintenance first.", other.Node), true
	case s.Leader == "":
		return "This is refused while no leader is known: nobody could take note of it.", true
	case s.Leader != m.Node:
		return fmt.Sprintf("%s leads and goes on leading. %s does not take over until it leaves maintenance, whatever happens to the other; it may then be stopped.",
			s.Leader, m.Node), false
	}
	if why := unable(other); why != "" {
		return fmt.Sprintf("This is refused, also with force: %s, so that nobody could take over. Mend that first. If %s must stop all the same, stop it: "+
			"nothing is delivered then until one of the two is back, or until %s has taken over, which its own maintenance page offers.", why, m.Node, other.Node), true
	}
	text = fmt.Sprintf("%s finishes what it has begun and hands over to %s, which goes on from there: nothing is lost or sent twice. %s may then be stopped. "+
		"%[2]s is asked first whether it reaches SCOM and a LAM; if it does not, this is refused unless forced.", m.Node, other.Node, m.Node)
	if other.Behind > 0 {
		text += fmt.Sprintf(" At the moment %s is %s behind, which it makes up first.", other.Node, entries(other.Behind))
	}
	return text, false
}

func entries(n uint64) string {
	if n == 1 {
		return "1 entry"
	}
	return number(n) + " entries"
}

// unable says why a node could not be handed leadership now; a handover makes up for being behind by itself.
func unable(m v1.Member) string {
	switch {
	case m.Fault != "":
		return fmt.Sprintf("%s is out of contact (%s)", m.Node, brief(m.Fault))
	case m.Part == v1.PartAway:
		return m.Node + " is out of contact"
	case m.Part == v1.PartWithout:
		return fmt.Sprintf("%s does not reach the etcd", m.Node)
	case !m.Voter:
		return fmt.Sprintf("%s has no vote yet, since it is new, or was away and is catching up", m.Node)
	}
	return ""
}

func leaving(s v1.Status, m v1.Member) string {
	if s.Leader == "" {
		return fmt.Sprintf("%s may lead again as soon as the cluster has taken note, for which a majority of the members must be in contact.", m.Node)
	}
	text := fmt.Sprintf("%s may lead again. %s goes on leading", m.Node, s.Leader)
	if m.Role == "Primary" && s.Leader != m.Node {
		text += fmt.Sprintf(`, until %s has been well for as long as FailbackDelay says (60 s, unless set otherwise) and takes over again by itself. With Failback "manual" it waits for a transfer`, m.Node)
	}
	return text + "."
}

// happened is what an order has done, and what may be done next.
func happened(o formOrder, l v1.Leadership, s v1.Status) (text, next string) {
	leads := "Nobody leads at this moment"
	if l.Leader != "" {
		leads = l.Leader + " leads"
	}
	switch {
	case o.action == "takeover":
		return leads + ".", "Look at the status page now and then: it tells what comes back from the other node once that returns."
	case o.action == "leave":
		return fmt.Sprintf("%s is out of maintenance and may lead again. %s.", o.node, leads), ""
	case l.Leader == "" || l.Leader == o.node:
		return fmt.Sprintf("%s is in maintenance. %s.", o.node, leads), "Wait with stopping it until the other node leads; the status page tells."
	}
	return fmt.Sprintf("%s is in maintenance. %s.", o.node, leads), fmt.Sprintf("You may stop %s now. %s", o.node, ends(isSticky(s, o)))
}

// isSticky is what the cluster says, where this node knows already.
func isSticky(s v1.Status, o formOrder) bool {
	for _, m := range s.Members {
		if m.Node == o.node && m.Maintenance {
			return m.Sticky
		}
	}
	return o.sticky
}

// until is how long to go, for people.
func until(now, t time.Time) string { return span(max(0, t.Sub(now))) }
