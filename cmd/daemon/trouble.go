package daemon

import (
	"errors"

	"scomconnector/cmd/settings"
	"scomconnector/poller/alert"
)

// trouble is why a leader has no pipelines running, and what to do about it.
type trouble struct {
	text, do string
	mild     bool // wanted so by the settings
	area     area
	facts    []any
}

// troubleOf puts an error that keeps a feed from starting into an operator's words.
func troubleOf(err error) trouble {
	var faults settings.Faults
	if errors.As(err, &faults) {
		return trouble{text: "the settings in use cannot be read by this version: " + faults[0].String(), do: "upgrade this node, or apply settings that it understands"}
	}
	if f, ok := alert.FaultOf(err); ok {
		text := "SCOM does not answer: " + f.Error()
		if f.What != "" {
			text = "SCOM console " + f.Console + " " + f.What
		}
		return trouble{text: text, do: AboutConsole(f.Class, f.Error()), area: areaSCOM, facts: said(f.Err.Error(), f.What)}
	}
	return trouble{text: err.Error(), do: "mend what the message names; this node tries again every few seconds"}
}
