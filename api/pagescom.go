package api

import (
	"strings"

	v1 "scomconnector/api/v1"
)

// scomLine is what a console has shown of itself, in one line: what it is, who we are to it, and what it lacks.
func scomLine(f *v1.ConsoleFeatures) string {
	parts := []string{"SCOM " + f.Version}
	if f.Group != "" {
		parts = append(parts, "management group "+f.Group)
	}
	if f.Role != "" {
		parts = append(parts, "role "+f.Role)
	}
	parts = append(parts, "times "+f.Times)
	var lacks []string
	for _, has := range []struct{ what, value string }{
		{"CSRF token", f.CSRF}, {"alertColumns", f.AlertColumns}, {"ManagementGroup", f.ManagementGroup},
		{"alertDetails", f.AlertDetails}, {"resetMonitorByAlertId", f.ResetMonitor}, {"UTC columns", f.UTCColumns},
	} {
		if has.value == "no" {
			lacks = append(lacks, has.what)
		}
	}
	if len(lacks) > 0 {
		parts = append(parts, "without "+strings.Join(lacks, ", "))
	}
	if f.DateForm != "iso" {
		parts = append(parts, "dates in the form "+f.DateForm)
	}
	return strings.Join(parts, "; ")
}
