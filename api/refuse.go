package api

import (
	"context"
	"errors"
	"net/http"

	v1 "scomconnector/api/v1"
)

// Errors of Settings, Parked, Office (office.go has more) and Submitter (submit.go has more), to be wrapped with what is the matter. Any other error is answered 500.
var (
	// ErrNotFound: there is no such version or entry.
	ErrNotFound = errors.New("not found")
	// ErrStale: the settings are not the ones that were changed.
	ErrStale = errors.New("the settings have changed meanwhile")
	// ErrInvalid: the settings cannot be used; all faults are wrapped.
	ErrInvalid = errors.New("the settings are not usable")
	// ErrRewind: a cursor cannot be put there.
	ErrRewind = errors.New("the cursor stays where it is")
	// ErrNoLeader: nobody could take the write; nothing was changed.
	ErrNoLeader = errors.New("the cluster has no leader")
	// ErrStalled: nobody can take writes at present; nothing was changed.
	ErrStalled = errors.New("nothing was changed")
	// ErrElsewhere: another node must be asked; the wrapping names it.
	ErrElsewhere = errors.New("this node does not poll")
	// ErrNoEvent: there is nothing in a parked entry that a LAM could be sent.
	ErrNoEvent = errors.New("this cannot be sent again")
	// ErrAway: the destination takes nothing at present.
	ErrAway = errors.New("no LAM has taken it")
	// ErrRefusedAgain: a LAM refuses what was sent again.
	ErrRefusedAgain = errors.New("it was sent again and refused")
	// ErrUnknownOutcome: the write may or may not have happened.
	ErrUnknownOutcome = errors.New("it is not known whether this was done")
)

// What this package refuses by itself.
var (
	errNoRoute     = errors.New("there is nothing at this address")
	errMethod      = errors.New("this address does not take that method")
	errReadToken   = errors.New("a token is needed to read")
	errNoToken     = errors.New("a token is needed to change anything")
	errWrongToken  = errors.New("this is not the operator token")
	errNotLocal    = errors.New("without an operator token changes are taken from this machine only")
	errForwarded   = errors.New("without an operator token changes are not taken through a proxy")
	errForeignHost = errors.New("this is not a name of this node")
	errForeignPage = errors.New("changes are not taken from another site's page")
	errTooLarge    = errors.New("the request body is too large")
	errNoMatch     = errors.New("If-Match is missing")
	errRequest     = errors.New("the request makes no sense")
	errMediaType   = errors.New("the body is not of a type that this address takes")
	errCallback    = errors.New("a token is needed to close alerts")
	errMalformed   = errors.New("the request cannot be understood")
	errTooMany     = errors.New("too many requests from there cannot be understood")
	errBusy        = errors.New("too many close requests are being taken at this moment")
	errNoSettings  = errors.New("this node does not know the cluster's settings yet")
	errSCOMRefuses = errors.New("SCOM refuses")
)

// refusals is the one table that maps errors to statuses, with what to do about each.
var refusals = []struct {
	err  error
	code int
	hint string
}{
	{errNoRoute, http.StatusNotFound, "the status page is at /, its figures at /api/v1/status"},
	{errMethod, http.StatusMethodNotAllowed, "the header Allow names what it takes"},
	{errReadToken, http.StatusUnauthorized, "send Authorization: Bearer with the content of ReadTokenFile; in a browser give it as the password, with any name"},
	{errNoToken, http.StatusUnauthorized, "send Authorization: Bearer with the content of OperatorTokenFile; scomconnector takes it with --token-file"},
	{errWrongToken, http.StatusUnauthorized, "send the content of the file that Auth.OperatorTokenFile names in this node's node.json"},
	{errNotLocal, http.StatusForbidden, "run the command on the node itself, or set Auth.OperatorTokenFile in its node.json, restart it, and use --token-file"},
	{errForwarded, http.StatusForbidden, "ask the node directly, or set Auth.OperatorTokenFile in its node.json, restart it, and use --token-file"},
	{errForeignHost, http.StatusForbidden, "address the node as localhost, by one of its IP addresses, or as AdvertiseUrl, Members or ConnectorUrl name it"},
	{errForeignPage, http.StatusForbidden, "use the command line, or a page of this node"},
	{errTooLarge, http.StatusRequestEntityTooLarge, "send at most 64 KiB; the settings may have 60 KiB"},
	{errNoMatch, http.StatusPreconditionRequired, `read /api/v1/config, change its text, and send its version: If-Match: "N"`},
	{errCallback, http.StatusUnauthorized, "send the content of the file that Auth.CallbackTokenFile names: as Authorization: Bearer, or as the password of Basic with any name"},
	{errMalformed, http.StatusBadRequest, `mend what the message names; only "id" is needed, as in {"id":"5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01"}`},
	{errTooMany, http.StatusTooManyRequests, "look at the answers of the earlier ones for what is wrong; requests that can be understood are still taken"},
	{errBusy, http.StatusServiceUnavailable, "nothing was accepted; send it again"},
	{errNoSettings, http.StatusServiceUnavailable, "nothing was accepted; send it again, or to another node; /api/v1/status tells what this one waits for"},
	{errSCOMRefuses, http.StatusConflict, "it is parked: scomconnector parked list shows it, and parked retry sends it again once the cause is mended"},
	{errListeners, http.StatusServiceUnavailable, "read /api/v1/status every few seconds instead, or close pages that nobody looks at"},
	{ErrOutboxFull, http.StatusTooManyRequests, "nothing was accepted; see /api/v1/outbox for why nothing moves, and send it again once SCOM takes them"},
	{ErrUnknownAlert, http.StatusNotFound, `nothing was accepted; check the id, or set CloseUnknownIds to "accept"`},
	{errRequest, http.StatusBadRequest, "mend what the message names"},
	{errMediaType, http.StatusUnsupportedMediaType, "send Content-Type: application/json; a form of a page is sent as it is"},
	{errOldForm, http.StatusForbidden, "nothing was changed; send the form below, which is new, to the node that shows it"},
	{errSentForm, http.StatusConflict, "look below at what is so now; to change it, send the form below, which is new"},
	{errManyForms, http.StatusServiceUnavailable, "use the command line, or wait ten minutes"},
	{ErrUnfit, http.StatusConflict, "mend what the message names; /maintenance shows what each node can do"},
	{ErrLeaderAlive, http.StatusConflict, "there is nothing to take over: to have another node lead use transfer, or maintenance"},
	{ErrWarned, http.StatusConflict, "read the reasons; who accepts them uses --force, or \"force\": true"},
	{ErrNotFound, http.StatusNotFound, "list what there is: /api/v1/config/versions, /api/v1/parked, /api/v1/parked-requests, /api/v1/members"},
	{ErrStale, http.StatusPreconditionFailed, "read /api/v1/config again, make the change there, and send its version"},
	{ErrInvalid, http.StatusUnprocessableEntity, "mend what the lines name and send the text again; nothing was changed"},
	{ErrRewind, http.StatusUnprocessableEntity, "scomconnector cursors show, and /api/v1/cursors, name the pipelines and how far back each may be put"},
	{ErrNoLeader, http.StatusServiceUnavailable, "nothing was changed; see /api/v1/status for what the cluster waits for, then try again"},
	{ErrStalled, http.StatusServiceUnavailable, "the status page says what to mend, then try again"},
	{ErrElsewhere, http.StatusConflict, "ask the leader: /api/v1/status names it"},
	{ErrNoEvent, http.StatusConflict, "once the cause is mended, scomconnector cursors rewind has SCOM read again from a time on; parked remove takes the entry away"},
	{ErrAway, http.StatusServiceUnavailable, "it stays parked; try again once the destination takes events: the status page shows it"},
	{ErrRefusedAgain, http.StatusConflict, "it stays parked, with the new answer; mend what the LAM complains of, or remove it"},
	{ErrUnknownOutcome, http.StatusServiceUnavailable, "send the same request again: what was done already is not done twice"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "the node is busy; try again"},
}

// When a refused client should come again, in seconds.
const (
	retryAfter     = "5"  // a cluster without a leader: an election takes a few seconds
	retryLongAfter = "30" // what is too much now
)

// judged is the status of an error, and what to do about it.
func judged(err error) (code int, hint string) {
	code, hint = http.StatusInternalServerError, "look at this node's log, and report this as a bug"
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			code, hint = r.code, r.hint
			break
		}
	}
	if u, ok := errors.AsType[*Unfit](err); ok && u.Hint != "" {
		hint = u.Hint
	}
	return code, hint
}

// refuse answers with the error's status, its text and what to do.
func refuse(w http.ResponseWriter, err error) {
	code, hint := judged(err)
	challenge(w, code, err)
	answerJSON(w, code, v1.Error{Error: err.Error(), Hint: hint})
}

// challenge says in the head when to come again, or with what.
func challenge(w http.ResponseWriter, code int, err error) {
	switch code {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", retryLongAfter)
	case http.StatusUnauthorized:
		scheme := `Bearer realm="scomconnector"`
		// Browsers know this one only, and a moobot's user and password are not sent before they are asked for.
		if errors.Is(err, errReadToken) || errors.Is(err, errCallback) {
			scheme = `Basic realm="scomconnector", charset="UTF-8"`
		}
		w.Header().Set("WWW-Authenticate", scheme)
	}
}

// turnAway refuses in the form of the address that was asked.
func turnAway(w http.ResponseWriter, r *http.Request, err error) {
	if isEventPost(r.URL.Path) {
		refuseClose(w, "", err)
		return
	}
	refuse(w, err)
}

func notFound(w http.ResponseWriter, _ *http.Request) { refuse(w, errNoRoute) }
