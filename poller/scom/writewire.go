package scom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"scomconnector/poller/alert"
)

// What is assumed about changing alerts stands in this file, as that about reading stands in wire.go.

const (
	pathStates      = "/data/alertResolutionStates"
	pathDetails     = "/data/alertDetails"          // documented since 2022
	pathReset       = "/data/resetMonitorByAlertId" // documented since 2022
	pathHistory     = "/data/alertHistory"          // documented since 2022
	pathInformation = "/data/alertInformation"      // all versions; with the history in it
)

// lenient reads what SCOM sends; it prints names in either case.
var lenient = json.JoinOptions(json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

func statesRequest(ids []alert.ID, state uint8, comment string) ([]byte, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return json.Marshal(struct {
		IDs     []string `json:"alertIds"`
		State   int      `json:"resolutionState"`
		Comment string   `json:"comment"`
	}{texts, int(state), comment}, jsontext.AllowInvalidUTF8(true))
}

var errUnreadable = errors.New("the answer is none that is known")

// unwrap takes away the array of one in which the documentation prints answers.
func unwrap(body []byte) []byte {
	body = bytes.TrimSpace(body)
	var list []jsontext.Value
	if len(body) > 0 && body[0] == '[' && json.Unmarshal(body, &list, lenient) == nil && len(list) == 1 {
		return bytes.TrimSpace(list[0])
	}
	return body
}

// parseVerdict reads an answer that is a bare boolean; ok is false for any other.
func parseVerdict(body []byte) (verdict, ok bool) {
	switch strings.ToLower(strings.Trim(string(unwrap(body)), `"`)) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

const wordless = "SCOM refuses without saying why"

// parseStates reads the answer to alertResolutionStates. A success may carry a failure full of nulls, a refusal comes with
// status 200, and the documentation of 2018 has a bare boolean.
func parseStates(body []byte, asked []alert.ID) (alert.Written, error) {
	if good, ok := parseVerdict(body); ok {
		if good {
			return alert.Written{}, nil
		}
		return alert.Written{Vague: &alert.Objection{Text: wordless}}, nil
	}
	var said struct {
		Failures  *[]stateFailure `json:"failures"`
		IsFailure jsontext.Value  `json:"isFailure"`
	}
	body = unwrap(body)
	if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &said, lenient) != nil || said.Failures == nil && said.IsFailure == nil {
		return alert.Written{}, errUnreadable
	}
	failed, _ := parseVerdict(said.IsFailure)
	var w alert.Written
	if said.Failures != nil {
		for _, f := range *said.Failures {
			f.into(&w, asked, failed)
		}
	}
	if failed && len(w.Objections) == 0 && w.Vague == nil {
		w.Vague = &alert.Objection{Text: wordless}
	}
	return w, nil
}

type stateFailure struct {
	AlertID       *string `json:"alertId"`
	Message       *string `json:"failureMessage"`
	ExceptionType *string `json:"exceptionType"`
}

// into adds what the failure says to w. failed is what the answer says as a whole: where that is not so, an entry that names
// an alert without a reason is no refusal.
func (f stateFailure) into(w *alert.Written, asked []alert.ID, failed bool) {
	message, exception := valueOf(f.Message), valueOf(f.ExceptionType)
	id, err := alert.ParseID(valueOf(f.AlertID))
	named := err == nil && slices.Contains(asked, id)
	switch {
	case message == "" && exception == "" && (!failed || !named):
		return // the dummy
	case !named && len(asked) == 1:
		id = asked[0] // who else
	case !named:
		o := objection(message, exception)
		w.Vague = &o
		return
	}
	if w.Objections == nil {
		w.Objections = map[alert.ID]alert.Objection{}
	}
	w.Objections[id] = objection(message, exception)
}

func valueOf(s *string) string {
	if s == nil {
		return ""
	}
	return strings.TrimSpace(*s)
}

// maxReason is what is kept of SCOM's words about a refusal.
const maxReason = 1000

// objection sorts a refusal by SCOM's exception, and where it names none by its words.
func objection(message, exception string) alert.Objection {
	all := strings.ToLower(exception + " " + message)
	o := alert.Objection{Kind: alert.ObjectionOther, Text: clipTo(message, maxReason)}
	switch {
	case message == "" && exception == "":
		o.Text = wordless
	case message == "":
		o.Text = clipTo(exception, maxReason)
	}
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(all, w) })
	}
	switch {
	case has("monitorunhealthy", "still unhealthy"):
		o.Kind = alert.ObjectionUnhealthy
	case has("objectnotfound", "was not found", "does not exist"):
		o.Kind = alert.ObjectionNoAlert
	case has("disconnected", "connectionexception", "communicationexception", "timeout", "timed out", "servicenotrunning",
		"unavailable", "concurren", "deadlock"):
		o.Kind = alert.ObjectionPassing
	}
	return o
}

// scomsWords is what SCOM itself says in an error, as distinct from a web server that knows no such page.
func scomsWords(body []byte) string {
	var said struct {
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(body, &said, lenient) != nil {
		return ""
	}
	return said.Message
}

// permissionDenied reports whether SCOM refuses the account, not the session: another log-on would change nothing.
func permissionDenied(status int, message string) bool {
	return status == 403 && strings.Contains(strings.ToLower(message), "permission")
}

// member is one member of a JSON object as it stands in it.
type member struct{ name, value jsontext.Value }

// parseObject takes an object apart and keeps every byte of names and values.
func parseObject(body []byte) ([]member, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(unwrap(body)), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errUnreadable
	}
	var list []member
	for dec.PeekKind() == '"' {
		var m member
		for _, v := range []*jsontext.Value{&m.name, &m.value} {
			raw, err := dec.ReadValue()
			if err != nil {
				return nil, errUnreadable
			}
			*v = raw.Clone()
		}
		list = append(list, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, errUnreadable
	}
	return list, nil
}

func printObject(list []member) []byte {
	b := []byte{'{'}
	for i, m := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.name...), ':'), m.value...)
	}
	return append(b, '}')
}

// find is the member of that name, nil if there is none.
func find(list []member, name string) *member {
	for i := range list {
		if plain, err := jsontext.AppendUnquote(nil, list[i].name); err == nil && strings.EqualFold(string(plain), name) {
			return &list[i]
		}
	}
	return nil
}

// setField changes one field in the object of alertDetails and reports whether it had another value.
func setField(list []member, f alert.Field) ([]member, bool, error) {
	text, err := jsontext.AppendQuote(nil, f.Value)
	if err != nil {
		text, _ = jsontext.AppendQuote(nil, strings.ToValidUTF8(f.Value, "?"))
	}
	name := strings.ToLower(f.Name)
	switch number, custom := strings.CutPrefix(name, "customfield"); {
	case name == "ticketid" || name == "owner":
		name = map[string]string{"ticketid": "ticketId", "owner": "owner"}[name]
		m := find(list, name)
		if m == nil {
			list = append(list, member{name: jsontext.Value(strconv.Quote(name)), value: text})
			return list, f.Value != "", nil
		}
		changed := plainText(m.value) != f.Value
		if changed {
			m.value = text
		}
		return list, changed, nil
	case custom:
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 10 {
			break
		}
		return setCustom(list, n-1, f.Value, text)
	}
	return nil, false, fmt.Errorf("there is no field %s", clip(f.Name))
}

// setCustom changes one custom field. The array is only as long as SCOM found fit.
func setCustom(list []member, n int, value string, text jsontext.Value) ([]member, bool, error) {
	const name = "customFields"
	m := find(list, name)
	var all []jsontext.Value
	if m != nil && m.value.Kind() != 'n' {
		if err := json.Unmarshal(m.value, &all, lenient); err != nil {
			return nil, false, errUnreadable
		}
	}
	old := ""
	if n < len(all) {
		old = plainText(all[n])
	}
	if old == value {
		return list, false, nil
	}
	for len(all) <= n {
		all = append(all, jsontext.Value("null"))
	}
	all[n] = text
	joined := []byte{'['}
	for i, v := range all {
		if i > 0 {
			joined = append(joined, ',')
		}
		joined = append(joined, v...)
	}
	joined = append(joined, ']')
	if m == nil {
		return append(list, member{name: jsontext.Value(strconv.Quote(name)), value: joined}), true, nil
	}
	m.value = joined
	return list, true, nil
}

// plainText is a value's text; null is an empty one.
func plainText(v jsontext.Value) string {
	switch v.Kind() {
	case '"':
		plain, _ := jsontext.AppendUnquote(nil, v)
		return string(plain)
	case 'n':
		return ""
	}
	return string(v)
}

// updateFailure is what the answer to alertDetails objects to; ok is false if it is not such an answer.
func updateFailure(body []byte) (o alert.Objection, objects, ok bool) {
	if good, is := parseVerdict(body); is {
		return alert.Objection{Text: wordless}, !good, true
	}
	list, err := parseObject(body)
	if err != nil {
		return o, false, false
	}
	m := find(list, "alertUpdateFailure")
	if m == nil || m.value.Kind() == 'n' {
		return o, false, find(list, "id") != nil
	}
	var f stateFailure
	if json.Unmarshal(m.value, &f, lenient) != nil {
		return o, false, false
	}
	message, exception := valueOf(f.Message), valueOf(f.ExceptionType)
	if message == "" && exception == "" {
		return o, false, true
	}
	return objection(message, exception), true, true
}

// maxHistory bounds a history that is searched for marks; 83,000 rows are known of, which nobody waits for.
const maxHistory = 64 << 20

// findMarks reads a history to its end and returns the marks that stand in any text of it. A history that was cut proves nothing.
func findMarks(body io.Reader, marks []string) ([]string, error) {
	limited := &io.LimitedReader{R: body, N: maxHistory}
	dec := jsontext.NewDecoder(limited, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var found []string
	for {
		t, err := dec.ReadToken()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil && limited.N == 0 {
			return nil, fmt.Errorf("the alert's history is larger than %d MB", maxHistory>>20)
		}
		if err != nil {
			return nil, err
		}
		if t.Kind() != '"' {
			continue
		}
		text := t.String()
		if !strings.Contains(text, "[sc:") {
			continue
		}
		for _, mark := range marks {
			if strings.Contains(text, "[sc:"+mark+"]") && !slices.Contains(found, mark) {
				found = append(found, mark)
			}
		}
	}
	if dec.InputOffset() == 0 {
		return nil, errUnreadable
	}
	return found, nil
}
