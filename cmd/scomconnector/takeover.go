package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"scomconnector/api"
	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
)

const helpTakeover = `Has the node that is asked lead although the nodes that it needs for that are gone: on the survivor of a pair
without a witness, or of a pair and a witness of which two are gone. It asks the other nodes first: while one of
them leads, the takeover is refused, also with --force; use transfer then. It says what may be lost, and asks.

  --force            also where something is known to be missing here; without it the warnings refuse it
  --yes              do not ask
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          the node that should lead, if it is another
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON; needs --yes

example: scomconnector takeover
         scomconnector takeover --force --yes --url http://scomc2:8085 --token-file operator.token
exit code: 0 once the node leads, also if it did before; 1 if it was refused
`

// probeTime is how long another member may take to say that it leads. One that is gone takes all of it.
const probeTime = 5 * time.Second

func runTakeover(t terminal, args []string) error {
	fs := flags("takeover")
	n := nodeFlags(fs, true)
	var force bool
	fs.BoolVar(&force, "force", false, "")
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
	l := v1.Leadership{Leader: s.Leader, Maintenance: s.Maintenance}
	if s.Leader != s.Node {
		if err := n.mayTakeOver(t, s, force); err != nil {
			return err
		}
		if l, err = c.TakeOver(context.Background(), v1.TakeoverOrder{Force: force}); err != nil {
			return advised(err)
		}
	}
	if l.Leader != s.Node {
		return hinted{fmt.Errorf("the takeover has ended, and the leader is not %s but %s", s.Node, orNone(l.Leader)), "scomconnector status tells more"}
	}
	if n.json {
		return printJSON(t, l)
	}
	if s.Leader == s.Node {
		fmt.Fprintf(t.out, "%s leads already; there is nothing to take over.\n", s.Node)
		return nil
	}
	fmt.Fprintln(t.out, leads(l.Leader))
	return nil
}

// mayTakeOver asks the other nodes, says what may be lost, and asks the person. nil: go on.
func (n *node) mayTakeOver(t terminal, s v1.Status, force bool) error {
	const instead = "there is nothing to take over: scomconnector transfer has another node lead, maintenance keeps one from it"
	if s.Leader != "" {
		return hinted{fmt.Errorf("the cluster has a leader: %s", s.Leader), instead}
	}
	if alive := leaderElsewhere(s); alive != "" {
		return hinted{fmt.Errorf("the cluster has a leader: %s", alive), instead}
	}
	if !s.Takeover.Possible {
		return hinted{fmt.Errorf("%s cannot take over: %s", s.Node, harmless(s.Takeover.Refusal)), "scomconnector status tells what it waits for"}
	}
	if !n.json {
		printTakeover(t, s)
	}
	if len(s.Takeover.Warnings) > 0 && !force {
		return hinted{fmt.Errorf("nothing was changed, for a reason that needs --force: %s", harmless(strings.Join(s.Takeover.Warnings, "; "))),
			"start the other node if you can: then nothing is lost; else accept the loss with --force"}
	}
	if ok, err := n.agreed(t, "Take over on "+s.Node+"?"); err != nil {
		return err
	} else if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	return nil
}

// leaderElsewhere asks every other member, at the address that this one knows, whether it leads or knows who does. The token
// stays here: it is for the node that --url names.
func leaderElsewhere(s v1.Status) string {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	found := make(chan string)
	asked := 0
	for _, m := range s.Members {
		if m.Node == s.Node || m.URL == "" {
			continue
		}
		asked++
		go func() { found <- leaderKnownTo(ctx, m) }()
	}
	alive := ""
	for range asked {
		if f := <-found; f != "" {
			alive = f
		}
	}
	return alive
}

// unproven is for questions without a token, whose answers can only keep something from being done: a member whose certificate is of an
// authority that is not known here is there all the same.
func unproven(url string) *client.Client {
	c := client.New(url, "")
	c.Trust(&tls.Config{InsecureSkipVerify: true})
	return c
}

func leaderKnownTo(ctx context.Context, m v1.Member) string {
	c := unproven(m.URL)
	leading, err := c.Leads(ctx)
	switch {
	case err != nil: // gone, or out of reach: that is why somebody types this
		return ""
	case leading:
		return m.Node
	}
	s, err := c.Status(ctx)
	if err != nil || s.Leader == "" {
		return ""
	}
	return harmless(s.Leader) + ", as " + m.Node + " says"
}

// printTakeover says what a takeover may cost.
func printTakeover(t terminal, s v1.Status) {
	fmt.Fprintf(t.out, "%s would lead alone. Make sure that the other nodes are really down.\n", s.Node)
	if !s.Takeover.At.IsZero() {
		fmt.Fprintf(t.out, "It takes over by itself at %s if nothing changes.\n", stamp(s.Takeover.At))
	}
	for _, line := range api.Loss(s) {
		fmt.Fprintf(t.out, "  - %s\n", line)
	}
	for _, warning := range s.Takeover.Warnings {
		fmt.Fprintf(t.out, "  - warning: %s\n", harmless(warning))
	}
}
