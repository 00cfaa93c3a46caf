package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
)

const helpUpgrade = `Says which node of a running cluster to upgrade next, so that a new version is rolled through without a gap: who stands
by first, then the witness, the leader last, which hands over when it is stopped. Asks the cluster, changes nothing.
Ask before each node; it waits for the one before to be back, to have caught up and to have its vote.

  --to VERSION       the version to come to (default: that of this program; take the new one)
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster; not the one that is stopped
  --token-file FILE  another node's token for reading, if it asks for one
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON

example: scomconnector upgrade-check --url http://scomc1.contoso.com:8085
exit code: 0 if a node may be stopped now, or nothing is left to do; 1 if it is not time yet
`

func runUpgradeCheck(t terminal, args []string) error {
	fs := flags("upgrade-check")
	n := nodeFlags(fs, false)
	to := fs.String("to", version, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if *to == "" {
		return usageError{errors.New("--to needs a version, as scomconnector version prints it")}
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := freshStatus(ctx, c)
	if err != nil {
		return advised(err)
	}
	u := nextUpgrade(s, unreadyMembers(ctx, s.Members), *to)
	if n.json {
		err = printJSON(t, u)
	} else {
		u.print(t, s)
	}
	if err == nil && u.Wait != "" {
		return errReported
	}
	return err
}

// newsTime is how long the nodes may take to hear of each other; they ask three times a second.
const newsTime = 3 * time.Second

// freshStatus asks until what the node says of the others is younger than the first question: who was restarted a moment ago
// shows else as it was before. Who is not heard of in time keeps its old contact, which nextUpgrade sees.
func freshStatus(ctx context.Context, c *client.Client) (v1.Status, error) {
	first, err := c.Status(ctx)
	if err != nil {
		return first, err
	}
	limit := time.NewTimer(newsTime)
	defer limit.Stop()
	tick := time.NewTicker(newsTime / 15)
	defer tick.Stop()
	for {
		s, err := c.Status(ctx)
		if err != nil {
			return s, err
		}
		s.Time = first.Time
		if !slices.ContainsFunc(s.Members, func(m v1.Member) bool { return unheard(m, s) }) {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return s, nil
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// unheard: nothing is known of the member that is younger than the status. Whoever is asked knows itself.
func unheard(m v1.Member, s v1.Status) bool {
	return m.Node != s.Node && m.Fault == "" && !m.LastContact.After(s.Time)
}

// upgrade is where a rolling upgrade stands.
type upgrade struct {
	To   string   `json:"to"`
	Done []string `json:"done"`
	Left []string `json:"left"`
	// Next may be stopped now; empty: none is left, or it is not time yet.
	Next string `json:"next"`
	// Leads: Next is the leader, and hands over when it is stopped.
	Leads bool `json:"leads"`
	// Wait is why it is not time yet.
	Wait string `json:"wait,omitempty"`
}

// behindLimit is how many log entries a node may be behind: under full flow the newest are always on their way.
const behindLimit = 2000

// nextUpgrade is pure. unready has the reasons of those members that say that they cannot take part.
func nextUpgrade(s v1.Status, unready map[string]string, to string) upgrade {
	u := upgrade{To: to, Done: []string{}, Left: []string{}}
	var left []v1.Member
	for _, m := range s.Members {
		if m.Version == to {
			u.Done = append(u.Done, m.Node)
			continue
		}
		u.Left = append(u.Left, m.Node)
		left = append(left, m)
	}
	if u.Wait = notYet(s, unready); u.Wait != "" || len(left) == 0 {
		return u
	}
	next := slices.MinFunc(left, func(a, b v1.Member) int {
		return cmp.Or(cmp.Compare(turn(a, s.Leader), turn(b, s.Leader)), cmp.Compare(a.Node, b.Node))
	})
	if next.Node == s.Leader {
		for _, m := range s.Members {
			if m.Node != next.Node && m.Role != string(cluster.Witness) && m.Maintenance {
				u.Wait = fmt.Sprintf("%s leads, and %s, which should take over, is in maintenance: end that first (scomconnector maintenance leave %[2]s)", next.Node, m.Node)
				return u
			}
		}
	}
	u.Next, u.Leads = next.Node, next.Node == s.Leader
	return u
}

// turn: who stands by proves the new version before anybody depends on it; the leader's end is the only one that alerts could feel.
func turn(m v1.Member, leader string) int {
	switch {
	case m.Node == leader:
		return 2
	case m.Role == string(cluster.Witness):
		return 1
	}
	return 0
}

// notYet is why no node may be stopped now; empty: one may.
func notYet(s v1.Status, unready map[string]string) string {
	if s.Leader == "" {
		return "the cluster has no leader: " + s.Verdict.Text
	}
	for _, m := range s.Members {
		switch {
		case m.Fault != "":
			return fmt.Sprintf("%s is out of contact (%s): start it, or find out why", m.Node, m.Fault)
		case unheard(m, s):
			return fmt.Sprintf("%s was not heard of since you asked: is it running?", m.Node)
		case !m.Voter && m.Part != "":
			return m.Node + " does not reach the etcd: mend the network between the two"
		case !m.Voter:
			return m.Node + " has no vote yet: it is catching up, as a rule for a few seconds"
		case m.Behind > behindLimit:
			return fmt.Sprintf("%s is %d log entries behind: it is catching up", m.Node, m.Behind)
		case unready[m.Node] != "":
			return fmt.Sprintf("%s is not ready: %s", m.Node, unready[m.Node])
		}
	}
	return ""
}

// unreadyMembers asks each member itself. One that cannot be reached from here says nothing: the cluster's own word on it counts.
func unreadyMembers(ctx context.Context, members []v1.Member) map[string]string {
	type answer struct{ node, reasons string }
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	answers := make(chan answer)
	asked := 0
	for _, m := range members {
		if m.URL == "" {
			continue
		}
		asked++
		go func() {
			reasons, err := unproven(m.URL).Unready(ctx)
			if err != nil {
				reasons = nil
			}
			answers <- answer{m.Node, strings.Join(reasons, "; ")}
		}()
	}
	all := map[string]string{}
	for range asked {
		a := <-answers
		all[a.node] = a.reasons
	}
	return all
}

func (u *upgrade) print(t terminal, s v1.Status) {
	for _, m := range s.Members {
		mark := ""
		if m.Node == s.Leader {
			mark = ", leads"
		}
		fmt.Fprintf(t.out, "  %-12s %s%s\n", m.Node, cmp.Or(harmless(m.Version), "version unknown"), mark)
	}
	switch {
	case u.Wait != "":
		fmt.Fprintf(t.out, "Stop none yet: %s.\n", strings.TrimSuffix(harmless(u.Wait), "."))
		return
	case u.Next == "":
		fmt.Fprintf(t.out, "All nodes run %s; nothing is left to do.\n", u.To)
		return
	case u.Leads && len(s.Members) == 1:
		fmt.Fprintf(t.out, "Stop next: %s. It is the only node: alerts wait in SCOM until it is back, and arrive late.\n", u.Next)
	case u.Leads:
		fmt.Fprintf(t.out, "Stop next: %s. It leads, and hands over when it is stopped: nothing is lost or sent twice.\n", u.Next)
	default:
		fmt.Fprintf(t.out, "Stop next: %s. It does not lead: alerts do not notice.\n", u.Next)
	}
	fmt.Fprint(t.out, `There, beside the unpacked new program, with the flags with which the service was installed at first, if any (--account, --name, --node):
  Linux    sudo ./scomconnector service install && sudo scomconnector service stop && sudo scomconnector service start
  Windows  .\scomconnector.exe service stop, put the new scomconnector.exe in place of the old one, .\scomconnector.exe service start
Then ask again before the next.
`)
}
