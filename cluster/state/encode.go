package state

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"scomconnector/poller/alert"
)

// commandVersion is the first byte of every command.
const commandVersion = 1

// The kinds stand in logs on disk: never renumber, never reuse.
const (
	kindTermStart          kind = 1
	kindCommit             kind = 2
	kindSetConfig          kind = 3
	kindSetManagementGroup kind = 4
	kindRewind             kind = 5
	kindUnpark             kind = 6
	kindSetPipelines       kind = 7
	kindSetMaintenance     kind = 8
	kindAdoptPipeline      kind = 9
	kindAdoptSettings      kind = 10
	kindAdoptNote          kind = 11
	kindAccept             kind = 12
	kindSettle             kind = 13
	kindRetry              kind = 14
	kindDiscard            kind = 15
	kindAdoptOutbox        kind = 16
	kindCommitRewound      kind = 17 // a Commit to a pipeline that was rewound before
	kindBegin              kind = 18
	kindNoteLogon          kind = 19
	kindUnjudgedLogon      kind = 20 // a NoteLogon of LogonUnjudged
)

// MaxKind is the highest number of an op that this program knows. A leader proposes an op (KindOf) only if
// every member knows it, since a member that does not must stop.
const MaxKind = byte(kindUnjudgedLogon)

// KindOf is the number of the op as it stands in commands.
func KindOf(op Op) byte { return byte(op.kind()) }

func (TermStart) kind() kind          { return kindTermStart }
func (SetConfig) kind() kind          { return kindSetConfig }
func (SetManagementGroup) kind() kind { return kindSetManagementGroup }
func (Rewind) kind() kind             { return kindRewind }
func (Unpark) kind() kind             { return kindUnpark }
func (SetPipelines) kind() kind       { return kindSetPipelines }
func (SetMaintenance) kind() kind     { return kindSetMaintenance }
func (AdoptPipeline) kind() kind      { return kindAdoptPipeline }
func (AdoptSettings) kind() kind      { return kindAdoptSettings }
func (AdoptNote) kind() kind          { return kindAdoptNote }
func (Accept) kind() kind             { return kindAccept }
func (Settle) kind() kind             { return kindSettle }
func (Retry) kind() kind              { return kindRetry }
func (Discard) kind() kind            { return kindDiscard }
func (AdoptOutbox) kind() kind        { return kindAdoptOutbox }
func (Begin) kind() kind              { return kindBegin }

// kind makes a difference so that logs from before there were rewinds are understood.
func (c Commit) kind() kind {
	if c.Rewinds > 0 {
		return kindCommitRewound
	}
	return kindCommit
}

// kind makes a difference for an event that members of older versions do not know.
func (l NoteLogon) kind() kind {
	if l.Event == LogonUnjudged {
		return kindUnjudgedLogon
	}
	return kindNoteLogon
}

// Encode is c as bytes for the log. The error names the field that is out of bounds, or says that
// the command is longer than MaxCommand. What Encode accepts, Decode accepts.
func Encode(c Command) ([]byte, error) { return EncodeTo(nil, c) }

// EncodeTo appends what Encode returns to dst. On an error it returns dst as it was.
func EncodeTo(dst []byte, c Command) ([]byte, error) {
	if err := validate(c); err != nil {
		return dst, fmt.Errorf("encode command: %w", err)
	}
	out := dst
	out = append(out, commandVersion, byte(c.Op.kind()))
	out = appendToken(out, c.Token)
	out = appendOp(out, c.Op)
	if n := len(out) - len(dst); n > MaxCommand {
		return dst, fmt.Errorf("encode command: %d bytes are more than the %d a command may have", n, MaxCommand)
	}
	return out, nil
}

func appendOp(dst []byte, op Op) []byte {
	switch op := op.(type) {
	case TermStart:
		dst = appendString(dst, op.Node)
		dst = appendString(dst, op.ClusterID)
		dst = appendString(dst, op.Cause)
		dst = appendString(dst, op.Reason)
		dst = appendTime(dst, op.At)
	case Commit:
		dst = appendCommit(dst, &op)
	case SetConfig:
		dst = binary.AppendUvarint(dst, op.Expect)
		dst = appendString(dst, op.Text)
		dst = appendString(dst, op.Author)
		dst = appendTime(dst, op.At)
	case SetManagementGroup:
		dst = appendString(dst, op.Name)
		dst = appendBool(dst, op.Force)
	case Rewind:
		dst = appendString(dst, op.Pipeline)
		dst = appendMillis(dst, op.To)
		dst = appendString(dst, op.Author)
		dst = appendTime(dst, op.At)
	case Unpark:
		dst = appendString(dst, op.Pipeline)
		dst = binary.AppendUvarint(dst, uint64(len(op.Keys)))
		for _, k := range op.Keys {
			dst = append(dst, k[:]...)
		}
	case SetPipelines:
		dst = appendStrings(dst, op.Names)
		dst = binary.AppendUvarint(dst, uint64(len(op.Carry)))
		for _, name := range slices.Sorted(maps.Keys(op.Carry)) {
			dst = appendString(dst, name)
			dst = appendString(dst, op.Carry[name])
		}
		dst = appendTime(dst, op.At)
	case SetMaintenance:
		dst = appendString(dst, op.Node)
		dst = appendBool(dst, op.On)
		dst = appendBool(dst, op.Sticky)
		dst = binary.AppendUvarint(dst, op.Start)
		dst = appendStrings(dst, op.Unless)
		dst = appendString(dst, op.Author)
		dst = appendTime(dst, op.At)
	case NoteLogon:
		dst = appendNoteLogon(dst, &op)
	default:
		dst = appendOutbox(appendAdopt(dst, op), op)
	}
	return dst
}

// appendAdopt appends the ops by which a node hands over what it holds of an epoch that it yields.
func appendAdopt(dst []byte, op Op) []byte {
	switch op := op.(type) {
	case AdoptPipeline:
		dst = appendYielded(dst, op.Node, op.Epoch)
		dst = appendString(dst, op.Pipeline)
		dst = appendStrings(dst, op.Raised)
		dst = binary.AppendUvarint(dst, uint64(len(op.Parked)))
		for i := range op.Parked {
			dst = appendParked(dst, &op.Parked[i])
		}
	case AdoptSettings:
		dst = appendYielded(dst, op.Node, op.Epoch)
		dst = appendString(dst, op.Text)
		dst = appendString(dst, op.Author)
		dst = appendTime(dst, op.At)
		dst = binary.AppendUvarint(dst, uint64(len(op.Known)))
		for _, k := range op.Known {
			dst = binary.AppendUvarint(dst, k.Version)
			dst = binary.BigEndian.AppendUint64(dst, k.Sum)
		}
	case AdoptNote:
		dst = appendYielded(dst, op.Node, op.Epoch)
		dst = appendString(dst, op.Text)
		dst = appendTime(dst, op.At)
	}
	return dst
}

func appendYielded(dst []byte, node string, e Epoch) []byte {
	return appendEpoch(appendString(dst, node), e)
}

func appendCommit(dst []byte, c *Commit) []byte {
	if c.Rewinds > 0 {
		dst = binary.AppendUvarint(dst, c.Rewinds)
	}
	dst = appendString(dst, c.Pipeline)
	dst = appendBool(dst, c.Start)
	dst = appendMillis(dst, c.Cursor)
	dst = appendMillis(dst, c.Floor)
	dst = appendMillis(dst, c.Forget)
	dst = appendStrings(dst, c.Raised)
	dst = appendStrings(dst, c.Cleared)
	dst = binary.AppendUvarint(dst, uint64(len(c.Parked)))
	for i := range c.Parked {
		dst = appendParked(dst, &c.Parked[i])
	}
	return appendVersions(appendVersions(dst, c.Sent), c.Handled)
}

func appendVersions(dst []byte, vs []alert.Version) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(vs)))
	var prev alert.Millis
	for _, v := range vs {
		dst = appendVersion(dst, v, prev)
		prev = v.LastModified
	}
	return dst
}
