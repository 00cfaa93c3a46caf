package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"text/tabwriter"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
)

func printParkedRequests(t terminal, requests []v1.ParkedRequest) error {
	if len(requests) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLOSE REQUEST\tALERT\tASKED FOR\tBY\tREFUSED\tREASON")
	for _, r := range requests {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", cell(r.ID, 40), cell(r.Alert, 40), askedFor(r.OutboxEntry), cell(r.From, 60), stamp(r.ParkedAt), cell(r.Reason, 100))
	}
	return w.Flush()
}

// requestLines is all of a close request, for people.
func requestLines(r *v1.ParkedRequest) [][2]string {
	if r == nil {
		return nil
	}
	lines := [][2]string{
		{"request", r.ID}, {"alert", r.Alert}, {"asked for", askedFor(r.OutboxEntry)}, {"by", r.From}, {"accepted", stamp(r.At) + " by " + r.Node},
		{"refused", stamp(r.ParkedAt)}, {"reason", r.Reason}, {"comment", r.Comment},
	}
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		lines = append(lines, [2]string{name, r.Fields[name]})
	}
	return lines
}

func retryParked(t terminal, args []string) error {
	fs := flags("parked retry")
	n := nodeFlags(fs, true)
	all := fs.Bool("all", false, "")
	key, err := argument(fs, args)
	if err != nil {
		return err
	}
	if key == "" != *all {
		return usageError{errors.New("parked retry needs the key of an entry, or --all")}
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	if *all {
		return retryAll(t, n, c)
	}
	one, err := findParked(c, key)
	if err != nil {
		return err
	}
	if one.event != nil {
		return retryEvent(t, n, c, one.event)
	}
	if err := c.RetryRequest(context.Background(), one.request.ID); err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, one.request)
	}
	fmt.Fprintf(t.out, "The close request %s waits for SCOM again; scomconnector outbox shows where it stands.\n", one.request.ID)
	return nil
}

func retryEvent(t terminal, n *node, c *client.Client, e *v1.ParkedEntry) error {
	r, err := c.RetryParked(context.Background(), e.Pipeline, e.Key)
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, r)
	}
	if r.Status == v1.RetryOvertaken {
		fmt.Fprintf(t.out, "%s was not sent: a newer state of its alert has been delivered since. It is not parked any more.\n", e.Key)
		return nil
	}
	fmt.Fprintf(t.out, "%s was sent again and accepted by %s. It is not parked any more.\n", e.Key, e.Pipeline)
	return nil
}

// retryAll puts all of them back, the oldest first, so that those of one alert keep their order.
func retryAll(t terminal, n *node, c *client.Client) error {
	requests, err := c.ParkedRequests(context.Background())
	if err != nil {
		return advised(err)
	}
	if len(requests) == 0 {
		return answerRetried(t, n, requests)
	}
	if !n.json && !n.yes {
		if err := printParkedRequests(t, requests); err != nil {
			return err
		}
	}
	if ok, err := n.agreed(t, fmt.Sprintf("Try all of them again (%d)?", len(requests))); err != nil {
		return err
	} else if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	slices.Reverse(requests)
	for i, r := range requests {
		err := c.RetryRequest(context.Background(), r.ID)
		// Somebody else may deal with one of them at the same time.
		if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Code == http.StatusNotFound {
			continue
		}
		if err != nil {
			return advised(fmt.Errorf("after %d of %d: %w", i, len(requests), err))
		}
	}
	return answerRetried(t, n, requests)
}

func answerRetried(t terminal, n *node, requests []v1.ParkedRequest) error {
	if n.json {
		return printJSON(t, v1.ParkedRequestList{Count: len(requests), Requests: requests})
	}
	if len(requests) == 0 {
		fmt.Fprintln(t.out, "No close request is parked.")
		return nil
	}
	fmt.Fprintf(t.out, "Close requests that wait for SCOM again: %d; scomconnector outbox shows where they stand.\n", len(requests))
	return nil
}
