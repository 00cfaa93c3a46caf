package scom

import (
	"strings"

	"github.com/go-json-experiment/json"
)

// column is what a field of a row means to us.
type column uint8

// The text columns come first, so that they index decoder.text.
const (
	colName column = iota
	colDescription
	colCategory
	colOwner
	colTicketID
	colResolvedBy
	colLastModifiedBy
	colObjectID
	colObjectName
	colObjectDisplayName
	colObjectPath
	colNetbiosComputer
	colNetbiosDomain
	colPrincipalName
	colSiteName
	colMonitorName
	colSource
	colContext
	colCustom1
)

const (
	textColumns = colCustom1 + 10

	colID column = textColumns + iota - 1
	colLastModified
	colLastModifiedUTC
	colTimeAdded
	colTimeAddedUTC
	colTimeResolved
	colTimeResolvedUTC
	colState
	colSeverity
	colPriority
	colRepeatCount
	colIsMonitorAlert
	colInMaintenance
	colUnknown
)

// columnNames are the columns this program has a use for, in lower case as SCOM lists them. "age"
// is never asked for: it changes with every answer, and brings ageinmilliseconds along.
var columnNames = map[string]column{
	"id":                   colID,
	"lastmodified":         colLastModified,
	"lastmodifiedutc":      colLastModifiedUTC,
	"timeadded":            colTimeAdded,
	"timeaddedutc":         colTimeAddedUTC,
	"timeresolved":         colTimeResolved,
	"timeresolvedutc":      colTimeResolvedUTC,
	"resolutionstate":      colState,
	"severity":             colSeverity,
	"priority":             colPriority,
	"repeatcount":          colRepeatCount,
	"ismonitoralert":       colIsMonitorAlert,
	"name":                 colName,
	"description":          colDescription,
	"category":             colCategory,
	"owner":                colOwner,
	"ticketid":             colTicketID,
	"resolvedby":           colResolvedBy,
	"lastmodifiedby":       colLastModifiedBy,
	"monitoringobjectid":   colObjectID,
	"monitoringobjectname": colObjectName,
	"monitoringobjectpath": colObjectPath,
	"netbioscomputername":  colNetbiosComputer,
	"netbiosdomainname":    colNetbiosDomain,
	"principalname":        colPrincipalName,
	"sitename":             colSiteName,
	"monitorname":          colMonitorName,
	"alertsource":          colSource,
	"context":              colContext,
	"customfield1":         colCustom1,
	"customfield2":         colCustom1 + 1,
	"customfield3":         colCustom1 + 2,
	"customfield4":         colCustom1 + 3,
	"customfield5":         colCustom1 + 4,
	"customfield6":         colCustom1 + 5,
	"customfield7":         colCustom1 + 6,
	"customfield8":         colCustom1 + 7,
	"customfield9":         colCustom1 + 8,
	"customfield10":        colCustom1 + 9,

	"monitoringobjectdisplayname":       colObjectDisplayName,
	"monitoringobjectinmaintenancemode": colInMaintenance,
}

// utcOf are the variants that leave no doubt about the time zone, by the column they replace.
var utcOf = map[string]string{
	"lastmodified": "lastmodifiedutc",
	"timeadded":    "timeaddedutc",
	"timeresolved": "timeresolvedutc",
}

// askOrder is the order in which columns are asked for; it decides nothing.
var askOrder = []string{
	"id", "lastmodified", "resolutionstate", "severity", "priority", "repeatcount", "ismonitoralert",
	"monitoringobjectinmaintenancemode", "name", "description", "category", "owner", "ticketid", "resolvedby",
	"lastmodifiedby", "monitoringobjectid", "monitoringobjectname", "monitoringobjectdisplayname",
	"monitoringobjectpath", "netbioscomputername", "netbiosdomainname", "principalname", "sitename",
	"monitorname", "alertsource", "context", "customfield1", "customfield2", "customfield3", "customfield4",
	"customfield5", "customfield6", "customfield7", "customfield8", "customfield9", "customfield10",
	"timeadded", "timeresolved",
}

// chooseColumns is what to ask a server for that offers these columns. nil means that it did not
// say: then all are asked for, both spellings of the times included, since a column that a server
// does not know is left out of the answer silently.
//
// What a row cannot do without is asked for in any case: "id" works though no list names it.
func chooseColumns(offered []string) []string {
	has := make(map[string]bool, len(offered))
	for _, name := range offered {
		has[strings.ToLower(strings.TrimSpace(name))] = true
	}
	var ask []string
	for _, name := range askOrder {
		utc := utcOf[name]
		switch {
		case has[utc]:
			ask = append(ask, utc)
		case has[name], name == "id":
			ask = append(ask, name)
		case offered == nil, name == "lastmodified":
			ask = append(ask, name)
			if utc != "" {
				ask = append(ask, utc)
			}
		case name == "resolutionstate":
			ask = append(ask, name)
		}
	}
	return ask
}

// parseColumns reads resources/alertColumns; nil if it is not such a list.
func parseColumns(body []byte) []string {
	var list []struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(body, &list, lenient) != nil {
		return nil
	}
	var ids []string
	for _, c := range list {
		if c.ID != "" {
			ids = append(ids, c.ID)
		}
	}
	return ids
}
