package daemon

import (
	"errors"
	"strings"

	"scomconnector/cmd/settings"
	"scomconnector/poller/alert"
)

// trouble is why a leader has no pipelines running, and what to do about it.
type trouble struct {
	text, do string
	mild     bool // wanted so by the settings
}

// troubleOf puts an error that keeps a feed from starting into an operator's words.
func troubleOf(err error) trouble {
	var faults settings.Faults
	if errors.As(err, &faults) {
		return trouble{text: "the settings in use cannot be read by this version: " + faults[0].String(), do: "upgrade this node, or apply settings that it understands"}
	}
	if f, ok := alert.FaultOf(err); ok {
		return trouble{text: "SCOM does not answer: " + f.Error(), do: doAboutSCOM(f.Class, f.Error())}
	}
	return trouble{text: err.Error(), do: "mend what the message names; this node tries again every few seconds"}
}

// doAboutSCOM is the cure that belongs to what a console has done.
func doAboutSCOM(c alert.FaultClass, said string) string {
	if do := doAboutMisfit(said); do != "" {
		return do
	}
	switch c {
	case alert.FaultAuth:
		return "check Domain, UserId and Password of the SCOM server in the settings; the next log-on waits minutes so that the account is not locked"
	case alert.FaultTimeout:
		return "check the web console and its management server: they take too long"
	case alert.FaultCriteria:
		return "the console refuses the query: try CriteriaDateForm \"space\""
	}
	if strings.Contains(said, "web page") || strings.Contains(said, "login page") {
		return "check the Url of the SCOM server in the settings; nothing is lost meanwhile"
	}
	return "check that the web console is up and reachable from this node; nothing is lost meanwhile"
}
