package scom

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

func windowsAuth(c *Config) {
	for i := range c.Consoles {
		c.Consoles[i].Auth = AuthWindows
	}
}

// frontends are the ways in which IIS can make logging on a connection hard.
var frontends = map[string]scomtest.NTLMOptions{
	"as IIS comes":                  {},
	"NTLM alone":                    {Offers: []string{"NTLM"}},
	"Negotiate alone":               {Offers: []string{"Negotiate"}},
	"with others":                   {Offers: []string{`Basic realm="scom"`, "Negotiate", "NTLM"}},
	"no keep-alive":                 {NoKeepAlive: true},
	"each request for itself":       {EachRequest: true},
	"connections dropped":           {DropEvery: 2},
	"dropped, and no keep-alive":    {DropEvery: 3, NoKeepAlive: true},
	"each for itself, and no alive": {EachRequest: true, NoKeepAlive: true},
}

func TestWindowsAuthentication(t *testing.T) {
	for name, o := range frontends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{LockAfter: 3}, []scomtest.ConsoleOptions{{NTLM: &o}}, windowsAuth)
				w.group.Populate(20, time.Hour)
				for range 4 {
					var wg sync.WaitGroup
					for range 16 {
						wg.Go(func() {
							rows, _, err := w.poll(alert.Query{})
							if err != nil || len(rows) != 20 {
								t.Errorf("got %d rows, %v", len(rows), err)
							}
						})
					}
					wg.Wait()
					w.consoles[0].DropSessions()
					time.Sleep(3 * time.Minute) // idle connections end
				}
				n := w.consoles[0].Counters()
				if n.Logons != 4 || n.BadLogons != 0 {
					t.Errorf("%d sessions and %d bad log-ons, want 4 and none", n.Logons, n.BadLogons)
				}
				if got := w.client.Status()[0].Warning; strings.Contains(got, "authentication") {
					t.Errorf("warning: %s", got)
				}
				t.Logf("%d connections logged on for %d polls", n.Handshakes, n.Requests["data/alert"])
			})
		})
	}
}

// A session that has ended is answered 401 as well, and IIS puts its own schemes into that.
func TestEndedSessionIsToldFromARefusedConnection(t *testing.T) {
	for _, o := range []scomtest.NTLMOptions{{}, {EachRequest: true}, {NoKeepAlive: true}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{NTLM: &o, ExpiredStatus: 401}}, windowsAuth)
			for range 3 {
				w.mustPoll()
				w.consoles[0].DropSessions()
			}
			if n := w.consoles[0].Counters(); n.Logons != 3 || n.BadLogons != 0 {
				t.Errorf("%+v: %d sessions and %d bad log-ons, want 3 and none", o, n.Logons, n.BadLogons)
			}
		})
	}
}

func TestWrongPasswordOnTheConnectionCostsOneBadLogOn(t *testing.T) {
	for name, o := range frontends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{LockAfter: 5}, []scomtest.ConsoleOptions{{NTLM: &o}, {NTLM: &o}}, windowsAuth)
				w.group.SetPassword(`CONTOSO\svc-moogsoft`, "changed")
				bad := func() int { return w.group.BadLogons(`CONTOSO\svc-moogsoft`) }
				start := time.Now()
				var wg sync.WaitGroup
				for range 16 {
					wg.Go(func() { w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil }) })
				}
				wg.Wait()
				for time.Since(start) < 5*time.Minute {
					f := w.mustFail(alert.FaultAuth)
					if left := 5*time.Minute - time.Since(start); !f.All || f.RetryAfter != left {
						t.Fatalf("got %+v, want one for all consoles to retry after %v", f, left)
					}
					if !strings.Contains(f.Error(), `log-on of CONTOSO\svc-moogsoft was refused (HTTP 401 Unauthorized at the end of the handshake)`) {
						t.Fatalf("got %v", f)
					}
					for i := range w.consoles {
						w.client.Ping(t.Context(), i)
					}
					time.Sleep(7 * time.Second)
				}
				if got := bad(); got != 1 {
					t.Fatalf("%d bad log-ons within 5 minutes, want 1", got)
				}
				w.group.SetPassword(`CONTOSO\svc-moogsoft`, "simulated")
				w.mustPoll()
				if strings.Contains(w.log.String(), "simulated") {
					t.Errorf("the log shows the password:\n%s", w.log)
				}
			})
		})
	}
}

// Some servers take no other handshake on a connection where one has failed: the next log-on there was refused whatever its password, and
// counted as a bad one.
func TestConnectionOfARefusedLogOnIsNotUsedAgain(t *testing.T) {
	for name, o := range frontends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{NTLM: &o}}, func(c *Config) {
					windowsAuth(c)
					c.AuthPauses = []time.Duration{30 * time.Second} // no idle connection has ended by then
				})
				w.group.SetPassword(`CONTOSO\svc-moogsoft`, "changed")
				w.mustFail(alert.FaultAuth)
				w.group.SetPassword(`CONTOSO\svc-moogsoft`, "simulated")
				time.Sleep(30 * time.Second)
				w.mustPoll()
			})
		})
	}
}

// The password is changed while connections are logged on: those go on, and no new one costs more than the one bad log-on.
func TestPasswordChangedWhileConnectionsLive(t *testing.T) {
	for name, o := range frontends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{NTLM: &o}}, windowsAuth)
				w.mustPoll()
				w.group.SetPassword(`CONTOSO\svc-moogsoft`, "changed")
				var wg sync.WaitGroup
				for range 16 {
					wg.Go(func() {
						for range 5 {
							w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil })
						}
					})
				}
				wg.Wait()
				if got := w.group.BadLogons(`CONTOSO\svc-moogsoft`); got != 1 {
					t.Errorf("%d bad log-ons, want 1", got)
				}
			})
		})
	}
}

func TestNetworkAuthenticationIsNamedWhereWindowsIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, windowsAuth) // in Network mode
		f := w.mustFail(alert.FaultAuth)
		if !strings.Contains(f.Error(), "the console is set to Network authentication") {
			t.Errorf("got %v", f)
		}
		if got := w.client.Status()[0].Warning; !strings.Contains(got, "Network authentication, and we log on with Auth windows") {
			t.Errorf("warning: %q", got)
		}
	})
}

func TestConsoleThatOffersNoSchemeOfOursIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{NTLM: &scomtest.NTLMOptions{Offers: []string{"Digest", `Basic realm="x"`}}}}, windowsAuth)
		if f := w.mustFail(alert.FaultAuth); !strings.Contains(f.Error(), "offers neither NTLM nor Negotiate") || w.group.BadLogons(`CONTOSO\svc-moogsoft`) != 0 {
			t.Errorf("got %v", f)
		}
	})
}

// The bodies of answers are streamed over lanes as well: one that is cut gives its lane back.
func TestLanesComeBackFromEveryFault(t *testing.T) {
	for name, f := range map[string]scomtest.Faults{
		"cut": {CutAfter: 300, Path: "data/alert"}, "hanging": {Hang: true}, "silent": {HangBody: true}, "down": {Down: true},
		"503": {Status: 503}, "broken": {BadJSON: true}, "page": {HTML: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{NTLM: &scomtest.NTLMOptions{}}}, windowsAuth)
				w.group.Populate(20, time.Hour)
				w.mustPoll()
				w.consoles[0].Set(f)
				for range 3 * maxLanes {
					if _, _, err := w.poll(alert.Query{}); err == nil {
						t.Fatal("no error")
					}
				}
				w.consoles[0].Heal()
				var wg sync.WaitGroup
				for range 2 * maxLanes {
					wg.Go(func() {
						if _, _, err := w.poll(alert.Query{}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if got := w.group.BadLogons(`CONTOSO\svc-moogsoft`); got != 0 {
					t.Errorf("%d bad log-ons", got)
				}
			})
		})
	}
}
