package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// fakeLevels knows two levels.
type fakeLevels struct{ level string }

func (f *fakeLevels) Level() string {
	if f.level == "" {
		return "INFO"
	}
	return f.level
}

func (f *fakeLevels) SetLevel(level string) error {
	if level = strings.ToUpper(level); level != "INFO" && level != "DEBUG" {
		return errors.New("the level of the log is one of INFO, DEBUG")
	}
	f.level = level
	return nil
}

// The level is read by who may read and changed by who may write, with PUT and, as the original, with POST.
func TestTheLogLevelIsChangedWhileTheNodeRuns(t *testing.T) {
	n := &node{}
	h := n.handler("")
	is := func(want string) {
		t.Helper()
		if w := ask(h, "GET", "/api/v1/loglevel"); w.Code != 200 || w.Body.String() != `{"level":"`+want+`"}`+"\n" {
			t.Errorf("got %d %s, want %s", w.Code, w.Body, want)
		}
	}
	is("INFO")
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		n.levels.level = ""
		if w := send(h, method, "/api/v1/loglevel", `{"level": "debug"}`); w.Code != 200 || w.Body.String() != `{"level":"DEBUG"}`+"\n" {
			t.Errorf("%s: got %d %s", method, w.Code, w.Body)
		}
		is("DEBUG")
	}
	if log := n.log.String(); !strings.Contains(log, `what="log level: DEBUG in place of INFO"`) {
		t.Errorf("the audit lacks the change:\n%s", log)
	}
	refusal(t, "an unknown word", send(h, "PUT", "/api/v1/loglevel", `{"level": "loud"}`), 400, "one of INFO, DEBUG")
	refusal(t, "no body", send(h, "PUT", "/api/v1/loglevel", ""), 400, "JSON object")
	refusal(t, "from elsewhere", send(h, "PUT", "/api/v1/loglevel", `{"level": "INFO"}`, from("192.0.2.9:1")), 403, "this machine only")
	is("DEBUG")
}
