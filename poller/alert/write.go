package alert

import "errors"

// Field is one field of an alert that is to be changed: TicketId, Owner, CustomField1 to CustomField10.
type Field struct{ Name, Value string }

// Written is SCOM's answer to a change. An alert that it does not object to was changed.
type Written struct {
	Objections map[ID]Objection
	// Vague, if not nil, says that SCOM objects to something and does not name the alert; what it does not name above may
	// have been changed or not.
	Vague *Objection
	// Unchanged says that the alert showed all that was asked for, so that nothing was written.
	Unchanged bool
}

// Objection is why SCOM did not change an alert.
type Objection struct {
	Kind ObjectionKind
	Text string // SCOM's own words, or ours where it gives none
}

// ObjectionKind says what can be done about an objection.
type ObjectionKind uint8

// The kinds of objections.
const (
	// ObjectionOther: nobody knows whether the same would be taken later.
	ObjectionOther ObjectionKind = iota
	// ObjectionUnhealthy: the monitor behind the alert is unhealthy; its alert cannot be closed (SCOM 2019 and later).
	ObjectionUnhealthy
	// ObjectionNoAlert: SCOM has no such alert (any more).
	ObjectionNoAlert
	// ObjectionPassing: SCOM's own parts do not reach each other for now.
	ObjectionPassing
)

// ErrUnsupported: this version of SCOM's web console has no such call.
var ErrUnsupported = errors.New("this version of SCOM's web console cannot do that")
