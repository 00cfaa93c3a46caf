package state

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"scomconnector/poller/alert"
)

// PartKind says which kind of part of the state a Part names.
type PartKind uint8

// The kinds of parts, in the order in which Parts lists them.
const (
	PartMeta          PartKind = iota // token, leader, cluster id, management group, totals of dropped pipelines
	PartLeaders                       // the list of leader changes
	PartMaintenance                   // the flags of all nodes
	PartNotes                         // the notes of merges
	PartLogons                        // what stands against logging on to SCOM
	PartConfig                        // one version of the settings
	PartPipe                          // a pipeline's position, totals and raised self-alerts
	PartDelta                         // a pipeline's delivered map: exactly what the command names was recorded or forgotten
	PartBase                          // a pipeline's delivered map as a whole
	PartParked                        // one parked entry
	PartOutbox                        // one request that waits
	PartParkedRequest                 // one parked request
	PartSettled                       // one request that has been settled
)

// Part names one part of the state, so that a backend without snapshots can store what changed.
// A part named by Apply that no longer exists afterwards was removed.
type Part struct {
	Kind     PartKind
	Pipeline string   // PartPipe, PartDelta, PartBase, PartParked
	Key      alert.ID // PartParked
	Version  uint64   // PartConfig
	Request  string   // PartOutbox, PartParkedRequest, PartSettled: the request's ID
}

// String is the part's name as a path, such as "parked/default/<key>".
func (p Part) String() string {
	switch p.Kind {
	case PartMeta:
		return "meta"
	case PartLeaders:
		return "leaders"
	case PartMaintenance:
		return "maintenance"
	case PartNotes:
		return "notes"
	case PartLogons:
		return "logons"
	case PartConfig:
		return fmt.Sprintf("config/%d", p.Version)
	case PartPipe:
		return "pipe/" + p.Pipeline
	case PartDelta:
		return "delta/" + p.Pipeline
	case PartBase:
		return "base/" + p.Pipeline
	case PartParked:
		return "parked/" + p.Pipeline + "/" + p.Key.String()
	case PartOutbox:
		return "outbox/" + p.Request
	case PartParkedRequest:
		return "parked-request/" + p.Request
	case PartSettled:
		return "settled/" + p.Request
	}
	return fmt.Sprintf("part-%d", p.Kind)
}

func (p Part) compare(q Part) int {
	return cmp.Or(cmp.Compare(p.Kind, q.Kind), strings.Compare(p.Pipeline, q.Pipeline),
		cmp.Compare(p.Version, q.Version), compareIDs(p.Key, q.Key), strings.Compare(p.Request, q.Request))
}

// Parts is a set of parts, sorted, each once. It may name a part whose content came out the same.
type Parts []Part

func partsOf(p ...Part) Parts {
	slices.SortFunc(p, Part.compare)
	return slices.Compact(p)
}
