package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

// Whoever reads of refused closes finds below how many there are and the command that shows them, and a server that has
// done nothing yet is not called connected.
func TestStatusNamesWhatWaitsForAPerson(t *testing.T) {
	s := v1.Status{
		Outbox: v1.OutboxList{Pending: 3, Oldest: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Parked: v1.Parked{Count: 4}, Refused: v1.ParkedRequestList{Count: 2},
		LAMs: []v1.LAM{{Name: "moog1", State: "unknown", InUse: true}},
	}
	var out bytes.Buffer
	if err := printStatus(terminal{out: &out}, &s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"close requests waiting: 3, the oldest since 2026-01-02 03:04:05Z: scomconnector outbox",
		"parked: 2 close requests, 4 alerts: scomconnector parked list",
		"moog1        not known yet  yes     none known yet",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := printStatus(terminal{out: &out}, &v1.Status{}); err != nil || strings.Contains(out.String(), "parked list") {
		t.Errorf("with nothing open: %v\n%s", err, out.String())
	}
}

// The simulators take one account, and say which.
func TestTheSimulatorsNameTheirAccount(t *testing.T) {
	var out bytes.Buffer
	nameSimulators(&out, "127.0.0.1")
	for _, want := range []string{"http://127.0.0.1:8080/OperationsManager", `CONTOSO\svc-moogsoft with the password simulated, and no other`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, out.String())
		}
	}
}
