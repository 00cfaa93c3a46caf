package journal

import (
	"strings"

	"github.com/hashicorp/go-hclog"
)

// EventSource is the name under which the node's lines stand in Windows' application log. service install registers it.
const EventSource = "scomconnector"

// eventID is the same for all lines: what they say differs by text. The message file that EventCreate brings knows 1 to 1000.
const eventID = 1

// maxEvent is what Windows takes, 31,839 characters, in the worst case of three bytes each.
const maxEvent = 10_000

// eventLog is what x/sys/windows/svc/eventlog opens.
type eventLog interface {
	Info(id uint32, msg string) error
	Warning(id uint32, msg string) error
	Error(id uint32, msg string) error
	Close() error
}

// events writes lines into the event log: from INFO on, whatever else is logged, since it is shared by the whole machine.
type events struct{ eventLog }

func (e events) LevelWrite(level hclog.Level, p []byte) (int, error) {
	// A text must not hold a null byte, and ends without a line's end.
	text := strings.ReplaceAll(strings.TrimRight(string(p), "\r\n"), "\x00", " ")
	if len(text) > maxEvent {
		text = strings.ToValidUTF8(text[:maxEvent], "") + " ..."
	}
	var err error
	switch {
	case level >= hclog.Error:
		err = e.Error(eventID, text)
	case level == hclog.Warn:
		err = e.Warning(eventID, text)
	case level == hclog.Info:
		err = e.Info(eventID, text)
	}
	return len(p), err
}
