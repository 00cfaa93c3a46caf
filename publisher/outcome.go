package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// What an answer means:
//
//	2xx, JSON or empty, no "success": false        accepted
//	413                                            too large: halve
//	400, 422, other 4xx                            refused: halve until the guilty event stands alone
//	HTML, except with 413                          away: the path is wrong, a login page answered
//	"success": false or no JSON beside 2xx         away: it took the request, not the events
//	3xx 401 403 404 405 407 408 425 429 5xx        away
//	no answer: transport, TLS, time-out            away
//
// Away means that the destination is wrong, not the events: all is held, the next LAM is tried,
// and nothing is ever parked for it. HTML decides before the status, since it is what proxies and
// front ends say and a LAM does not (nginx answers plain HTTP on a TLS port with 400 and a page);
// only 413 stands, since nginx says that with a page, too.
//
// Beside a 4xx the status decides, not a "success": false in its body, since that is how a LAM
// words any error. Halving is safe even where it was really the destination that was wrong:
// a refused event is parked only once the same LAM has accepted another one.
type class uint8

const (
	away class = iota
	accepted
	tooLarge
	refused
)

// label is the outcome in the metric scomconnector_publish_total.
type label string

const (
	labelAccepted    label = "accepted"
	labelTooLarge    label = "too_large"
	labelRefused     label = "refused"
	labelAuth        label = "auth"
	labelWrongPath   label = "wrong_path"
	labelNotTaken    label = "not_taken"
	labelBusy        label = "busy"
	labelServerError label = "server_error"
	labelTimeout     label = "timeout"
	labelTLS         label = "tls"
	labelTransport   label = "transport"
	labelCancelled   label = "cancelled"
)

// labels is the closed set.
var labels = []label{
	labelAccepted, labelTooLarge, labelRefused, labelAuth, labelWrongPath, labelNotTaken, labelBusy,
	labelServerError, labelTimeout, labelTLS, labelTransport, labelCancelled,
}

// outcome is how one request ended.
type outcome struct {
	class  class
	label  label
	status int // HTTP status, 0 without an answer
	// text says in plain words what is wrong, do what to do about it, where that is known; both are empty when accepted.
	text, do string

	answer string // what the LAM said, at most maxQuote bytes, without secrets
	err    error  // the cause, if there was no answer

	retryAfter time.Duration // what the LAM asked for, at most maxRetryAfter
	took       time.Duration
	broken     bool // the connection was made and broke without an answer
}

const (
	// maxAnswer bounds how much of an answer is read: a LAM's is a line, a login page a few KiB.
	maxAnswer = 64 << 10
	// maxQuote is what is kept of it for a person.
	maxQuote = 1 << 10
	// maxRetryAfter keeps a mistaken header from silencing the connector for a day.
	maxRetryAfter = time.Hour
)

// lasting reports whether it will be the same until somebody mends it, though connections succeed.
func (o outcome) lasting() bool {
	switch o.label {
	case labelAuth, labelWrongPath, labelNotTaken, labelRefused:
		return true
	}
	return false
}

// doAboutSize is the cure for a LAM that says 413.
const doAboutSize = "lower MaxPayloadSizeInMB, or raise the limit in front of the LAM (nginx: client_max_body_size)"

// doAboutOne is the cure where a single event is what is too large.
const doAboutOne = "raise the limit in front of the LAM (nginx: client_max_body_size), or lower MaxPayloadSizeInMB below it, so that such events are shortened before they are sent"

// classify reads one complete answer. body may be cut at maxAnswer.
func classify(status int, contentType string, body []byte) outcome {
	out := outcome{status: status}
	kind := kindOf(contentType, body)
	switch {
	case status == http.StatusRequestEntityTooLarge:
		out.class, out.label = tooLarge, labelTooLarge
		out.text = "takes less at a time (HTTP 413)"
		out.do = doAboutSize
	case status >= 500 && status <= 599:
		out.label = labelServerError
		out.text = fmt.Sprintf("cannot serve now (HTTP %s)", statusText(status))
		out.do = "look at the LAM and at what stands in front of it"
	case status >= 300 && status <= 399:
		out.label = labelWrongPath
		out.text = fmt.Sprintf("redirects (HTTP %s), which is not followed", statusText(status))
		out.do = "set MoogUrl to the LAM's final address"
	case kind == html && (status < 400 || !isAuth(status)):
		out.label = labelWrongPath
		out.text = fmt.Sprintf("is at a wrong path: got a web page (a login page?) instead of a LAM's answer (HTTP %s)", statusText(status))
		out.do = "check MoogUrl"
	case status >= 200 && status <= 299:
		return classifySuccess(out, kind, body)
	case status >= 400 && status <= 499:
		return classifyClient(out)
	default:
		out.label = labelTransport
		out.text = fmt.Sprintf("answered with HTTP %d, which no LAM does", status)
		out.do = "check MoogUrl"
	}
	return out
}

func classifySuccess(out outcome, kind content, body []byte) outcome {
	switch {
	case kind == other:
		out.label = labelNotTaken
		out.text = fmt.Sprintf("answered HTTP %s without JSON, so it is not certain that it is a LAM", statusText(out.status))
		out.do = "check MoogUrl"
	case kind == jsonText && saysFailure(body):
		out.label = labelNotTaken
		out.text = fmt.Sprintf("answered HTTP %s but \"success\": false", statusText(out.status))
		out.do = "look at the LAM's log"
	default:
		out.class, out.label = accepted, labelAccepted
	}
	return out
}

func classifyClient(out outcome) outcome {
	status := statusText(out.status)
	switch out.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		out.label = labelAuth
		out.text = fmt.Sprintf("does not accept our credentials (HTTP %s)", status)
		out.do = "check AuthTokenCode, and Username and Password of this LAM"
	case http.StatusProxyAuthRequired:
		out.label = labelAuth
		out.text = fmt.Sprintf("the proxy does not accept our credentials (HTTP %s)", status)
		out.do = "check ProxyUsername and ProxyPassword"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		out.label = labelWrongPath
		out.text = fmt.Sprintf("has no LAM at this path (HTTP %s)", status)
		out.do = "check MoogUrl"
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		out.label = labelBusy
		out.text = fmt.Sprintf("asks us to come back later (HTTP %s)", status)
	default:
		out.class, out.label = refused, labelRefused
		out.text = fmt.Sprintf("refuses the event (HTTP %s)", status)
	}
	return out
}

func isAuth(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusProxyAuthRequired
}

func statusText(status int) string {
	if t := http.StatusText(status); t != "" {
		return strconv.Itoa(status) + " " + t
	}
	return strconv.Itoa(status)
}

// content is what a body is, whatever its header says.
type content uint8

const (
	empty content = iota
	jsonText
	html
	other
)

func kindOf(contentType string, body []byte) content {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	cut := len(body) > maxAnswer
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return empty
	}
	// Servlet containers label JSON as text/html when nobody told them otherwise: the body decides.
	if json.Valid(body) || cut && (body[0] == '{' || body[0] == '[') {
		return jsonText
	}
	if mt, _, _ := mime.ParseMediaType(contentType); mt == "text/html" || mt == "application/xhtml+xml" || body[0] == '<' {
		return html
	}
	return other
}

// failureText finds a failure in an answer that was cut, and therefore cannot be parsed.
var failureText = regexp.MustCompile(`(?i)"success"\s*:\s*"?false`)

// saysFailure reports whether the answer, or one of a list of answers, has "success": false.
func saysFailure(body []byte) bool {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	type reply struct {
		Success json.RawMessage `json:"success"`
	}
	var replies []reply
	var err error
	if body[0] == '[' {
		err = json.Unmarshal(body, &replies)
	} else {
		replies = make([]reply, 1)
		err = json.Unmarshal(body, &replies[0])
	}
	if err != nil { // cut, or a list of something else
		return failureText.Match(body)
	}
	for _, r := range replies {
		if strings.EqualFold(strings.Trim(string(r.Success), `"`), "false") {
			return true
		}
	}
	return false
}

// retryAfter reads a Retry-After header: seconds, or a date, which is compared with the answer's own
// Date where there is one, since the two clocks may differ.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// quote makes an answer fit for a person's eyes: short, one line, and without our own secrets, which
// a LAM may well repeat in "invalid token: ...".
func quote(body []byte, secrets []string) string {
	// Secrets go before the cut, which could leave half of one; what is read at all bounds the work.
	s := string(body)
	for _, secret := range secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > maxQuote {
		s = strings.ToValidUTF8(s[:maxQuote-3], "") + "..."
	}
	return s
}
