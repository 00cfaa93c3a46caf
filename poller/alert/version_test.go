package alert

import (
	"strings"
	"testing"
	"time"
)

func TestParseIDTakesEverySpellingOfAGUID(t *testing.T) {
	const want = "d3144ac9-4316-45ce-94b9-f50936219e24"
	for _, s := range []string{
		want,
		strings.ToUpper(want),
		"{" + want + "}",
		"{" + strings.ToUpper(want) + "}",
		"  " + want + "\r\n",
		strings.ReplaceAll(want, "-", ""),
	} {
		id, err := ParseID(s)
		if err != nil {
			t.Errorf("ParseID(%q): %v", s, err)
			continue
		}
		if got := id.String(); got != want {
			t.Errorf("ParseID(%q) prints as %q, want %q", s, got, want)
		}
	}
}

func TestParseIDRefusesAnythingElse(t *testing.T) {
	for _, s := range []string{
		"", "{}", "{", "null", "d3144ac9", strings.Repeat("g", 32), strings.Repeat("0", 31), strings.Repeat("0", 33),
		"d3144ac9-4316-45ce-94b9f-50936219e24", "{d3144ac9-4316-45ce-94b9-f50936219e24", strings.Repeat("x", 10000),
	} {
		id, err := ParseID(s)
		if err == nil {
			t.Errorf("ParseID(%.40q) = %v, want an error", s, id)
		} else if len(err.Error()) > 120 {
			t.Errorf("ParseID(%.40q): the error has %d bytes, want a line a person can read", s, len(err.Error()))
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("d3144ac9-4316-45ce-94b9-f50936219e24")
	f.Add("{D3144AC94316-45ce94b9f50936219e24}")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		again, err := ParseID(id.String())
		if err != nil || again != id {
			t.Errorf("ParseID(%q) = %v, which reads back as %v, %v", s, id, again, err)
		}
	})
}

func TestVersionSupersedes(t *testing.T) {
	id := ID{1}
	old := Version{id, 1000, 0}
	for _, c := range []struct {
		what string
		v    Version
		want bool
	}{
		{"the same row seen again", Version{id, 1000, 0}, false},
		{"an older row", Version{id, 999, 0}, false},
		{"an older row in another state", Version{id, 999, 255}, false},
		{"a newer row", Version{id, 1001, 0}, true},
		{"another state at the same time", Version{id, 1000, 255}, true},
	} {
		if got := c.v.Supersedes(old); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func TestMillisKeepsSCOMsTimes(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 733_000_000, time.UTC)
	m := MillisOf(at)
	if got := m.Time(); !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("got %v, want %v in UTC", got, at)
	}
	if got, want := m.String(), "2026-01-02T03:04:05.733Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if MillisOf(time.Time{}) != 0 || !Millis(0).Time().IsZero() || Millis(0).String() != "never" {
		t.Error("the zero time and the zero Millis must be the same thing")
	}
	if got := m.Add(1500 * time.Millisecond).Sub(m); got != 1500*time.Millisecond {
		t.Errorf("Add and Sub differ: %v", got)
	}
}
