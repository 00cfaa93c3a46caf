package pipenet

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestCutLinkHangsUntilHealedAndClosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		ln, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := ln.Accept()
			if err == nil {
				io.Copy(c, c)
				c.Close()
			}
		}()
		c, err := n.Dialer("a")(t.Context(), "tcp", "b:1")
		if err != nil {
			t.Fatal(err)
		}
		n.Cut("a", "b")
		c.SetDeadline(time.Now().Add(time.Second))
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write over a cut link: got %v, want a deadline error", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Dialer("a")(ctx, "tcp", "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial over a cut link: got %v, want a deadline error", err)
		}
		c.SetDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { n.Heal("a", "b") })
		start := time.Now()
		if _, err := c.Write([]byte("y")); err != nil {
			t.Fatalf("write after healing: %v", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("the write went through after %v, want %v", got, time.Minute)
		}
		buf := make([]byte, 1)
		if _, err := io.ReadFull(c, buf); err != nil || buf[0] != 'y' {
			t.Fatalf("echo: got %q, %v", buf, err)
		}
		n.Crash("a")
		ln.Close()
	})
}

func TestFrozenHostStaysSilentWhateverIsHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		ln, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		n.Freeze("a")
		n.Cut("a", "b")
		n.Heal("a", "b")
		for _, from := range []string{"a", "c"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := n.Dialer(from)(ctx, "tcp", "b:1"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dial from %s: got %v, want a deadline error", from, err)
			}
			n.Freeze("b")
		}
		n.Thaw("a")
		n.Thaw("b")
		go ln.Accept() //nolint:errcheck // the dial is what is tested
		if _, err := n.Dialer("a")(t.Context(), "tcp", "b:1"); err != nil {
			t.Errorf("dial after the thaw: %v", err)
		}
	})
}
