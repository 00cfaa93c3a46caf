package journal

import (
	"strings"

	"github.com/hashicorp/go-hclog"
)

// oneLine writes an error of several parts, such as what errors.Join has made, in the one line that each event has; hclog would give it
// a line for each part.
type oneLine struct {
	hclog.Logger
	all hclog.Logger // the same one, which keeps nothing back
}

var inOneLine = strings.NewReplacer(":\n", ": ", "\n", "; ")

// flat has each such error in one line. The caller's own list stays as it is.
func flat(args []any) []any {
	copied := false
	for i, a := range args {
		err, ok := a.(error)
		if !ok {
			continue
		}
		text := err.Error()
		if !strings.Contains(text, "\n") {
			continue
		}
		if !copied {
			args, copied = append([]any(nil), args...), true
		}
		args[i] = inOneLine.Replace(text)
	}
	return args
}

// Log, Trace, Debug, Info, Warn, Error, With, Named and ResetNamed implement hclog.Logger.
func (l oneLine) Log(level hclog.Level, msg string, args ...any) {
	l.Logger.Log(level, msg, flat(args)...)
}
func (l oneLine) Trace(msg string, args ...any) { l.Logger.Trace(msg, flat(args)...) }
func (l oneLine) Debug(msg string, args ...any) { l.Logger.Debug(msg, flat(args)...) }
func (l oneLine) Info(msg string, args ...any)  { l.Logger.Info(msg, flat(args)...) }
func (l oneLine) Warn(msg string, args ...any)  { l.Logger.Warn(msg, flat(args)...) }
func (l oneLine) Error(msg string, args ...any) { l.Logger.Error(msg, flat(args)...) }
func (l oneLine) With(args ...any) hclog.Logger {
	args = flat(args)
	return oneLine{l.Logger.With(args...), l.all.With(args...)}
}
func (l oneLine) Named(name string) hclog.Logger {
	return oneLine{l.Logger.Named(name), l.all.Named(name)}
}
func (l oneLine) ResetNamed(name string) hclog.Logger {
	return oneLine{l.Logger.ResetNamed(name), l.all.ResetNamed(name)}
}

// Milestones is the logger for what changes a state, such as which settings are in use: of its lines each is written at once,
// however often it was said before.
func (l oneLine) Milestones() hclog.Logger { return oneLine{l.all, l.all} }
