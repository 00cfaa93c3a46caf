package state

import (
	"errors"
	"fmt"
	"time"

	"scomconnector/poller/alert"
)

// validate checks what both Encode and Decode demand. It is one function so that nothing can be
// written to the log that stops the nodes which read it.
func validate(c Command) error {
	if len(c.Token.Epoch.Node) > MaxName {
		return fmt.Errorf("the epoch's node: %w", errName)
	}
	switch op := c.Op.(type) {
	case TermStart:
		return errors.Join(checkName("node", op.Node), checkOptionalName("cluster id", op.ClusterID),
			checkOptionalName("cause", op.Cause), checkTime(op.At))
	case Commit:
		return validateCommit(&op)
	case SetConfig:
		return errors.Join(checkText(op.Text), checkTime(op.At))
	case SetManagementGroup:
		return checkName("management group", op.Name)
	case Rewind:
		return errors.Join(checkName("pipeline", op.Pipeline), checkMillis("position", op.To), checkTime(op.At))
	case Unpark:
		return checkName("pipeline", op.Pipeline)
	case SetPipelines:
		return validatePipelines(&op)
	case SetMaintenance:
		return validateMaintenance(&op)
	case AdoptPipeline:
		return errors.Join(checkYielded(op.Node, op.Epoch), checkName("pipeline", op.Pipeline), checkKinds(op.Raised), checkParkedTimes(op.Parked))
	case AdoptSettings:
		if len(op.Known) > maxConfigVersions {
			return fmt.Errorf("%d known versions of the settings are more than the %d that are kept", len(op.Known), maxConfigVersions)
		}
		return errors.Join(checkYielded(op.Node, op.Epoch), checkText(op.Text), checkTime(op.At))
	case AdoptNote:
		if op.Text == "" {
			return errors.New("the note says nothing")
		}
		return errors.Join(checkYielded(op.Node, op.Epoch), checkTime(op.At))
	}
	if op, ok := c.Op.(NoteLogon); ok {
		return validateLogon(&op)
	}
	return validateOutbox(c.Op)
}

func validateCommit(c *Commit) error {
	err := errors.Join(checkName("pipeline", c.Pipeline), checkMillis("cursor", c.Cursor),
		checkMillis("floor", c.Floor), checkMillis("forget", c.Forget))
	if err != nil {
		return err
	}
	for _, list := range [][]string{c.Raised, c.Cleared} {
		if err := checkKinds(list); err != nil {
			return err
		}
	}
	for _, list := range [][]alert.Version{c.Sent, c.Handled} {
		for _, v := range list {
			if err := checkMillis("last modified", v.LastModified); err != nil {
				return fmt.Errorf("alert %s: %w", v.ID, err)
			}
		}
	}
	return checkParkedTimes(c.Parked)
}

func checkKinds(kinds []string) error {
	if len(kinds) > maxKinds {
		return fmt.Errorf("%d self-alerts at once are more than %d", len(kinds), maxKinds)
	}
	for _, k := range kinds {
		if k == "" || len(k) > maxKindName {
			return fmt.Errorf("the kind of a self-alert must have 1 to %d bytes: %.80q", maxKindName, k)
		}
	}
	return nil
}

func checkParkedTimes(list []Parked) error {
	for i := range list {
		p := &list[i]
		if err := errors.Join(checkMillis("last modified", p.Version.LastModified), checkTime(p.At)); err != nil {
			return fmt.Errorf("parked alert %s: %w", p.Version.ID, err)
		}
	}
	return nil
}

func checkText(text []byte) error {
	if len(text) > MaxConfigText {
		return fmt.Errorf("settings of %d bytes are more than the %d they may have", len(text), MaxConfigText)
	}
	return nil
}

func validateMaintenance(op *SetMaintenance) error {
	if len(op.Unless) > maxMaintenance {
		return fmt.Errorf("%d other nodes are more than %d", len(op.Unless), maxMaintenance)
	}
	for _, name := range op.Unless {
		if err := checkName("other node", name); err != nil {
			return err
		}
	}
	return errors.Join(checkName("node", op.Node), checkTime(op.At))
}

func checkYielded(node string, e Epoch) error {
	return errors.Join(checkName("node", node), checkOptionalName("the epoch's node", e.Node))
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
