package main

import (
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

func TestStatusClaimsNoLagBeforeSCOMWasRead(t *testing.T) {
	for want, p := range map[string]v1.Pipeline{
		"unknown: SCOM not read to its end yet": {Phase: "waiting for SCOM", LastPoll: time.Now()},
		"–":                                     {},
		"0.0 s":                                 {Phase: "idle", LagKnown: true},
		"3600.0 s":                              {Phase: "waiting for SCOM", LagSeconds: 3600, LagKnown: true},
	} {
		if got := behind(p); got != want {
			t.Errorf("%+v: got %q, want %q", p, got, want)
		}
	}
}
