package journal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// Each event is one line, also where its error has several parts, from whatever part of the node it comes and at whatever level.
func TestAnErrorOfSeveralPartsIsOneLine(t *testing.T) {
	several := fmt.Errorf("hand over to secondary:\n%w", errors.Join(errors.New("it does not answer"), errors.New("the deadline is over")))
	const want = `error="hand over to secondary: it does not answer; the deadline is over"`
	var out bytes.Buffer
	j := open(t, Config{Level: "ALL"}, &out)
	for name, log := range map[string]hclog.Logger{
		"the node's": j.Logger(), "a part's": j.Logger().Named("cluster"), "a renamed one": j.Logger().ResetNamed("x"), "one with values": j.Logger().With("n", 1), "the audit": j.Audit(),
	} {
		for level, say := range map[string]func(string, ...any){
			"trace": log.Trace, "debug": log.Debug, "info": log.Info, "warn": log.Warn, "error": log.Error,
			"log": func(msg string, args ...any) { log.Log(hclog.Warn, msg, args...) },
		} {
			out.Reset()
			args := []any{"to", "secondary", "error", several}
			say("stopping without a handover", args...)
			if name == "the audit" && (level == "trace" || level == "debug") {
				continue
			}
			if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
				t.Errorf("%s, %s: got %q, want one line with %s", name, level, got, want)
			}
			if _, changed := args[3].(string); changed {
				t.Errorf("%s, %s: the caller's own list was changed", name, level)
			}
		}
	}
	out.Reset()
	j.Logger().With("error", several).Info("later")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
		t.Errorf("as a value of all lines: got %q", got)
	}
}

// What is no error keeps its lines: a stack is read as it is.
func TestTextOfSeveralLinesKeepsThem(t *testing.T) {
	var out bytes.Buffer
	open(t, Config{}, &out).Logger().Info("x", "stack", "a\nb", "error", error(nil))
	if got := out.String(); !strings.Contains(got, "  | a\n  | b\n") {
		t.Errorf("got %q", got)
	}
}
