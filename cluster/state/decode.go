package state

import (
	"errors"
	"fmt"

	"scomconnector/poller/alert"
)

// ErrUnknownCommand is wrapped by Decode, Apply and Restore for what a newer program has written.
// The node must stop applying, take no snapshot, and ask to be upgraded.
var ErrUnknownCommand = errors.New("written by a newer version of this program")

// Decode is the inverse of Encode. It accepts nothing that Encode does not produce, and copies what
// it keeps of data.
func Decode(data []byte) (Command, error) {
	if len(data) > MaxCommand {
		return Command{}, fmt.Errorf("decode command: %d bytes are more than the %d a command may have", len(data), MaxCommand)
	}
	r := &reader{b: data}
	if v := r.byte(); r.err == nil && v != commandVersion {
		return Command{}, fmt.Errorf("decode command of version %d: %w", v, ErrUnknownCommand)
	}
	k := kind(r.byte())
	if r.err != nil {
		return Command{}, fmt.Errorf("decode command: %w", r.err)
	}
	if k < kindTermStart || k > kind(MaxKind) {
		return Command{}, fmt.Errorf("decode command of kind %d: %w", k, ErrUnknownCommand)
	}
	c := Command{Token: r.token()}
	c.Op = r.op(k)
	if err := r.end(); err != nil {
		return Command{}, fmt.Errorf("decode command of kind %d: %w", k, err)
	}
	if err := validate(c); err != nil {
		return Command{}, fmt.Errorf("decode command of kind %d: %w", k, err)
	}
	return c, nil
}

// op reads the fields of a known kind in the order in which appendOp writes them.
func (r *reader) op(k kind) Op {
	switch k {
	case kindTermStart:
		return TermStart{Node: r.string(), ClusterID: r.string(), Cause: r.string(), Reason: r.string(), At: r.time()}
	case kindCommit:
		return r.commit(0)
	case kindCommitRewound:
		rewinds := r.uvarint()
		if rewinds == 0 {
			r.fail(errNumber)
		}
		return r.commit(rewinds)
	case kindSetConfig:
		return SetConfig{Expect: r.uvarint(), Text: r.bytes(), Author: r.string(), At: r.time()}
	case kindSetManagementGroup:
		return SetManagementGroup{Name: r.string(), Force: r.bool()}
	case kindRewind:
		return Rewind{Pipeline: r.string(), To: r.millis(), Author: r.string(), At: r.time()}
	case kindUnpark:
		op := Unpark{Pipeline: r.string()}
		for range r.count(len(alert.ID{})) {
			op.Keys = append(op.Keys, r.id())
		}
		return op
	case kindSetPipelines:
		op := SetPipelines{Names: r.strings()}
		op.Carry = r.carry()
		op.At = r.time()
		return op
	case kindSetMaintenance:
		return SetMaintenance{Node: r.string(), On: r.bool(), Sticky: r.bool(), Start: r.uvarint(), Unless: r.strings(), Author: r.string(), At: r.time()}
	case kindAdoptPipeline:
		op := AdoptPipeline{Node: r.string(), Epoch: r.epoch(), Pipeline: r.string(), Raised: r.strings()}
		op.Parked = r.parkedList()
		return op
	case kindAdoptSettings:
		op := AdoptSettings{Node: r.string(), Epoch: r.epoch(), Text: r.bytes(), Author: r.string(), At: r.time()}
		op.Known = r.known()
		return op
	case kindAdoptNote:
		return AdoptNote{Node: r.string(), Epoch: r.epoch(), Text: r.string(), At: r.time()}
	}
	if k == kindNoteLogon || k == kindUnjudgedLogon {
		return r.noteLogon(k)
	}
	return r.outboxOp(k)
}

func (r *reader) parkedList() []Parked {
	var list []Parked
	for range r.count(minParkedBytes) {
		list = append(list, r.parked())
	}
	return list
}

func (r *reader) known() []ConfigSum {
	var list []ConfigSum
	for range r.count(1 + 8) {
		list = append(list, ConfigSum{Version: r.uvarint(), Sum: r.uint64()})
	}
	return list
}

func (r *reader) commit(rewinds uint64) Commit {
	c := Commit{Rewinds: rewinds, Pipeline: r.string(), Start: r.bool(), Cursor: r.millis(), Floor: r.millis(), Forget: r.millis()}
	c.Raised, c.Cleared = r.strings(), r.strings()
	c.Parked = r.parkedList()
	c.Sent, c.Handled = r.versions(), r.versions()
	return c
}

func (r *reader) versions() []alert.Version {
	n := r.count(minVersionBytes)
	if n == 0 {
		return nil
	}
	vs := make([]alert.Version, 0, n)
	var prev alert.Millis
	for range n {
		v := r.version(prev)
		if r.err != nil {
			return vs
		}
		vs = append(vs, v)
		prev = v.LastModified
	}
	return vs
}

func (r *reader) carry() map[string]string {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, min(n, MaxPipelines))
	last := ""
	for i := range n {
		name := r.string()
		if i > 0 && name <= last {
			r.fail(errOrder)
		}
		m[name] = r.string()
		last = name
	}
	return m
}
