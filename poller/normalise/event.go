package normalise

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"scomconnector/poller/alert"
)

// maxSignature is the width of Moogsoft's column, VARBINARY(767). A longer value would be cut there,
// and two alerts could become one.
const maxSignature = 767

// The texts of an event, in the order in which they are written.
const (
	signature = iota // empty: the default, which is written from the id without making a string of it
	externalID
	source
	sourceID
	manager
	agent
	agentLocation
	class
	typ
	description
	path
	owner
	ticketID
	texts
)

// textNames are the fields as the LAM and the operator know them; Mapping takes those before path.
var textNames = [texts]string{
	"signature", "external_id", "source", "source_id", "manager", "agent", "agent_location", "class", "type",
	"description", "path", "owner", "ticketId",
}

// event is what encode writes beside the alert's own numbers: the defaults, until a mapping or
// shortening has changed them.
type event struct {
	id        alert.ID
	text      [texts]string
	tail      string // of the description: "<text>: <tail>"
	severity  int
	agentTime int64 // seconds since 1970
	hostRule  string

	custom       []custom // mapped custom_info
	mappingError string
	truncated    []string
}

// custom is one mapped field of custom_info: text, or raw JSON.
type custom struct {
	name string
	text string
	raw  string // a number, true or false; then text is unused
}

// event is the alert's event without a mapping.
func (n *Normaliser) event(a *alert.Alert) event {
	host, rule := hostOf(a)
	e := event{id: a.ID, hostRule: rule, severity: n.severity.of(a), agentTime: unixSeconds(a.LastModified), tail: a.Description}
	e.text[source] = host
	e.text[sourceID] = a.ObjectID
	e.text[manager] = "SCOM"
	e.text[agent] = "SCOM"
	e.text[agentLocation] = n.cfg.ManagementGroup
	e.text[class] = a.Category
	e.text[typ] = a.Name
	e.text[description] = a.Name
	if a.Name == "" && a.Description == "" {
		// SCOM does send such rows; an empty line in a console tells nobody that there is something to look up.
		e.text[description] = "SCOM alert without name and description"
	}
	e.text[path] = a.ObjectPath
	e.text[owner] = a.Owner
	e.text[ticketID] = a.TicketID
	return e
}

// unixSeconds is 0 for a time that SCOM did not tell, and for those before 1970, which no LAM takes.
func unixSeconds(t time.Time) int64 { return max(t.Unix(), 0) }

// encode appends e as JSON. a is nil for an event about the connector itself.
func (n *Normaliser) encode(dst []byte, e *event, a *alert.Alert) []byte {
	dst = append(dst, `{"signature":`...)
	if e.text[signature] != "" {
		dst = appendString(dst, e.text[signature])
	} else {
		dst = append(dst, '"')
		dst = appendEscaped(dst, n.signature)
		dst = append(e.id.Append(dst), '"')
	}
	dst = append(dst, `,"external_id":`...)
	if e.text[externalID] != "" || a == nil {
		dst = appendString(dst, e.text[externalID])
	} else {
		dst = append(dst, '"')
		dst = append(e.id.Append(dst), '"')
	}
	dst = appendString(append(dst, `,"source":`...), e.text[source])
	dst = appendString(append(dst, `,"source_id":`...), e.text[sourceID])
	dst = appendString(append(dst, `,"manager":`...), e.text[manager])
	dst = appendString(append(dst, `,"agent":`...), e.text[agent])
	dst = appendString(append(dst, `,"agent_location":`...), e.text[agentLocation])
	dst = appendString(append(dst, `,"class":`...), e.text[class])
	dst = appendString(append(dst, `,"type":`...), e.text[typ])
	dst = strconv.AppendInt(append(dst, `,"severity":`...), int64(e.severity), 10)
	dst = append(dst, `,"description":"`...)
	dst = appendEscaped(dst, e.text[description])
	if e.text[description] != "" && e.tail != "" {
		dst = append(dst, ": "...)
	}
	dst = appendEscaped(dst, e.tail)
	dst = strconv.AppendInt(append(dst, `","agent_time":`...), e.agentTime, 10)
	dst = appendString(append(dst, `,"custom_info":{"MoogConnector":{"ConnectorAddress":`...), n.cfg.ConnectorAddress)
	dst = appendString(append(dst, `,"Node":`...), n.cfg.Node)
	dst = append(dst, '}')
	dst = n.encodeSCOM(dst, e, a)
	for _, c := range e.custom {
		dst = appendString(append(dst, ','), c.name)
		dst = append(dst, ':')
		if c.raw != "" {
			dst = append(dst, c.raw...)
		} else {
			dst = appendString(dst, c.text)
		}
	}
	return append(dst, "}}"...)
}

// encodeSCOM appends custom_info.scom.
func (n *Normaliser) encodeSCOM(dst []byte, e *event, a *alert.Alert) []byte {
	if a == nil {
		if len(e.truncated) == 0 {
			return dst
		}
		dst = appendList(append(dst, `,"scom":{"truncated":`...), e.truncated)
		return append(dst, '}')
	}
	dst = appendTime(append(dst, `,"scom":{"lastModified":`...), a.LastModified)
	dst = strconv.AppendInt(append(dst, `,"resolutionState":`...), int64(a.ResolutionState), 10)
	dst = append(dst, `,"severity":"`...)
	dst = append(append(dst, a.Severity.String()...), '"')
	dst = strconv.AppendInt(append(dst, `,"priority":`...), int64(a.Priority.Number()), 10)
	dst = strconv.AppendInt(append(dst, `,"repeatCount":`...), a.RepeatCount, 10)
	dst = strconv.AppendBool(append(dst, `,"isMonitorAlert":`...), a.IsMonitorAlert)
	dst = appendString(append(dst, `,"path":`...), e.text[path])
	dst = append(dst, `,"hostRule":"`...)
	dst = append(append(dst, e.hostRule...), '"')
	dst = appendString(append(dst, `,"managementGroup":`...), n.cfg.ManagementGroup)
	dst = appendOrNull(append(dst, `,"owner":`...), e.text[owner])
	dst = appendOrNull(append(dst, `,"ticketId":`...), e.text[ticketID])
	dst = strconv.AppendBool(append(dst, `,"inMaintenance":`...), a.InMaintenance)
	if len(e.truncated) > 0 {
		dst = appendList(append(dst, `,"truncated":`...), e.truncated)
	}
	if e.mappingError != "" {
		dst = appendString(append(dst, `,"mappingError":`...), e.mappingError)
	}
	return append(dst, '}')
}

// signaturePrefix is what stands before the id; a management group too long for the column is hashed,
// so that the id stays readable.
func signaturePrefix(group string) string {
	if len(group)+len("::")+36 <= maxSignature {
		return group + "::"
	}
	return digest(group) + "::"
}

// bounded is a whole signature that fits the column. It is made valid first, since escaping would
// lengthen it afterwards.
func bounded(signature string) string {
	signature = strings.ToValidUTF8(signature, "\uFFFD")
	if len(signature) <= maxSignature {
		return signature
	}
	return digest(signature)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}
