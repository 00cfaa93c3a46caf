package scom

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"scomconnector/poller/alert"
)

// What stands between a row's bytes and its values: where a value ends, and what it means.

func unquoted(raw []byte) []byte {
	if raw[0] == '"' {
		return raw[1 : len(raw)-1]
	}
	return raw
}

func skipBlanks(b []byte, p int) int {
	for p < len(b) && (b[p] == ' ' || b[p] == '\n' || b[p] == '\r' || b[p] == '\t') {
		p++
	}
	return p
}

// valueEnd is the position behind the value at b[p]; b is valid JSON.
func valueEnd(b []byte, p int) int {
	switch b[p] {
	case '"':
		return stringEnd(b, p)
	case '{', '[':
		for depth := 0; p < len(b); {
			switch b[p] {
			case '"':
				p = stringEnd(b, p)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			p++
			if depth == 0 {
				return p
			}
		}
		return p
	}
	for p < len(b) && b[p] != ',' && b[p] != '}' && b[p] > ' ' {
		p++
	}
	return p
}

func stringEnd(b []byte, p int) int {
	p++
	for {
		q := bytes.IndexByte(b[p:], '"')
		if q < 0 {
			return len(b)
		}
		if bytes.IndexByte(b[p:p+q], '\\') < 0 {
			return p + q + 1
		}
		end := p + q
		for ; p < end; p++ {
			if b[p] == '\\' {
				p++
			}
		}
		if p == end {
			return end + 1
		}
		// The quote found was an escaped one, and p is behind it.
	}
}

func parseState(v []byte) (uint8, error) {
	if len(bytes.TrimSpace(v)) == 0 {
		return alert.StateNew, nil
	}
	if n, ok := parseInt(v); ok && n >= 0 && n <= 255 {
		return uint8(n), nil
	}
	if n, ok := stateNames[strings.ToLower(string(bytes.TrimSpace(v)))]; ok {
		return n, nil
	}
	return 0, fmt.Errorf("resolutionstate %q is not one of 0 to 255", clip(string(v)))
}

// stateNames are SCOM's own states, in case a version sends what the console shows.
var stateNames = map[string]uint8{
	"new": 0, "awaiting evidence": 247, "assigned to engineering": 248, "acknowledged": 249,
	"scheduled": 250, "resolved": 254, "closed": 255,
}

func parseSeverity(v []byte) alert.Severity {
	switch string(v) {
	case "Error", "Critical", "2":
		return alert.Error
	case "Warning", "1":
		return alert.Warning
	case "Information", "0":
		return alert.Information
	}
	switch strings.ToLower(string(bytes.TrimSpace(v))) {
	case "error", "critical", "2", "2.0":
		return alert.Error
	case "warning", "1", "1.0":
		return alert.Warning
	case "information", "informational", "0", "0.0":
		return alert.Information
	}
	return alert.SeverityUnknown
}

func parsePriority(v []byte) alert.Priority {
	switch strings.ToLower(string(bytes.TrimSpace(v))) {
	case "low", "0", "0.0":
		return alert.Low
	case "high", "2", "2.0":
		return alert.High
	}
	return alert.Normal
}

func parseBool(v []byte) bool {
	v = bytes.TrimSpace(v)
	return bytes.EqualFold(v, []byte("true")) || string(v) == "1" || bytes.EqualFold(v, []byte("yes"))
}

// parseInt reads an integer, also one that was sent as a float.
func parseInt(v []byte) (int64, bool) {
	s := string(bytes.TrimSpace(v))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < -1<<62 || f > 1<<62 || f != float64(int64(f)) {
		return 0, false
	}
	return int64(f), true
}

func nameOf(col column) string {
	for name, c := range columnNames {
		if c == col {
			return name
		}
	}
	return "?"
}

// textField is where a text column is kept.
func textField(a *alert.Alert, col column) *string {
	switch col {
	case colName:
		return &a.Name
	case colDescription:
		return &a.Description
	case colCategory:
		return &a.Category
	case colOwner:
		return &a.Owner
	case colTicketID:
		return &a.TicketID
	case colResolvedBy:
		return &a.ResolvedBy
	case colLastModifiedBy:
		return &a.LastModifiedBy
	case colObjectID:
		return &a.ObjectID
	case colObjectName:
		return &a.ObjectName
	case colObjectDisplayName:
		return &a.ObjectDisplayName
	case colObjectPath:
		return &a.ObjectPath
	case colNetbiosComputer:
		return &a.NetbiosComputer
	case colNetbiosDomain:
		return &a.NetbiosDomain
	case colPrincipalName:
		return &a.PrincipalName
	case colSiteName:
		return &a.SiteName
	case colMonitorName:
		return &a.MonitorName
	case colSource:
		return &a.Source
	case colContext:
		return &a.Context
	}
	return &a.CustomFields[col-colCustom1]
}
