package scomtest

import (
	"strconv"
	"time"
)

// column is one that data/alert can show. Exactly one of text, number, boolean and instant is set.
type column struct {
	id, header string
	listed     bool // resources/alertColumns names it; others work all the same
	needed     bool // Shape.OnlyNeeded leaves it
	always     bool // never null or left out
	text       func(*Alert) string
	number     func(*Alert) int64
	boolean    func(*Alert) bool
	instant    func(*Alert) time.Time
	local      bool // a time that Shape.LocalOffset and LocalZone move
}

// columns are those of resources/alertColumns and three that are not in it but work.
var columns = []column{
	{id: "context", header: "Context", listed: true, text: func(a *Alert) string { return a.Context }},
	{id: "monitoringobjectid", header: "Monitoring Object Id", listed: true, text: func(a *Alert) string { return a.ObjectID }},
	{id: "monitoringobjectname", header: "Monitoring Object Name", listed: true, text: func(a *Alert) string { return a.ObjectName }},
	{id: "age", header: "Age", listed: true, text: func(*Alert) string { return "" }}, // depends on the time of asking: see appendAge
	{id: "alertsource", header: "Source", listed: true, text: func(a *Alert) string { return a.AlertSource }},
	{id: "category", header: "Category", listed: true, text: func(a *Alert) string { return a.Category }},
	{id: "connectorstatus", header: "Connector Status", listed: true, always: true, text: func(a *Alert) string { return connectorStatus(a.ConnectorStatus) }},
	{id: "timeadded", header: "Created", listed: true, local: true, instant: func(a *Alert) time.Time { return a.TimeAdded }},
	{id: "timeaddedutc", header: "Created (UTC)", listed: true, instant: func(a *Alert) time.Time { return a.TimeAdded }},
	{id: "customfield1", header: "Custom Field 1", listed: true, text: custom(0)},
	{id: "customfield2", header: "Custom Field 2", listed: true, text: custom(1)},
	{id: "customfield3", header: "Custom Field 3", listed: true, text: custom(2)},
	{id: "customfield4", header: "Custom Field 4", listed: true, text: custom(3)},
	{id: "customfield5", header: "Custom Field 5", listed: true, text: custom(4)},
	{id: "customfield6", header: "Custom Field 6", listed: true, text: custom(5)},
	{id: "customfield7", header: "Custom Field 7", listed: true, text: custom(6)},
	{id: "customfield8", header: "Custom Field 8", listed: true, text: custom(7)},
	{id: "customfield9", header: "Custom Field 9", listed: true, text: custom(8)},
	{id: "customfield10", header: "Custom Field 10", listed: true, text: custom(9)},
	{id: "description", header: "Description", listed: true, text: func(a *Alert) string { return a.Description }},
	{id: "ismonitoralert", header: "Is Monitor Alert", listed: true, boolean: func(a *Alert) bool { return a.IsMonitorAlert }},
	{id: "lastmodified", header: "Last Modified", listed: true, needed: true, always: true, local: true, instant: func(a *Alert) time.Time { return a.LastModified }},
	{id: "lastmodifiedby", header: "Last Modified By", listed: true, text: func(a *Alert) string { return a.LastModifiedBy }},
	{id: "lastmodifiedutc", header: "Last Modified (UTC)", listed: true, always: true, instant: func(a *Alert) time.Time { return a.LastModified }},
	{id: "latency", header: "Latency", listed: true, number: func(a *Alert) int64 { return int64(a.TimeAdded.Sub(a.TimeRaised).Seconds()) }},
	{id: "monitoringobjectinmaintenancemode", header: "Maintenance Mode", listed: true, boolean: func(a *Alert) bool { return a.InMaintenance }},
	{id: "monitorname", header: "Monitor", listed: true, text: func(a *Alert) string { return a.MonitorName }},
	{id: "name", header: "Name", listed: true, text: func(a *Alert) string { return a.Name }},
	{id: "netbioscomputername", header: "NetBIOS Computer Name", listed: true, text: func(a *Alert) string { return a.NetbiosComputer }},
	{id: "netbiosdomainname", header: "NetBIOS Domain Name", listed: true, text: func(a *Alert) string { return a.NetbiosDomain }},
	{id: "owner", header: "Owner", listed: true, text: func(a *Alert) string { return a.Owner }},
	{id: "monitoringobjectpath", header: "Path", listed: true, text: func(a *Alert) string { return a.ObjectPath }},
	{id: "principalname", header: "Principal Name", listed: true, text: func(a *Alert) string { return a.PrincipalName }},
	{id: "priority", header: "Priority", listed: true, number: func(a *Alert) int64 { return int64(a.Priority) }},
	{id: "repeatcount", header: "Repeat Count", listed: true, number: func(a *Alert) int64 { return a.RepeatCount }},
	{id: "resolutionstate", header: "Resolution State", listed: true, needed: true, always: true, text: func(a *Alert) string { return strconv.Itoa(a.ResolutionState) }},
	{id: "resolvedby", header: "Resolved By", listed: true, text: func(a *Alert) string { return a.ResolvedBy }},
	{id: "severity", header: "Severity", listed: true, always: true, text: func(a *Alert) string { return severityName(a.Severity) }},
	{id: "sitename", header: "Site", listed: true, text: func(a *Alert) string { return a.SiteName }},
	{id: "monitoringobjectdisplayname", header: "Source", listed: true, text: func(a *Alert) string { return a.ObjectDisplayName }},
	{id: "statelastmodified", header: "State Last Modified", listed: true, local: true, instant: func(a *Alert) time.Time { return a.StateLastModified }},
	{id: "statelastmodifiedutc", header: "State Last Modified (UTC)", listed: true, instant: func(a *Alert) time.Time { return a.StateLastModified }},
	{id: "tfsworkitemid", header: "TFS Work Item ID", listed: true, text: func(a *Alert) string { return a.TfsWorkItemID }},
	{id: "tfsworkitemowner", header: "TFS Work Item Owner", listed: true, text: func(a *Alert) string { return a.TfsWorkItemOwner }},
	{id: "ticketid", header: "Ticket ID", listed: true, text: func(a *Alert) string { return a.TicketID }},
	{id: "timeresolutionstatelastmodified", header: "Resolution State Last Modified", listed: true, local: true, instant: func(a *Alert) time.Time { return a.TimeStateModified }},
	{id: "timeresolved", header: "Time Resolved", listed: true, local: true, instant: func(a *Alert) time.Time { return a.TimeResolved }},
	{id: "timeresolvedutc", header: "Time Resolved (UTC)", listed: true, instant: func(a *Alert) time.Time { return a.TimeResolved }},
	{id: "classid", header: "Class Id", listed: true, text: func(a *Alert) string { return a.ClassID }},
	{id: "id", header: "Id", needed: true, always: true, text: func(a *Alert) string { return a.ID }},
	{id: "timeraised", header: "Time Raised", local: true, instant: func(a *Alert) time.Time { return a.TimeRaised }},
}

// columnByID finds a column by its id.
var columnByID = func() map[string]*column {
	m := make(map[string]*column, len(columns))
	for i := range columns {
		m[columns[i].id] = &columns[i]
	}
	return m
}()

func custom(i int) func(*Alert) string { return func(a *Alert) string { return a.CustomFields[i] } }

func severityName(n int) string {
	switch n {
	case Information:
		return "Information"
	case Warning:
		return "Warning"
	case Error:
		return "Error"
	}
	return "MatchMonitorHealth"
}

func connectorStatus(n int) string {
	switch n {
	case 0:
		return "NotMarkedForForwarding"
	case 1:
		return "Pending"
	}
	return "SuccessfullyForwarded"
}

// offers reports whether this server knows the column at all.
func (s Shape) offers(c *column) bool {
	if c == nil || s.OnlyNeeded && !c.needed {
		return false
	}
	return !s.NoUTC || c.instant == nil || c.local
}

// local is a time as the columns without utc in their names show it: the clock on the wall, written as if it were UTC.
func (s Shape) local(t time.Time) time.Time {
	t = t.Add(s.LocalOffset)
	if s.LocalZone == "" {
		return t
	}
	zone, err := time.LoadLocation(s.LocalZone)
	if err != nil {
		panic("scomtest: Shape.LocalZone: " + err.Error()) // a test's typo
	}
	_, offset := t.In(zone).Zone()
	return t.Add(time.Duration(offset) * time.Second)
}
