package v1

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// MomentForms are the times that Moment takes, for people.
const MomentForms = "a time with its zone, such as 2026-01-02T03:04:05Z, or how long ago, such as 90m, 6h, 7d or 1d12h"

var errMoment = errors.New("accepted is " + MomentForms)

// Moment is a time as people type it: RFC 3339, or how long before now, where d stands for 24 hours. It is UTC, of whole seconds where
// it is counted from now. The error says what is accepted.
func Moment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC(), nil
	}
	const mostDays = 36500 // far from where a Duration ends
	ago, rest := time.Duration(0), text
	if days, behind, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > mostDays {
			return time.Time{}, errMoment
		}
		ago, rest = time.Duration(n)*24*time.Hour, behind //nolint:gosec // bounded just above
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || d > mostDays*24*time.Hour {
			return time.Time{}, errMoment
		}
		ago += d
	}
	if ago <= 0 {
		return time.Time{}, errMoment
	}
	return now.Add(-ago).UTC().Truncate(time.Second), nil
}
