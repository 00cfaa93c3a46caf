package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	v1 "scomconnector/api/v1"
)

const helpStatus = `Asks a running node for its status and prints it.

  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node
  --token-file FILE  another node's token for reading, if it asks for one
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as it came

example: scomconnector status --url http://scomc1:8085
exit code: 0 also when the verdict is bad; 1 if the node does not answer
`

func runStatus(t terminal, args []string) error {
	fs := flags("status")
	n := nodeFlags(fs, false)
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	s, err := c.Status(context.Background())
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, s)
	}
	return printStatus(t, &s)
}

func printStatus(t terminal, s *v1.Status) error {
	fmt.Fprintf(t.out, "%s: %s\n", strings.ToUpper(string(s.Verdict.Level)), s.Verdict.Sentence())
	fmt.Fprintf(t.out, "\nnode %s (%s), leader %s, term %s, settings version %d\ntotal alerts processed: %d, parked: %d\n\n",
		s.Node, s.Role, orNone(s.Leader), orNone(s.Token), s.Config.Version, s.Totals.Processed, s.Parked.Count)
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PIPELINE\tCURSOR\tLAG\tSENT\tPHASE\tLAST ERROR")
	for _, p := range s.Pipelines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s %s\t%s\n", p.Name, stamp(p.Cursor), behind(p), p.Sent, p.Phase, p.Progress, p.LastError)
	}
	fmt.Fprintln(w, "\nSCOM SERVER\tSTATE\tIN USE\tLAST ANSWER\tLAST ERROR")
	for _, c := range s.SCOM {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Name, tried(c.State), yes(c.InUse), answered(c.LastOK), c.LastError)
	}
	fmt.Fprintln(w, "\nMOOG SERVER\tSTATE\tIN USE\tLAST ANSWER\tLAST ERROR")
	for _, l := range s.LAMs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Name, tried(l.State), yes(l.InUse), answered(l.LastOK), l.LastError)
	}
	fmt.Fprintln(w)
	printMembers(w, s.Members)
	if err := w.Flush(); err != nil {
		return err
	}
	printEtcd(t, s.Etcd)
	if len(s.Maintenance) > 0 {
		fmt.Fprintf(t.out, "\nin maintenance: %s\n", strings.Join(s.Maintenance, ", "))
	}
	printOpen(t, s)
	printOutlook(t, s)
	for _, n := range s.Notes {
		fmt.Fprintf(t.out, "note: %s, %s: %s\n", stamp(n.At), n.Node, harmless(n.Text))
	}
	for _, a := range s.Archives {
		fmt.Fprintf(t.out, "put aside: %s, %s, epoch %d\n", stamp(a.At), a.Name, a.Epoch)
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(t.out, "warning: %s\n", warning)
	}
	return nil
}

func behind(p v1.Pipeline) string {
	switch {
	case p.Phase == "": // nobody reads SCOM, or this node does not know how that goes
		return "–"
	case !p.LagKnown:
		return "unknown: SCOM not read to its end yet"
	}
	return fmt.Sprintf("%.1f s", p.LagSeconds)
}

// printEtcd is what the node knows of the etcd, if there is one.
func printEtcd(t terminal, e *v1.Etcd) {
	if e == nil {
		return
	}
	fmt.Fprintf(t.out, "\netcd: keys below %s, lease %.0f s", e.Prefix, e.LeaseSeconds)
	if e.LeaseLeftSeconds > 0 {
		fmt.Fprintf(t.out, ", %.1f s left unless renewed", e.LeaseLeftSeconds)
	}
	fmt.Fprintln(t.out)
	for _, p := range e.Endpoints {
		switch {
		case p.Fault != "":
			fmt.Fprintf(t.out, "etcd: %s: %s\n", p.URL, harmless(p.Fault))
		case p.Alarm != "":
			fmt.Fprintf(t.out, "etcd: %s complains: %s\n", p.URL, harmless(p.Alarm))
		default:
			fmt.Fprintf(t.out, "etcd: %s: ok, version %s, answers in %.1f ms, database %.1f MB\n", p.URL, harmless(p.Version), p.LatencyMS, float64(p.SizeBytes)/(1<<20))
		}
	}
}

// printOutlook tells of the takeover where that is the way on.
func printOutlook(t terminal, s *v1.Status) {
	if s.Leader != "" || !s.Takeover.Possible {
		return
	}
	by := "scomconnector takeover"
	if !s.Takeover.At.IsZero() {
		by = "by itself at " + stamp(s.Takeover.At) + " if nothing changes, or " + by
	}
	fmt.Fprintf(t.out, "\ntakeover: %s can lead alone: %s\n", s.Node, by)
	fmt.Fprintf(t.out, "takeover: its last word from a leader: %s\n", stamp(s.Takeover.LastHeard))
	for _, w := range s.Takeover.Warnings {
		fmt.Fprintf(t.out, "takeover: warning: %s\n", harmless(w))
	}
}

// printOpen counts what waits for SCOM and what waits for an operator, and names the way to it.
func printOpen(t terminal, s *v1.Status) {
	if s.Outbox.Pending > 0 {
		fmt.Fprintf(t.out, "\nclose requests waiting: %d, the oldest since %s: scomconnector outbox\n", s.Outbox.Pending, stamp(s.Outbox.Oldest))
	}
	if s.Refused.Count > 0 || s.Parked.Count > 0 {
		fmt.Fprintf(t.out, "\nparked: %d close requests, %d alerts: scomconnector parked list\n", s.Refused.Count, s.Parked.Count)
	}
}

// tried is the state of a server in words.
func tried(state string) string {
	if state == "unknown" {
		return "not known yet"
	}
	return state
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

// answered is when a server last answered well; none that is known to this node is not none ever.
func answered(t time.Time) string {
	if t.IsZero() {
		return "none known yet"
	}
	return stamp(t)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
