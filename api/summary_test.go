package api

import (
	"testing"

	v1 "scomconnector/api/v1"
)

// The tile tells of the server in use; one that stands by is small print, whatever becomes of it.
func TestTheTileIsAboutTheServerInUse(t *testing.T) {
	one := func(state string, inUse bool) endpoint { return endpoint{"one", state, inUse} }
	two := func(state string, inUse bool) endpoint { return endpoint{"two", state, inUse} }
	self, other := &v1.Status{Node: "a", Leader: "a"}, &v1.Status{Node: "b", Leader: "a"}
	for name, c := range map[string]struct {
		s       *v1.Status
		servers []endpoint
		want    summary
	}{
		"it works":                      {self, []endpoint{one("ok", true), two("unknown", false)}, summary{"ok", "Connected", "one"}},
		"it fails":                      {self, []endpoint{one("failing", true), two("unknown", false)}, summary{"failing", "Failing", "one"}},
		"both fail":                     {self, []endpoint{one("failing", true), two("failing", false)}, summary{"failing", "Failing", "one, two"}},
		"it works, and the spare fails": {self, []endpoint{one("ok", true), two("failing", false)}, summary{"warn", "Connected", "one; failing: two"}},
		"it works, and the spare can be used again":  {self, []endpoint{one("ok", true), two("reachable", false)}, summary{"ok", "Connected", "one"}},
		"it was not asked yet":                       {self, []endpoint{one("unknown", true), two("unknown", false)}, summary{"unknown", "Not known yet", "one"}},
		"it was not asked yet, and the spare failed": {self, []endpoint{one("unknown", true), two("failing", false)}, summary{"warn", "Not known yet", "one; failing: two"}},
		"none is in use, and one has failed":         {self, []endpoint{one("unknown", false), two("failing", false)}, summary{"warn", "Not known yet", "failing: two"}},
		"another node uses them":                     {other, []endpoint{one("unknown", false)}, summary{"unknown", "Used by a", "this node stands by"}},
		"there are none":                             {self, nil, summary{"unknown", "None set up", ""}},
	} {
		if got := summarise(c.s, c.servers); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
