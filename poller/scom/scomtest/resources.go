package scomtest

import (
	"fmt"
	"net/http"
)

// resolutionStates are those that every SCOM has.
var resolutionStates = []map[string]any{
	{"name": "New", "value": "0", "selected": false},
	{"name": "Awaiting Evidence", "value": "247", "selected": false},
	{"name": "Assigned to Engineering", "value": "248", "selected": false},
	{"name": "Acknowledged", "value": "249", "selected": false},
	{"name": "Scheduled", "value": "250", "selected": false},
	{"name": "Resolved", "value": "254", "selected": false},
	{"name": "Closed", "value": "255", "selected": false},
}

var severities = []map[string]any{
	{"name": "Information", "value": "0", "selected": false},
	{"name": "Warning", "value": "1", "selected": false},
	{"name": "Critical", "value": "2", "selected": false}, // only here it is not called Error
}

var priorities = []map[string]any{
	{"name": "High", "value": "2", "selected": false},
	{"name": "Medium", "value": "1", "selected": false},
	{"name": "Low", "value": "0", "selected": false},
}

// columnList answers resources/alertColumns. Neither id nor timeraised is in it, though both work.
func (c *Console) columnList(w http.ResponseWriter) {
	type entry struct {
		Name        string `json:"name"`
		ID          string `json:"id"`
		TypeName    string `json:"typename"`
		IsSortable  bool   `json:"isSortable"`
		IsGroupable bool   `json:"isGroupable"`
	}
	c.group.mu.Lock()
	shape := c.group.shape
	c.group.mu.Unlock()
	list := []entry{}
	for i := range columns {
		col := &columns[i]
		if !col.listed || !shape.offers(col) {
			continue
		}
		e := entry{Name: col.header, ID: col.id, TypeName: "text", IsSortable: true, IsGroupable: true}
		if col.instant != nil {
			e.TypeName = "datetime"
		}
		list = append(list, e)
	}
	writeJSON(w, list)
}

// history answers data/alertHistory as a table.
func (c *Console) history(w http.ResponseWriter, r *request) {
	h := c.group.History(r.id)
	if h == nil {
		refuse(w, http.StatusNotFound, fmt.Sprintf("The object with id %s was not found.", r.id))
		return
	}
	rows := make([]map[string]string, len(h))
	for i, l := range h {
		rows[i] = map[string]string{"id": l.ID, "modifiedby": l.ModifiedBy, "comments": l.Comments, "timemodified": l.TimeModified.Format(wireTime)}
	}
	table := []map[string]any{}
	for _, name := range []string{"id", "modifiedby", "comments", "timemodified"} {
		table = append(table, map[string]any{"field": name, "header": "", "type": nil, "hidden": name == "id"})
	}
	writeJSON(w, map[string]any{"tableColumns": table, "rows": rows})
}

// information answers data/alertInformation, which all releases have.
func (c *Console) information(w http.ResponseWriter, r *request) {
	a, ok := c.group.Get(r.id)
	if !ok {
		refuse(w, http.StatusNotFound, fmt.Sprintf("The object with id %s was not found.", r.id))
		return
	}
	history := []map[string]string{}
	for _, l := range c.group.History(r.id) {
		history = append(history, map[string]string{"id": l.ID, "modifiedBy": l.ModifiedBy, "comments": l.Comments, "timeModified": l.TimeModified.Format(wireTime)})
	}
	answer := map[string]any{
		"alertHistoryResponses": history, "description": a.Description, "context": a.Context, "name": a.Name,
		"ruleId": null(a.RuleID), "monitorId": nil, "isMonitorAlert": a.IsMonitorAlert,
	}
	if a.IsMonitorAlert {
		answer["ruleId"], answer["monitorId"] = nil, null(a.RuleID)
	}
	writeJSON(w, answer)
}
