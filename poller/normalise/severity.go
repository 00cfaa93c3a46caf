package normalise

import (
	"fmt"
	"maps"
	"slices"

	"scomconnector/poller/alert"
)

// severities is the table, spread out so that a look-up is an index: [severity][priority number].
type severities struct {
	closed int
	open   [4][3]int
}

// The defaults. Error is split by priority because SCOM's consoles rate by both. Unknown is Moogsoft's
// minor: an alert that nobody can rate must still be seen. Information is not 0, which would clear alerts.
var defaultSeverities = map[string]int{
	"Closed": 0, "Information": 1, "Warning": 2, "Error+Low": 3, "Error+Normal": 4, "Error+High": 5, "Unknown": 3,
}

// SeverityKeys are the keys of SeverityMap, sorted.
func SeverityKeys() []string { return slices.Sorted(maps.Keys(defaultSeverities)) }

func compileSeverities(own map[string]int) (severities, []error) {
	table := maps.Clone(defaultSeverities)
	var faults []error
	for _, key := range slices.Sorted(maps.Keys(own)) {
		v := own[key]
		if _, ok := table[key]; !ok {
			faults = append(faults, &Fault{"SeverityMap." + key,
				fmt.Errorf("unknown key %q (nearest: %q)", key, nearest(key, SeverityKeys()))})
			continue
		}
		if v < 0 || v > 5 {
			faults = append(faults, &Fault{"SeverityMap." + key, fmt.Errorf("%d is no Moogsoft severity (accepted: 0-5)", v)})
			continue
		}
		table[key] = v
	}
	s := severities{closed: table["Closed"]}
	for p := range 3 {
		s.open[alert.SeverityUnknown][p] = table["Unknown"]
		s.open[alert.Information][p] = table["Information"]
		s.open[alert.Warning][p] = table["Warning"]
	}
	s.open[alert.Error] = [3]int{table["Error+Low"], table["Error+Normal"], table["Error+High"]}
	return s, faults
}

func (s *severities) of(a *alert.Alert) int {
	if a.Closed() {
		return s.closed
	}
	severity, priority := a.Severity, a.Priority.Number()
	if int(severity) >= len(s.open) {
		severity = alert.SeverityUnknown
	}
	return s.open[severity][min(max(priority, 0), 2)]
}
