// Package normalise makes a Moogsoft event of a SCOM alert.
//
// It is pure: no clock, no I/O. Settings that are text in the file (severity
// table, filter, mapping) are compiled and type-checked once, by Compile, so that
// a mistake is found when the settings are read and not at 3 a.m.
//
// # What an event is
//
// One JSON object: signature, external_id, source, source_id, manager, agent, agent_location, class,
// type, severity, description, agent_time, custom_info. The signature is the management group and the
// alert's id: a close must always find its alert, so nothing that changes may be in it. The agent is
// "SCOM" because the moobot that closes alerts filters on it, and custom_info.MoogConnector.ConnectorAddress
// is where that moobot calls back. It is written by appending to a buffer: encoding/json costs several times
// the whole budget of a row.
//
// # The host
//
// An alert does not name its host. PrincipalName and NetbiosComputer are empty for databases, cluster
// groups and everything that no agent hosts, and a connector that then takes the object's name puts the
// alerts of every server under one called "Microsoft Windows Server 2019 Standard" or "master". So there
// is a ladder (host.go), names that every installation has are never taken, and custom_info.scom.hostRule says
// which rung was used: principalname, netbioscomputername, path, objectname, url, displayname, unknown.
//
// # Filter and Mapping
//
// Both are expressions of github.com/expr-lang/expr over the alert's fields:
//
//	id, name, description, category, owner, ticketId, resolvedBy, lastModifiedBy     text
//	objectId, objectName, displayName, path, netbiosComputer, netbiosDomain          text
//	principalName, siteName, monitorName, alertSource, customField1 ... customField10  text
//	host                 text: what the ladder found
//	severity             text: "Information", "Warning", "Error", "Unknown"
//	priority             text: "Low", "Normal", "High"
//	resolutionState      0 new ... 255 closed
//	closed, isMonitorAlert, inMaintenance   true or false
//	repeatCount          number
//	lastModified, timeAdded                 time, UTC
//	managementGroup      text
//
// Filter says which alerts are wanted, as in
//
//	not inMaintenance and (severity == "Error" or name contains "Backup")
//
// It decides only for ids that were never sent, else a close would be lost; that rule is the caller's.
//
// Mapping replaces fields of the event: signature, external_id, source, source_id, manager, agent,
// agent_location, class, type, description (text), severity (0-5), agent_time (seconds), and any
// custom_info.NAME (text, number, true or false, time). An expression sees the alert's fields, and the
// event as it would be without a mapping: event.source, event.severity and so on. nil leaves the default.
// The severity of a closed alert is not mapped, else a close would not clear; SeverityMap's Closed sets it.
//
//	"Mapping": { "source": "lower(host)", "custom_info.team": "customField1 != '' ? customField1 : 'ops'" }
//
// Expressions see no clock (now() is refused): the same alert must give the same event whenever and on
// whichever node it is sent. One that fails at run time never loses an alert: a failing filter wants the
// alert, a failing mapping leaves the default and says so in custom_info.scom.mappingError; both are counted.
package normalise
