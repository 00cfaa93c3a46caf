package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	v1 "scomconnector/api/v1"
)

const helpOutbox = `Shows the close requests that were accepted and that SCOM has not answered yet: who asked what, when, and where it
stands. What SCOM refuses for good is not here any more: parked list shows it.

  --settled          also the last 100 that have come to their end, and how
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster
  --token-file FILE  another node's token for reading, if it asks for one
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON, settled ones included

example: scomconnector outbox
         scomconnector outbox --settled --url http://scomc1.contoso.com:8085
`

func runOutbox(t terminal, args []string) error {
	fs := flags("outbox")
	n := nodeFlags(fs, false)
	settled := fs.Bool("settled", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	list, err := c.Outbox(context.Background())
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, list)
	}
	if err := printOutbox(t, list); err != nil || !*settled {
		return err
	}
	return printSettled(t, list.Settled)
}

func printOutbox(t terminal, list v1.OutboxList) error {
	if list.Error != "" {
		fmt.Fprintf(t.out, "Nothing moves: %s\n", cell(list.Error, 500))
	}
	if list.Pending == 0 && len(list.Entries) == 0 {
		fmt.Fprintln(t.out, "No close request waits for SCOM.")
		return nil
	}
	fmt.Fprintf(t.out, "Close requests that wait for SCOM: %d, the oldest since %s.\n", list.Pending, stamp(list.Oldest))
	if list.Pending > len(list.Entries) {
		fmt.Fprintf(t.out, "The oldest %d of them:\n", len(list.Entries))
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tALERT\tASKED FOR\tBY\tACCEPTED\tON\tSTANDS")
	for _, e := range list.Entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(e.ID, 40), cell(e.Alert, 40), askedFor(e), cell(e.From, 60), stamp(e.At), cell(e.Node, 40), cell(e.Stands, 100))
	}
	return w.Flush()
}

func printSettled(t terminal, settled []v1.SettledEntry) error {
	fmt.Fprintln(t.out)
	if len(settled) == 0 {
		fmt.Fprintln(t.out, "None has come to its end within the last day.")
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tALERT\tASKED FOR\tBY\tASKED\tENDED\tHOW")
	for _, e := range settled {
		how := e.Status
		if e.Reason != "" {
			how += ": " + e.Reason
		}
		asked := askedFor(v1.OutboxEntry{State: e.State, Fields: e.Fields})
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(e.ID, 40), cell(e.Alert, 40), asked, cell(e.From, 60), stamp(e.Asked), stamp(e.At), cell(how, 160))
	}
	return w.Flush()
}

// askedFor is what a close request asks for.
func askedFor(e v1.OutboxEntry) string {
	text := fmt.Sprintf("state %d", e.State)
	switch e.State {
	case 255:
		text = "close"
	case -1:
		text = "change"
	}
	if len(e.Fields) > 0 {
		text += ", set " + strings.Join(slices.Sorted(maps.Keys(e.Fields)), ", ")
	}
	return cell(text, 80)
}

// cell is a stranger's text on one line of a table.
func cell(text string, most int) string {
	one := strings.NewReplacer("\n", " ", "\t", " ").Replace(harmless(text))
	return cmp.Or(clip(one, most), "-")
}
