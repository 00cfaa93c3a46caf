package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	v1 "scomconnector/api/v1"
)

const helpMaintenance = `A node in maintenance does not lead, so that it may be stopped: the other one takes over first, within moments,
without losing or repeating anything. The same can be done in a browser, at /maintenance of any node.

  maintenance [show]
      who leads, and who is in maintenance
  maintenance enter [NODE]
      has the node lead no more; without NODE the one that is asked. Maintenance ends when the node comes back
      after an ordinary stop, or has run well for 5 minutes after a crash
  maintenance leave [NODE]
      ends it

  --force            enter: also if the other node reaches neither SCOM nor a LAM. What else is refused stays so
  --sticky           enter: a restart does not end it
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON
  --yes              taken and not needed: nothing is asked

example: scomconnector maintenance enter primary --url http://scomc1:8085 --token-file operator.token
         scomconnector maintenance leave primary
exit code: 0 once the other node leads and the cluster has taken note; 1 if it was refused
`

func runMaintenance(t terminal, args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return showMaintenance(t, args)
	}
	switch args[0] {
	case "show":
		return showMaintenance(t, args[1:])
	case "enter", "leave":
		return changeMaintenance(t, args[0], args[1:])
	}
	return usageError{fmt.Errorf("maintenance has no %q: only show, enter [NODE], leave [NODE]", args[0])}
}

func showMaintenance(t terminal, args []string) error {
	fs := flags("maintenance")
	n := nodeFlags(fs, false)
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	m, err := c.Members(context.Background())
	if err != nil {
		return advised(err)
	}
	out := []string{}
	said := "Nobody is in maintenance."
	for _, one := range m.Members {
		if one.Maintenance {
			out = append(out, one.Node)
			said = "In maintenance: " + strings.Join(out, ", ") + "."
		}
	}
	if n.json {
		return printJSON(t, v1.Leadership{Leader: m.Leader, Maintenance: out})
	}
	fmt.Fprintln(t.out, leads(m.Leader), said)
	for _, one := range m.Members {
		if one.Maintenance && one.Sticky {
			fmt.Fprintf(t.out, "%s stays in maintenance over restarts.\n", one.Node)
		}
	}
	return nil
}

func leads(node string) string {
	if node == "" {
		return "No leader is known."
	}
	return node + " leads."
}

func changeMaintenance(t terminal, action string, args []string) error {
	fs := flags("maintenance " + action)
	n := nodeFlags(fs, true)
	o := v1.MaintenanceOrder{Action: action}
	if action == "enter" {
		fs.BoolVar(&o.Force, "force", false, "")
		fs.BoolVar(&o.Sticky, "sticky", false, "")
	}
	var err error
	if o.Node, err = argument(fs, args); err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	if o.Node == "" { // asked for, so that the answer can name it
		s, err := c.Status(context.Background())
		if err != nil {
			return advised(err)
		}
		o.Node = s.Node
	}
	l, err := c.Maintain(context.Background(), o)
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, l)
	}
	fmt.Fprintln(t.out, leads(l.Leader), "In maintenance:", cmp.Or(strings.Join(l.Maintenance, ", "), "nobody")+".")
	if action == "enter" && l.Leader != "" && l.Leader != o.Node {
		fmt.Fprintf(t.out, "%s may be stopped now.\n", o.Node)
	}
	return nil
}

const helpTransfer = `Has another node lead. It goes on from where the one before ended: nothing is lost or repeated. Where the
Primary should stay idle, use maintenance: after a transfer it takes over again by itself (Failback).

  --to NODE          the node that should lead; not needed where only one other could
  --force            also if that node reaches neither SCOM nor a LAM. What else is refused stays so
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON
  --yes              taken and not needed: nothing is asked

example: scomconnector transfer --to secondary
exit code: 0 once that node leads; 1 if it was refused
`

func runTransfer(t terminal, args []string) error {
	fs := flags("transfer")
	n := nodeFlags(fs, true)
	var o v1.TransferOrder
	fs.StringVar(&o.To, "to", "", "")
	fs.BoolVar(&o.Force, "force", false, "")
	if err := parse(fs, args, len(args)); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: transfer --to NODE names who leads then", clip(fs.Arg(0), 60))}
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	l, err := c.Transfer(context.Background(), o)
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, l)
	}
	fmt.Fprintln(t.out, leads(l.Leader))
	return nil
}
