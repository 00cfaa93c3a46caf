package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
)

const helpParked = `What was refused for good is parked, kept until somebody has looked at it, while everything else goes on: events that
a LAM refuses, rows of SCOM's that cannot be understood, and close requests from Moogsoft that SCOM refuses.

  parked list
      all of it, newest first
  parked show KEY
      one of it, with the words of who refused it and what was refused
  parked retry KEY
      mend first what the LAM or SCOM complains of. An event is sent to its LAM again, which answers: accepted, it leaves the
      shelf; refused, it stays with the new answer; if the alert's newer state has been delivered meanwhile it is not needed any more.
      A close request is put back into the outbox, behind all others
  parked retry --all
      asks, and does so with all parked close requests
  parked remove KEY
      asks, and takes it away; it is not sent again

  --all              with retry: all close requests
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON
  --yes              do not ask

example: scomconnector parked list
         scomconnector parked show 5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01
         scomconnector parked retry 00c0ffee00c0ffee --token-file operator.token
         scomconnector parked remove 5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01 --token-file operator.token --yes
`

func runParked(t terminal, args []string) error {
	verbs := map[string]func(terminal, []string) error{"list": listParked, "show": showParked, "retry": retryParked, "remove": removeParked}
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("parked"), args, 0)
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		return noVerb("parked", args, "list, show KEY, retry KEY, remove KEY")
	}
	return verbs[args[0]](t, args[1:])
}

// parkedLists is all that is parked, as JSON shows it.
type parkedLists struct {
	v1.ParkedList
	Requests []v1.ParkedRequest `json:"requests"`
}

func allParked(c *client.Client) (parkedLists, error) {
	events, err := c.Parked(context.Background())
	if err != nil {
		return parkedLists{}, advised(err)
	}
	requests, err := c.ParkedRequests(context.Background())
	if err != nil {
		return parkedLists{}, advised(err)
	}
	return parkedLists{v1.ParkedList{Count: len(events), Entries: events}, requests}, nil
}

func listParked(t terminal, args []string) error {
	fs := flags("parked list")
	n := nodeFlags(fs, false)
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	all, err := allParked(c)
	if err != nil {
		return err
	}
	if n.json {
		return printJSON(t, all)
	}
	if len(all.Entries)+len(all.Requests) == 0 {
		fmt.Fprintln(t.out, "Nothing is parked.")
		return nil
	}
	if err := printParkedEvents(t, all.Entries); err != nil {
		return err
	}
	if len(all.Entries) > 0 && len(all.Requests) > 0 {
		fmt.Fprintln(t.out)
	}
	return printParkedRequests(t, all.Requests)
}

func printParkedEvents(t terminal, entries []v1.ParkedEntry) error {
	if len(entries) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tPIPELINE\tPARKED\tHTTP\tREASON")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Key, e.Pipeline, stamp(e.At), httpStatus(e), clip(e.Reason, 100))
	}
	return w.Flush()
}

func httpStatus(e v1.ParkedEntry) string {
	if e.Status == 0 {
		return "-"
	}
	return fmt.Sprint(e.Status)
}

// parked is an event, or a close request.
type parked struct {
	event   *v1.ParkedEntry
	request *v1.ParkedRequest
}

// findParked is what has this key; PIPELINE/KEY where two pipelines have an event of the same key.
func findParked(c *client.Client, key string) (parked, error) {
	all, err := allParked(c)
	if err != nil {
		return parked{}, err
	}
	var found []parked
	for _, e := range all.Entries {
		if strings.EqualFold(e.Key, strings.Trim(key, "{}")) || strings.EqualFold(e.Pipeline+"/"+e.Key, key) {
			found = append(found, parked{event: &e})
		}
	}
	if len(found) > 1 {
		first := found[0].event
		return parked{}, hinted{fmt.Errorf("%d pipelines have an entry of the key %s", len(found), key), fmt.Sprintf("write the pipeline before it, as in %s/%s", first.Pipeline, first.Key)}
	}
	for _, r := range all.Requests {
		if strings.EqualFold(r.ID, key) {
			found = append(found, parked{request: &r})
		}
	}
	if len(found) == 0 {
		return parked{}, hinted{fmt.Errorf("nothing of the key %s is parked", clip(key, 100)), "parked list shows the keys"}
	}
	return found[0], nil
}

// oneParked reads the flags and the key that show, retry and remove have in common.
func oneParked(fs *flag.FlagSet, changes bool, args []string) (*node, *client.Client, parked, error) {
	n := nodeFlags(fs, changes)
	key, err := argument(fs, args)
	if err != nil {
		return nil, nil, parked{}, err
	}
	if key == "" {
		return nil, nil, parked{}, usageError{fmt.Errorf("%s needs the key of an entry", fs.Name())}
	}
	c, err := n.client()
	if err != nil {
		return nil, nil, parked{}, err
	}
	p, err := findParked(c, key)
	return n, c, p, err
}

func showParked(t terminal, args []string) error {
	n, c, one, err := oneParked(flags("parked show"), false, args)
	if err != nil {
		return err
	}
	if one.request != nil {
		if n.json {
			return printJSON(t, one.request)
		}
		one.print(t)
		return nil
	}
	p, err := c.ParkedPayload(context.Background(), one.event.Pipeline, one.event.Key)
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, p)
	}
	parked{event: &p.Entry}.print(t)
	payload := []byte(p.Payload)
	var pretty bytes.Buffer
	if json.Indent(&pretty, payload, "", "  ") == nil {
		payload = pretty.Bytes()
	}
	fmt.Fprintf(t.out, "\n%s\n", harmless(string(payload)))
	return nil
}

// harmless takes out what would move the cursor or change the colours: the text is a stranger's.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// print shows all that is known of it but the event itself.
func (p parked) print(t terminal) {
	lines := requestLines(p.request)
	if e := p.event; e != nil {
		lines = [][2]string{
			{"key", e.Key}, {"pipeline", e.Pipeline}, {"alert", e.Alert}, {"parked", stamp(e.At)}, {"reason", e.Reason},
			{"LAM", e.LAM}, {"HTTP status", strings.Trim(httpStatus(*e), "-")}, {"its answer", e.Answer},
		}
	}
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(t.out, "%-12s %s\n", line[0]+":", harmless(line[1]))
		}
	}
}

func removeParked(t terminal, args []string) error {
	n, c, one, err := oneParked(flags("parked remove"), true, args)
	if err != nil {
		return err
	}
	question, removed := "Remove it? It is not sent again.", ""
	if one.request != nil {
		question, removed = "Remove it? SCOM is not asked again.", "Removed the close request "+one.request.ID+"."
	}
	if !n.json && !n.yes {
		one.print(t)
	}
	if ok, err := n.agreed(t, question); err != nil {
		return err
	} else if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	var gone any = one.request
	if one.event != nil {
		gone, removed = one.event, fmt.Sprintf("Removed %s from %s.", one.event.Key, one.event.Pipeline)
		err = c.RemoveParked(context.Background(), one.event.Pipeline, one.event.Key)
	} else {
		err = c.RemoveRequest(context.Background(), one.request.ID)
	}
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, gone)
	}
	fmt.Fprintln(t.out, removed)
	return nil
}
