package scom

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"scomconnector/poller/alert"
)

// Everything that is assumed about SCOM's REST interface stands in this file and in column.go, so
// that the first look at a live server has one place to mend.

const (
	pathMode    = "/authenticationMode"
	pathLogOn   = "/authenticate"
	pathSignOut = "/signout"
	pathAlerts  = "/data/alert"
	pathGroup   = "/data/ManagementGroup" // documented since 2022; older servers answer 404
	pathColumns = "/resources/alertColumns"

	cookieSession = "SCOMSessionId"
	cookieCSRF    = "SCOM-CSRF-TOKEN" // since 2019 UR1; the header of the same name is URL-decoded
	headerCSRF    = "SCOM-CSRF-TOKEN"

	statusLoginTimeout = 440 // IIS' own: the session is over
)

// logOnBody is the JSON string of the base64 of form:DOMAIN\user:password, or of Windows where the connection is logged on itself.
func logOnBody(c *Console) []byte {
	if c.Auth == AuthWindows || c.Auth == AuthKerberos {
		return []byte(`"` + base64.StdEncoding.EncodeToString([]byte("Windows")) + `"`)
	}
	form, account := "(Network)", c.User
	if c.LoginForm != "" {
		form = c.LoginForm
	}
	if c.Domain != "" {
		account = c.Domain + `\` + c.User
	}
	text := form + ":" + account + ":" + c.Password
	return []byte(`"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"`)
}

// alertRequest is the body of data/alert. objectIds is a dictionary, and null is what clients
// send as classId.
func alertRequest(criteria string, columns []string) ([]byte, error) {
	return json.Marshal(struct {
		ClassID   *string        `json:"classId"`
		ObjectIDs map[string]int `json:"objectIds"`
		Criteria  string         `json:"criteria"`
		Columns   []string       `json:"displayColumns"`
	}{nil, map[string]int{}, criteria, columns})
}

// criteria is q in the SDK's MonitoringAlertCriteria text. Names keep their case and numbers
// are quoted, as in Microsoft's examples.
//
// Whether fractions of a second are understood is not documented, so both bounds move outwards to
// whole seconds: adjacent slices overlap by up to a second, and never leave a gap.
func criteria(q alert.Query, dateForm string) (string, error) {
	if len(q.IDs) > alert.MaxQueryIDs {
		return "", fmt.Errorf("query for %d ids: the limit is %d", len(q.IDs), alert.MaxQueryIDs)
	}
	if len(q.IDs) > 0 {
		quoted := make([]string, len(q.IDs))
		for i, id := range q.IDs {
			quoted[i] = "'" + id.String() + "'"
		}
		return "Id IN (" + strings.Join(quoted, ",") + ")", nil
	}
	var bounds []string
	if q.From != 0 {
		bounds = append(bounds, "(LastModified >= '"+criteriaTime(q.From.Time().Truncate(time.Second), dateForm)+"')")
	}
	if q.To != 0 {
		up := q.To.Time().Add(time.Second - time.Millisecond).Truncate(time.Second)
		bounds = append(bounds, "(LastModified < '"+criteriaTime(up, dateForm)+"')")
	}
	const open = "(ResolutionState <> '255')"
	changed := strings.Join(bounds, " AND ")
	switch {
	case !q.Open && changed == "", q.Open && q.OpenOr && changed == "":
		return "(ResolutionState >= '0')", nil // all there is
	case !q.Open:
		return changed, nil
	case changed == "":
		return open, nil
	case q.OpenOr:
		return open + " OR (" + changed + ")", nil
	}
	return open + " AND " + changed, nil
}

func criteriaTime(t time.Time, form string) string {
	if form == "space" {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("2006-01-02T15:04:05Z")
}

// errorMessage is what SCOM says in the body of an error, or "" if it is not SCOM who speaks.
func errorMessage(body []byte) string {
	var said struct {
		Message string `json:"errorMessage"`
		Other   string `json:"message"` // what ASP.NET itself sends
	}
	if json.Unmarshal(body, &said, lenient) != nil {
		return ""
	}
	if said.Message == "" {
		said.Message = said.Other
	}
	return clip(said.Message)
}

// clip makes a stranger's text fit for a log line.
func clip(s string) string { return clipTo(s, 300) }

func clipTo(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// expired reports whether an answer says that the session is over. 403 is among them, since a
// missing CSRF token is answered with a status that nobody has documented.
func expired(status int, message string) bool {
	switch status {
	case statusLoginTimeout, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return status >= 400 && strings.Contains(strings.ToLower(message), "expired")
}

// logOnRefused reports whether the answer to authenticate is a verdict on the account, after which
// another try may lock it. Anything else (the service behind the console is down, a wrong path)
// says nothing about the password.
func logOnRefused(status int, message string) bool {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return true
	case status < 400:
		return false
	case status < 500 && message != "": // SCOM itself speaks, not a web server that knows no such page
		return true
	}
	m := strings.ToLower(message)
	for _, word := range []string{"password", "credential", "logon", "log on", "login", "user name", "username"} {
		if strings.Contains(m, word) {
			return true
		}
	}
	return false
}

// windowsFirst reports whether IIS refused a request before SCOM saw it, since the console is set
// to Windows authentication: no password was looked at.
func windowsFirst(a small, message string) bool {
	if a.status != http.StatusUnauthorized || message != "" {
		return false
	}
	for _, scheme := range a.header.Values("WWW-Authenticate") {
		s := strings.ToLower(scheme)
		if strings.HasPrefix(s, "negotiate") || strings.HasPrefix(s, "ntlm") {
			return true
		}
	}
	return false
}

// criteriaRefused reports whether data/alert refused the question itself.
func criteriaRefused(status int, message string) bool {
	return status == http.StatusBadRequest && message != "" || status >= 400 && strings.Contains(strings.ToLower(message), "criteria")
}

// modeSaid is how the console wants to be logged on to, "Windows" or "Network", by the answer to authenticationMode; "" if that does
// not tell. The body is a JSON string, printed in an array in the documentation; in Windows mode IIS refuses whoever has not logged on.
func modeSaid(a small) string {
	said := strings.Trim(string(a.body), "[] \t\r\n\"")
	switch {
	case a.status == http.StatusOK && strings.EqualFold(said, "Windows"), windowsFirst(a, errorMessage(a.body)):
		return "Windows"
	case a.status == http.StatusOK && strings.EqualFold(said, "Network"):
		return "Network"
	}
	return ""
}

// modeOf is the console's mode that belongs to a way of logging on.
func modeOf(auth string) string {
	if auth == AuthNetwork {
		return "Network"
	}
	return "Windows"
}

// parseUser reads who has logged on, "" where SCOM does not say.
func parseUser(body []byte) string {
	var said struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(body, &said, lenient) != nil {
		return ""
	}
	return said.Name
}
