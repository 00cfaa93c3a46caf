package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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
)

func (TermStart) kind() kind          { return kindTermStart }
func (Commit) kind() kind             { return kindCommit }
func (SetConfig) kind() kind          { return kindSetConfig }
func (SetManagementGroup) kind() kind { return kindSetManagementGroup }
func (Rewind) kind() kind             { return kindRewind }
func (Unpark) kind() kind             { return kindUnpark }
func (SetPipelines) kind() kind       { return kindSetPipelines }

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
	}
	return dst
}

func appendCommit(dst []byte, c *Commit) []byte {
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

// validate checks what both Encode and Decode demand. It is one function so that nothing can be
// written to the log that stops the nodes which read it.
func validate(c Command) error {
	if len(c.Token.Epoch.Node) > MaxName {
		return fmt.Errorf("the epoch's node: %w", errName)
	}
	switch op := c.Op.(type) {
	case TermStart:
		return errors.Join(checkName("node", op.Node), checkOptionalName("cluster id", op.ClusterID), checkTime(op.At))
	case Commit:
		return validateCommit(&op)
	case SetConfig:
		if len(op.Text) > MaxConfigText {
			return fmt.Errorf("settings of %d bytes are more than the %d they may have", len(op.Text), MaxConfigText)
		}
		return checkTime(op.At)
	case SetManagementGroup:
		return checkName("management group", op.Name)
	case Rewind:
		return errors.Join(checkName("pipeline", op.Pipeline), checkMillis("position", op.To), checkTime(op.At))
	case Unpark:
		return checkName("pipeline", op.Pipeline)
	case SetPipelines:
		return validatePipelines(&op)
	}
	return fmt.Errorf("%T is not a command", c.Op)
}

func validateCommit(c *Commit) error {
	err := errors.Join(checkName("pipeline", c.Pipeline), checkMillis("cursor", c.Cursor),
		checkMillis("floor", c.Floor), checkMillis("forget", c.Forget))
	if err != nil {
		return err
	}
	for _, list := range [][]string{c.Raised, c.Cleared} {
		if len(list) > maxKinds {
			return fmt.Errorf("%d self-alerts at once are more than %d", len(list), maxKinds)
		}
		for _, k := range list {
			if k == "" || len(k) > maxKindName {
				return fmt.Errorf("the kind of a self-alert must have 1 to %d bytes: %.80q", maxKindName, k)
			}
		}
	}
	for _, list := range [][]alert.Version{c.Sent, c.Handled} {
		for _, v := range list {
			if err := checkMillis("last modified", v.LastModified); err != nil {
				return fmt.Errorf("alert %s: %w", v.ID, err)
			}
		}
	}
	for i := range c.Parked {
		p := &c.Parked[i]
		if err := errors.Join(checkMillis("last modified", p.Version.LastModified), checkTime(p.At)); err != nil {
			return fmt.Errorf("parked alert %s: %w", p.Version.ID, err)
		}
	}
	return nil
}

func validatePipelines(op *SetPipelines) error {
	if len(op.Names) > MaxPipelines || len(op.Carry) > MaxPipelines {
		return fmt.Errorf("more than %d pipelines", MaxPipelines)
	}
	for _, name := range op.Names {
		if err := checkName("pipeline", name); err != nil {
			return err
		}
	}
	for name, previous := range op.Carry {
		if err := errors.Join(checkName("pipeline", name), checkName("previous name", previous)); err != nil {
			return err
		}
	}
	if op.At.IsZero() {
		return errors.New("the time is missing, from which the removed pipelines' seven days count")
	}
	return checkTime(op.At)
}

var errName = fmt.Errorf("a name must have 1 to %d bytes", MaxName)

func checkName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%s: %w", what, errName)
	}
	return checkOptionalName(what, name)
}

func checkOptionalName(what, name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("%s: %w", what, errName)
	}
	return nil
}

func checkMillis(what string, m alert.Millis) error {
	if m < minMillis || m > maxMillis {
		return fmt.Errorf("%s: %d ms is not within the years 0 to 9999", what, m)
	}
	return nil
}

func checkTime(t time.Time) error {
	if sec := t.Unix(); sec < int64(minMillis/1000) || sec > int64(maxMillis/1000) {
		return fmt.Errorf("time: unix second %d is not within the years 0 to 9999", sec)
	}
	return nil
}
