package scom

import (
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

// told reports whether a fault's Back is closed within d.
func told(f *alert.Fault, d time.Duration) bool {
	select {
	case <-f.Back:
		return true
	case <-time.After(d):
		return false
	}
}

func (w *world) looks() (n int) {
	for _, c := range w.consoles {
		n += c.Counters().Requests["authenticationmode"]
	}
	return n
}

func TestAConsoleThatAnswersAgainIsToldWithinSeconds(t *testing.T) {
	for name, fault := range map[string]scomtest.Faults{
		"down": {Down: true}, "503": {Status: 503}, "HTML": {HTML: true}, "hanging": {Hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
				w.mustPoll()
				for _, c := range w.consoles {
					c.Set(fault)
				}
				var f *alert.Fault
				for f == nil || !f.All {
					_, _, err := w.poll(alert.Query{})
					f, _ = alert.FaultOf(err)
				}
				if f.Back == nil || told(f, 10*time.Minute) {
					t.Fatalf("%v: Back is nil or closed while no console answers", f)
				}
				w.consoles[1].Heal()
				if most := 30 * time.Second; !told(f, most) { // a look at one that hangs takes ten seconds
					t.Fatalf("not told within %v", most)
				}
				before := w.looks()
				time.Sleep(50 * time.Second) // the better console is probed each minute
				if n := w.looks() - before; n > 1 {
					t.Errorf("%d looks afterwards", n)
				}
			})
		})
	}
}

// A console that answers, and refuses what it is asked, is not what is looked out for.
func TestAConsoleThatAnswersLooksIsLeftToTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.mustPoll()
		w.consoles[0].Set(scomtest.Faults{Path: "data/alert", Status: 500})
		f := w.mustFail(alert.FaultTransport)
		if told(f, 10*time.Minute) {
			t.Error("told that it is back while it was never away")
		}
		if n := w.looks(); n > 3 {
			t.Errorf("%d looks at a console that answers them", n)
		}
	})
}

func TestNobodyLooksOutWhileAnAccountIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, func(cfg *Config) { cfg.Consoles[0].Password = "wrong" })
		if f := w.mustFail(alert.FaultAuth); f.Back != nil {
			t.Error("a refused log-on may be tried before its pause is over")
		}
		if f := w.mustFail(alert.FaultAuth); f.Back != nil || f.RetryAfter == 0 {
			t.Errorf("within the pause: %+v, want one that is to be waited out", f)
		}
	})
}

func TestLookingOutEndsWhenAConsoleIsInUseAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.mustPoll()
		w.consoles[0].Set(scomtest.Faults{Down: true})
		f := w.mustFail(alert.FaultTransport)
		w.consoles[0].Heal()
		w.mustPoll() // before the first look
		if told(f, time.Minute) {
			t.Error("told of a console that has been in use for long")
		}
		w.consoles[0].Set(scomtest.Faults{Down: true})
		again := w.mustFail(alert.FaultTransport)
		time.Sleep(time.Minute)
		w.consoles[0].Heal()
		if !told(again, 10*time.Second) {
			t.Error("after another outage nobody looks out")
		}
	})
}
