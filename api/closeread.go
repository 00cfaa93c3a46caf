package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"scomconnector/poller/alert"
)

// closeOrder is a close request as it was read.
type closeOrder struct {
	alert     alert.ID
	own       bool   // the event is one of the connector's own, which SCOM has never heard of
	ownID     string // then
	detail    string // empty: closed
	request   CloseRequest
	ignored   []string      // keys that mean nothing
	wait      time.Duration // for SCOM's verdict
	forLeader time.Duration
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// ownPrefix begins the ids of the events that this program makes up: heartbeats, outages.
const ownPrefix = "scomconnector::"

// readClose reads the request, all but what depends on the settings.
func readClose(r *http.Request) (closeOrder, error) {
	o := closeOrder{}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return o, cmp.Or(tooLarge(err), malformed("its body was cut off: %v", err))
	}
	given, err := readMembers(body)
	if err != nil {
		return o, err
	}
	o.ignored = unknownKeys(given)
	if err := o.setID(given["id"]); err != nil {
		return o, err
	}
	if o.wait, err = readWait(r); err != nil {
		return o, err
	}
	if o.request.Key, err = readKey(r); err != nil {
		return o, err
	}
	if d, there := given["detail"]; there {
		if d.kind != '"' {
			return o, malformed(`"detail" must be a text, such as "Closed"`)
		}
		o.detail = strings.TrimSpace(d.text)
	}
	return o, o.setFields(given)
}

// member is one value of the body; null counts as not there.
type member struct {
	kind jsontext.Kind
	text string // of a text or a number
	name string // as it was written
}

// readMembers reads the body's members by their names in lower case. Bytes that are no UTF-8 are replaced: Java writes Latin-1
// where nobody tells it otherwise, and an umlaut in a description must not keep an alert open.
func readMembers(body []byte) (map[string]member, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, malformed("its body is empty")
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '{' {
		return nil, malformed("its body is no JSON object")
	}
	given, err := members(dec)
	if err != nil {
		return nil, malformed("its body is no JSON: %s", clip(err.Error(), 200))
	}
	if name := twice(given); name != "" {
		return nil, malformed("%q stands there twice", clip(name, 40))
	}
	all := map[string]member{}
	for name, values := range given {
		if values[0].kind != 'n' {
			all[name] = values[0]
		}
	}
	return all, nil
}

// mostIgnored are named of the keys that mean nothing.
const mostIgnored = 10

// unknownKeys are those of the body, as they were written, that mean nothing and are not of the original's payload either: a request
// with a mistyped one is carried out all the same, and its author should know.
func unknownKeys(given map[string]member) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		known := meant(name) || name == "externalid" || name == "description"
		if !known && len(all) < mostIgnored {
			all = append(all, clip(withoutControls(given[name].name), 40))
		}
	}
	return all
}

// meant reports whether a key, in lower case, says something about the request.
func meant(name string) bool {
	return name == "id" || name == "detail" || fieldOf(name) != "" || name == "comment"
}

// twice names a member that is given with different values; only of those that mean something.
func twice(given map[string][]member) string {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if meant(name) && slices.ContainsFunc(given[name], func(m member) bool { return m.kind != given[name][0].kind || m.text != given[name][0].text }) {
			return name
		}
	}
	return ""
}

func members(dec *jsontext.Decoder) (map[string][]member, error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	all := map[string][]member{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		written := strings.TrimSpace(name.String())
		key := strings.ToLower(written)
		m := member{kind: dec.PeekKind(), name: written}
		if m.kind == '"' || m.kind == '0' {
			value, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			m.text = value.String()
		} else if err := dec.SkipValue(); err != nil {
			return nil, err
		}
		all[key] = append(all[key], m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the object")
	}
	return all, nil
}

// setID takes the alert's id, which Moogsoft has as external_id.
func (o *closeOrder) setID(m member) error {
	text := strings.TrimSpace(m.text)
	switch {
	case m.kind == 0 || m.kind == '"' && text == "":
		return malformed(`"id" is missing: the alert's id in SCOM, which Moogsoft has as external_id`)
	case m.kind != '"':
		return malformed(`"id" must be a text: the alert's id in SCOM, which Moogsoft has as external_id`)
	case len(text) >= len(ownPrefix) && strings.EqualFold(text[:len(ownPrefix)], ownPrefix):
		o.own, o.ownID = true, clip(withoutControls(text), 200)
		return nil
	}
	id, err := alert.ParseID(text)
	if err != nil || id.IsZero() {
		return malformed(`"id" is no alert's id in SCOM, which is a GUID: %q`, clip(text, 64))
	}
	o.alert, o.request.Alert = id, id.String()
	return nil
}

// id is the alert's, as SCOM writes it; empty if none could be read.
func (o *closeOrder) id() string { return cmp.Or(o.ownID, o.request.Alert) }

// readWait reads how long to wait for SCOM's verdict: "5s", or plain seconds.
func readWait(r *http.Request) (time.Duration, error) {
	query := r.URL.Query()
	if !query.Has("wait") {
		return 0, nil
	}
	text := strings.TrimSpace(query.Get("wait"))
	d, err := time.ParseDuration(text)
	if seconds, plain := strconv.ParseFloat(text, 64); plain == nil && seconds >= 0 && seconds <= maxWait.Seconds() {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d < 0 || d > maxWait {
		return 0, malformed("wait must be a time from 0s to %.0fs, such as wait=5s, not %q", maxWait.Seconds(), clip(text, 20))
	}
	return d, nil
}

func readKey(r *http.Request) (string, error) {
	const most = 128
	key := strings.TrimSpace(r.Header.Get("Idempotency-Key"))
	if len(key) > most || !utf8.ValidString(key) {
		return "", malformed("Idempotency-Key must be a text of at most %d bytes", most)
	}
	return key, nil
}

// fieldOf is SCOM's name of a field that may be changed, by its name in lower case; empty for any other.
func fieldOf(name string) string {
	switch name {
	case "ticketid":
		return "TicketId"
	case "owner":
		return "Owner"
	}
	n, err := strconv.Atoi(strings.TrimPrefix(name, "customfield"))
	if err != nil || n < 1 || n > 10 || name != fmt.Sprintf("customfield%d", n) {
		return ""
	}
	return fmt.Sprintf("CustomField%d", n)
}

// Lengths of SCOM's columns, in the units of UTF-16 that SQL Server counts.
const (
	maxFieldLength  = 255
	maxTicketLength = 150
	// maxCommentLength leaves room for the mark of the write. A longer comment is cut: it must not keep an alert open.
	maxCommentLength = 1000
)

func (o *closeOrder) setFields(given map[string]member) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		field, m := fieldOf(name), given[name]
		if field == "" && name != "comment" {
			continue
		}
		if m.kind != '"' && m.kind != '0' {
			return malformed("%q must be a text", name)
		}
		if name == "comment" {
			o.request.Comment = shortened(withoutControls(m.text), maxCommentLength)
			continue
		}
		if err := o.setField(name, field, strings.TrimSpace(m.text)); err != nil {
			return err
		}
	}
	return nil
}

// setField takes a value as it is or not at all: half a ticket's number is worse than none.
func (o *closeOrder) setField(name, field, value string) error {
	most := maxFieldLength
	if field == "TicketId" {
		most = maxTicketLength
	}
	if n := len(utf16.Encode([]rune(value))); n > most {
		return malformed("%q has %d characters, and SCOM keeps %d", name, n, most)
	}
	if withoutControls(value) != value {
		return malformed("%q has line breaks or other control characters in it", name)
	}
	if o.request.Fields == nil {
		o.request.Fields = map[string]string{}
	}
	o.request.Fields[field] = value
	return nil
}

// withoutControls has a space for each control character.
func withoutControls(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, s))
}

// shortened cuts a text that is longer than SCOM keeps, and shows that.
func shortened(s string, most int) string {
	units := utf16.Encode([]rune(s))
	if len(units) <= most {
		return s
	}
	return strings.TrimRight(string(utf16.Decode(units[:most-1])), "\uFFFD") + "…"
}

// keepState is the detail of a request that changes fields only, unless the settings have an action of that name.
const keepState = "Update"

// understand adds what the settings say: what the detail means, and how long to wait for a leader.
func understand(o *closeOrder, rules CloseRules) error {
	o.forLeader = max(rules.Wait, minSubmit)
	detail := cmp.Or(o.detail, "Closed")
	state, ok := action(rules.Actions, detail)
	switch {
	case ok:
		o.request.State = state
	case !strings.EqualFold(detail, keepState):
		return malformed(`"detail" %q is none of the settings' CallbackActions: %s; or %s, to change fields only`,
			clip(detail, 40), strings.Join(slices.Sorted(maps.Keys(rules.Actions)), ", "), keepState)
	case len(o.request.Fields) == 0:
		return malformed(`"detail" %s needs something to change: ticketId, owner, customField1 to customField10`, keepState)
	default:
		o.request.Keep = true
	}
	return nil
}

// action finds the resolution state of a detail, exactly so if it can, else without regard to case.
func action(all map[string]int, detail string) (uint8, bool) {
	if state, ok := all[detail]; ok {
		return uint8(state), true //nolint:gosec // the settings allow 0 to 255
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.EqualFold(name, detail) {
			return uint8(all[name]), true //nolint:gosec // as above
		}
	}
	return 0, false
}

// word is SCOM's verdict in terms of what was asked for.
func (o *closeOrder) word(status string) string {
	if o.request.Keep || o.request.State != alert.StateClosed {
		switch status {
		case "closed":
			return "done"
		case "already_closed":
			return "already_done"
		}
	}
	return status
}

// what is the request for the audit: names of fields, not what is in them.
func (o *closeOrder) what() string {
	text := fmt.Sprintf("set %s to resolution state %d", o.id(), o.request.State)
	switch {
	case o.own:
		text = "close " + o.id()
	case o.request.Keep:
		text = "change " + o.id()
	}
	if len(o.request.Fields) > 0 {
		text += ", set " + strings.Join(slices.Sorted(maps.Keys(o.request.Fields)), ", ")
	}
	if len(o.ignored) > 0 {
		text += ", ignored " + strings.Join(o.ignored, ", ")
	}
	return text
}
