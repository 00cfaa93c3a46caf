package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	v1 "scomconnector/api/v1"
)

const helpCursors = `How far each pipeline has delivered, and the way back: where Moogsoft has lost alerts, such as by a restore of its
database, they are sent again from a time on.

  cursors show
      the cursor of each pipeline, and how far back it may be put
  cursors rewind [PIPELINE] --to TIME
      says what will be sent again, asks, and puts the cursor back; without PIPELINE the only one. What SCOM shows
      with a change since TIME is sent again, one span of time after the other, the oldest first; new alerts wait
      until what is behind them has been sent. Moogsoft folds what it has already. Nothing is skipped: a cursor
      never goes forward by hand. At most 7 days back, as SCOM removes resolved alerts then by default

  --to TIME          2026-01-02T03:04:05Z, or how long ago: 90m, 6h, 7d, 1d12h
  --node FILE        node.json of this machine's node, which is asked without --url (default as for run)
  --url URL          another node of the cluster
  --token-file FILE  another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE          authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json             the answer as JSON; rewind needs --yes then
  --yes              rewind: do not ask

example: scomconnector cursors show
         scomconnector cursors rewind --to 6h
`

func runCursors(t terminal, args []string) error {
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("cursors"), args, 0)
	}
	switch {
	case len(args) > 0 && args[0] == "show":
		return showCursors(t, args[1:])
	case len(args) > 0 && args[0] == "rewind":
		return rewindCursor(t, args[1:])
	}
	return noVerb("cursors", args, "show, rewind [PIPELINE] --to TIME")
}

func showCursors(t terminal, args []string) error {
	fs := flags("cursors show")
	n := nodeFlags(fs, false)
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	list, err := c.Cursors(context.Background(), time.Time{})
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, v1.CursorList{Cursors: list})
	}
	if len(list) == 0 {
		fmt.Fprintln(t.out, "There is no pipeline yet: the cluster has no settings, or has not begun to poll.")
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PIPELINE\tDELIVERED UP TO\tREMEMBERED\tREWOUND\tBACK AT MOST TO")
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", cell(p.Pipeline, 80), stamp(p.Cursor), p.Remembered, p.Rewinds, stamp(p.Earliest))
	}
	return w.Flush()
}

func rewindCursor(t terminal, args []string) error {
	fs := flags("cursors rewind")
	n := nodeFlags(fs, true)
	typed := fs.String("to", "", "")
	name, err := argument(fs, args)
	if err != nil {
		return err
	}
	to, err := timeOf(*typed, time.Now())
	if err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	list, err := c.Cursors(context.Background(), to)
	if err != nil {
		return advised(err)
	}
	p, err := oneCursor(list, name)
	if err != nil {
		return err
	}
	if err := p.Accepts(to, time.Now()); err != nil {
		return hinted{fmt.Errorf("--to %s: %w", clip(*typed, 60), err), "nothing was changed; scomconnector cursors show names how far back each pipeline may be put"}
	}
	if !n.json {
		sayRewind(t, p, to)
	}
	if ok, err := n.agreed(t, "Put "+clip(p.Pipeline, 80)+" back?"); err != nil {
		return err
	} else if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	back, err := c.Rewind(context.Background(), v1.RewindOrder{Pipeline: p.Pipeline, To: to})
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, back)
	}
	fmt.Fprintf(t.out, "Put back to %s; cursors show and the page tell how far it has come again.\n", stamp(back.To))
	return nil
}

// sayRewind says what will happen before it does.
func sayRewind(t terminal, p v1.Cursor, to time.Time) {
	fmt.Fprintf(t.out, "%s has delivered up to %s.\n", cell(p.Pipeline, 80), stamp(p.Cursor))
	fmt.Fprintf(t.out, "From %s on everything that SCOM shows is sent again: of the alerts that are remembered %d,\n", stamp(to), p.Again)
	fmt.Fprintln(t.out, "and those that were closed since and are not remembered any more. Moogsoft folds what it has by its signature.")
}

func oneCursor(list []v1.Cursor, name string) (v1.Cursor, error) {
	if name == "" && len(list) == 1 {
		return list[0], nil
	}
	names := ""
	for _, p := range list {
		if p.Pipeline == name {
			return p, nil
		}
		names += " " + cell(p.Pipeline, 80)
	}
	if name == "" {
		return v1.Cursor{}, usageError{fmt.Errorf("name the pipeline:%s", names)}
	}
	return v1.Cursor{}, hinted{fmt.Errorf("no pipeline is called %q", clip(name, 100)), "there are:" + names}
}

// timeOf is a time as typed, or how long ago.
func timeOf(typed string, now time.Time) (time.Time, error) {
	if typed == "" {
		return time.Time{}, usageError{errors.New("cursors rewind needs --to TIME, such as 2026-01-02T03:04:05Z, 6h or 7d")}
	}
	to, err := v1.Moment(typed, now)
	if err != nil {
		return to, usageError{fmt.Errorf("--to %q: %w", clip(typed, 60), err)}
	}
	return to, nil
}
