package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	v1 "scomconnector/api/v1"
)

const helpMembers = `The nodes of the cluster as the one that is asked sees them: who leads, who has a vote, who is in maintenance,
how far each is behind, and why one is out of contact.

  members
      the table
  members remove ID
      asks, and drops a member that no node.json names any more. To take a node out for good: stop it, take it out
      of Members in every other node.json, restart those one at a time, the leader last, then remove it

  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON
  --yes              remove: do not ask

example: scomconnector members --url http://scomc1:8085
         scomconnector members remove witness --token-file operator.token
`

func runMembers(t terminal, args []string) error {
	if len(args) > 0 && args[0] == "remove" {
		return removeMember(t, args[1:])
	}
	fs := flags("members")
	n := nodeFlags(fs, false)
	verb, err := argument(fs, args)
	if err != nil {
		return err
	}
	if verb != "" {
		return usageError{fmt.Errorf("members has no %q: only remove ID, as the first word", verb)}
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	m, err := c.Members(context.Background())
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, m)
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	printMembers(w, m.Members)
	if err := w.Flush(); err != nil {
		return err
	}
	if m.Leader == "" {
		fmt.Fprintln(t.out, "No leader is known.")
	}
	return nil
}

// printMembers is the table that status has, too.
func printMembers(w io.Writer, all []v1.Member) {
	fmt.Fprintln(w, "MEMBER\tROLE\tPART\tMAINTENANCE\tBEHIND\tLAST CONTACT\tVERSION\tFAULT")
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Node, m.Role, part(m), inMaintenance(m), count(m.Behind), stamp(m.LastContact), m.Version, harmless(trouble(m)))
	}
}

// trouble is what is wrong with a member.
func trouble(m v1.Member) string {
	if m.Fault == "" && m.Slow != "" {
		return "its machine " + m.Slow
	}
	return m.Fault
}

func part(m v1.Member) string {
	switch {
	case m.Leader:
		return "leader"
	case m.Part != "":
		return m.Part
	case m.Voter:
		return "voter"
	}
	return "no voter"
}

func inMaintenance(m v1.Member) string {
	if m.Maintenance && m.Sticky {
		return "sticky"
	}
	return yes(m.Maintenance)
}

func count(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func removeMember(t terminal, args []string) error {
	fs := flags("members remove")
	n := nodeFlags(fs, true)
	id, err := argument(fs, args)
	if err != nil {
		return err
	}
	if id == "" {
		return usageError{errors.New("members remove needs the NodeID of a member")}
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	m, err := c.Members(context.Background())
	if err != nil {
		return advised(err)
	}
	var names []string
	known := false
	for _, one := range m.Members {
		names = append(names, one.Node)
		known = known || one.Node == id
	}
	if !known {
		return hinted{fmt.Errorf("no member is called %q", clip(id, 100)), "there are " + strings.Join(names, ", ")}
	}
	if ok, err := n.agreed(t, "Remove "+id+" from the cluster? It comes back only with an empty DataDir, named in every node.json."); err != nil {
		return err
	} else if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	if err := c.RemoveMember(context.Background(), id); err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, map[string]string{"removed": id})
	}
	fmt.Fprintf(t.out, "Removed %s.\n", id)
	return nil
}
