package main

import (
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

func TestStatusClaimsNoLagBeforeSCOMWasRead(t *testing.T) {
	for want, p := range map[string]v1.Pipeline{
		"unknown: SCOM not read yet": {Phase: "waiting for SCOM"},
		"0.0 s":                      {Phase: "idle", LastPoll: time.Now()},
		"3600.0 s":                   {Phase: "waiting for SCOM", LagSeconds: 3600, Cursor: time.Now().Add(-time.Hour)},
	} {
		if got := behind(p); got != want {
			t.Errorf("%+v: got %q, want %q", p, got, want)
		}
	}
}
