package main

import (
	"context"
	"fmt"
	"strings"

	v1 "scomconnector/api/v1"
	"scomconnector/cmd/journal"
)

const helpLogLevel = `Shows how much a node logs, or changes it at once, until the node's next start; Log.Level in node.json says
what it begins with. What people change stands in the log whatever the level.

  LEVEL              OFF, FATAL, ERROR, WARN, INFO, DEBUG or ALL
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON

example: scomconnector log-level DEBUG
`

func runLogLevel(t terminal, args []string) error {
	fs := flags("log-level")
	n := nodeFlags(fs, false)
	level, err := argument(fs, args)
	if err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	now := ""
	if level == "" {
		now, err = c.LogLevel(context.Background())
	} else if _, known := journal.Known(level); !known { // before the node is asked for its token
		return usageError{fmt.Errorf("%q is no level: there are %s", level, strings.Join(journal.Levels, ", "))}
	} else {
		now, err = c.SetLogLevel(context.Background(), level)
	}
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, v1.LogLevel{Level: now})
	}
	fmt.Fprintln(t.out, now)
	return nil
}
