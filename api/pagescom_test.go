package api

import (
	"testing"

	v1 "scomconnector/api/v1"
)

func TestTheConsolesLineSaysWhatItIsAndLacks(t *testing.T) {
	whole := v1.ConsoleFeatures{Version: "2022 or later", Role: "Operator", Group: "MG", CSRF: "yes", AlertColumns: "yes", ManagementGroup: "yes",
		AlertDetails: "yes", ResetMonitor: "yes", UTCColumns: "yes", DateForm: "iso", Times: "UTC"}
	old := whole
	old.Version, old.Group, old.Role, old.CSRF, old.AlertDetails, old.ResetMonitor, old.DateForm = "1801", "", "", "no", "no", "unknown", "space"
	for want, f := range map[string]v1.ConsoleFeatures{
		"SCOM 2022 or later; management group MG; role Operator; times UTC":               whole,
		"SCOM 1801; times UTC; without CSRF token, alertDetails; dates in the form space": old,
	} {
		if got := scomLine(&f); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
