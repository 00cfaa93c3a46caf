package api

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCodes()
		made := map[string]bool{}
		for range 100 {
			made[c.issue("maintenance", "127.0.0.1:1")] = true
		}
		if len(made) != 100 || len(c.used) != 0 {
			t.Errorf("100 pages have %d different codes, and %d are remembered", len(made), len(c.used))
		}
		code := slices.Collect(maps.Keys(made))[0]
		for name, err := range map[string]error{
			"for another form":      c.use(code, "takeover", "127.0.0.1:1"),
			"from another machine":  c.use(code, "maintenance", "192.0.2.9:1"),
			"a little longer":       c.use(code+"A", "maintenance", "127.0.0.1:1"),
			"a little shorter":      c.use(code[1:], "maintenance", "127.0.0.1:1"),
			"with an end of choice": c.use("_"+code[1:], "maintenance", "127.0.0.1:1"),
			"nothing":               c.use("", "maintenance", "127.0.0.1:1"),
		} {
			if !errors.Is(err, errOldForm) {
				t.Errorf("%s: %v, want %v", name, err, errOldForm)
			}
		}
		if err := c.use(code, "maintenance", "[::1]:2"); err != nil { // a browser may change between the two
			t.Errorf("over IPv6: %v", err)
		}
		if err := c.use(code, "maintenance", "127.0.0.1:1"); !errors.Is(err, errSentForm) {
			t.Errorf("again: %v, want %v", err, errSentForm)
		}
		late := c.issue("maintenance", "192.0.2.9:1")
		time.Sleep(codeLife - 1)
		if err := c.use(late, "maintenance", "192.0.2.9:2"); err != nil {
			t.Errorf("just in time: %v", err)
		}
		late = c.issue("maintenance", "192.0.2.9:1")
		time.Sleep(codeLife)
		if err := c.use(late, "maintenance", "192.0.2.9:1"); !errors.Is(err, errOldForm) {
			t.Errorf("too late: %v, want %v", err, errOldForm)
		}
		for range maxUsedCodes {
			if err := c.use(c.issue("maintenance", "x"), "maintenance", "x"); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.use(c.issue("maintenance", "x"), "maintenance", "x"); !errors.Is(err, errManyForms) || len(c.used) != maxUsedCodes {
			t.Errorf("one more: %v with %d remembered", err, len(c.used))
		}
		time.Sleep(codeLife)
		if err := c.use(c.issue("maintenance", "x"), "maintenance", "x"); err != nil || len(c.used) != 1 {
			t.Errorf("later: %v with %d remembered", err, len(c.used))
		}
	})
}

// A form that is sent from many windows at once is taken once.
func TestACodeIsTakenOnceHoweverManySendIt(t *testing.T) {
	c := newCodes()
	code := c.issue("takeover", "127.0.0.1:1")
	results := make(chan error)
	for range 16 {
		go func() { results <- c.use(code, "takeover", "127.0.0.1:1") }()
	}
	taken := 0
	for range 16 {
		if err := <-results; err == nil {
			taken++
		}
	}
	if taken != 1 {
		t.Errorf("taken %d times", taken)
	}
}
