package v1

import (
	"strings"
	"testing"
	"time"
)

func TestMomentsArePutAsPeoplePutThem(t *testing.T) {
	now := time.Date(2026, 1, 9, 3, 4, 5, 6, time.UTC)
	for text, want := range map[string]string{
		"2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+02:00": "2026-01-02T01:04:05Z",
		"7d": "2026-01-02T03:04:05Z", "12h": "2026-01-08T15:04:05Z", "90m": "2026-01-09T01:34:05Z", "1d12h": "2026-01-07T15:04:05Z", "1d1h30m": "2026-01-08T01:34:05Z",
	} {
		if got, err := Moment(text, now); err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
	if _, err := Moment(" 7d\n", now); err != nil {
		t.Errorf("with space around it: %v", err)
	}
	for _, text := range []string{"", "yesterday", "-6h", "0d", "0h", "d", "-1d", "1.5d", "7d-1h", "1d1d", "12", "7 d", "9999999999d", "2026-01-02", "2026-01-02 03:04:05", "3000000h"} {
		if got, err := Moment(text, now); err == nil || !strings.Contains(err.Error(), MomentForms) {
			t.Errorf("%q: %v, %v; want an error that says what is accepted", text, got, err)
		}
	}
}
