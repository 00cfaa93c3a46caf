package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
)

const helpParked = `Events that a LAM has refused for good, and rows of SCOM's that cannot be understood, are parked: kept until
somebody has looked at them. Everything else goes on meanwhile.

  parked list
      all entries, newest first
  parked show KEY
      one of them with the LAM's answer and the whole event
  parked remove KEY
      asks, and takes it away; it is not sent again

  --url URL          any node of the cluster (default http://localhost:8085)
  --token-file FILE  content of the node's OperatorTokenFile; without one, run remove on the node itself
  --json             the answer as JSON
  --yes              do not ask

example: scomconnector parked list
         scomconnector parked show 5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01
         scomconnector parked remove 5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01 --token-file operator.token --yes
`

func runParked(t terminal, args []string) error {
	verbs := map[string]func(terminal, []string) error{"list": listParked, "show": showParked, "remove": removeParked}
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("parked"), args, 0)
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		return usageError{errors.New("parked needs what to do: list, show KEY, remove KEY")}
	}
	return verbs[args[0]](t, args[1:])
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
	all, err := c.Parked(context.Background())
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, v1.ParkedList{Count: len(all), Entries: all})
	}
	if len(all) == 0 {
		fmt.Fprintln(t.out, "Nothing is parked.")
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tPIPELINE\tPARKED\tHTTP\tREASON")
	for _, e := range all {
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

// findParked is the entry with this key; PIPELINE/KEY where two pipelines have one of the same key.
func findParked(c *client.Client, key string) (v1.ParkedEntry, error) {
	all, err := c.Parked(context.Background())
	if err != nil {
		return v1.ParkedEntry{}, advised(err)
	}
	var found []v1.ParkedEntry
	for _, e := range all {
		if strings.EqualFold(e.Key, strings.Trim(key, "{}")) || strings.EqualFold(e.Pipeline+"/"+e.Key, key) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return v1.ParkedEntry{}, hinted{fmt.Errorf("nothing of the key %s is parked", clip(key, 100)), "parked list shows the keys"}
	case 1:
		return found[0], nil
	}
	return v1.ParkedEntry{}, hinted{fmt.Errorf("%d pipelines have an entry of the key %s", len(found), key), fmt.Sprintf("write the pipeline before it, as in %s/%s", found[0].Pipeline, found[0].Key)}
}

// oneParked reads the flags and the key that show and remove have in common.
func oneParked(verb string, changes bool, args []string) (*node, *client.Client, v1.ParkedEntry, error) {
	fs := flags("parked " + verb)
	n := nodeFlags(fs, changes)
	key, err := argument(fs, args)
	if err != nil {
		return nil, nil, v1.ParkedEntry{}, err
	}
	if key == "" {
		return nil, nil, v1.ParkedEntry{}, usageError{fmt.Errorf("%s needs the key of an entry", fs.Name())}
	}
	c, err := n.client()
	if err != nil {
		return nil, nil, v1.ParkedEntry{}, err
	}
	e, err := findParked(c, key)
	return n, c, e, err
}

func showParked(t terminal, args []string) error {
	n, c, e, err := oneParked("show", false, args)
	if err != nil {
		return err
	}
	p, err := c.ParkedPayload(context.Background(), e.Pipeline, e.Key)
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, p)
	}
	printParked(t, p.Entry)
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

func printParked(t terminal, e v1.ParkedEntry) {
	for _, line := range [][2]string{
		{"key", e.Key}, {"pipeline", e.Pipeline}, {"alert", e.Alert}, {"parked", stamp(e.At)}, {"reason", e.Reason},
		{"LAM", e.LAM}, {"HTTP status", strings.Trim(httpStatus(e), "-")}, {"its answer", e.Answer},
	} {
		if line[1] != "" {
			fmt.Fprintf(t.out, "%-12s %s\n", line[0]+":", harmless(line[1]))
		}
	}
}

func removeParked(t terminal, args []string) error {
	n, c, e, err := oneParked("remove", true, args)
	if err != nil {
		return err
	}
	if !n.json && !n.yes {
		printParked(t, e)
	}
	if ok, err := n.agreed(t, "Remove it? It is not sent again."); err != nil {
		return err
	} else if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	if err := c.RemoveParked(context.Background(), e.Pipeline, e.Key); err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, e)
	}
	fmt.Fprintf(t.out, "Removed %s from %s.\n", e.Key, e.Pipeline)
	return nil
}
