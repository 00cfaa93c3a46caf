package main

import (
	"context"
	"fmt"

	v1 "scomconnector/api/v1"
)

const helpReconcile = `Alerts that were sent and that SCOM does not show any more are closed in Moogsoft, a few at a time. Where many
vanish at once (more than 20, and more than 5 in a hundred) nothing is closed, since a changed scope of the
SCOM account looks just so; the page says how many. If they are really gone:

  reconcile confirm
      says so to the leader; the next reconcile closes them

  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          the leader, if it is another node
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON
  --yes              do not ask

example: scomconnector reconcile confirm
`

func runReconcile(t terminal, args []string) error {
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("reconcile"), args, 0)
	}
	if len(args) == 0 || args[0] != "confirm" {
		return noVerb("reconcile", args, "confirm")
	}
	fs := flags("reconcile confirm")
	n := nodeFlags(fs, true)
	if err := parse(fs, args[1:], 0); err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	if ok, err := n.agreed(t, "Close in Moogsoft what SCOM does not show any more, however many?"); err != nil {
		return err
	} else if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	held, err := c.ConfirmVanished(context.Background())
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, v1.Vanished{Vanished: held})
	}
	fmt.Fprintf(t.out, "Confirmed; %d were held back, the next reconcile closes what is still gone.\n", held)
	return nil
}
