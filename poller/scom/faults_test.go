package scom

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

func TestFaultsOfASingleConsole(t *testing.T) {
	for _, c := range []struct {
		what   string
		faults scomtest.Faults
		class  alert.FaultClass
		says   string
		took   time.Duration
	}{
		{"down", scomtest.Faults{Down: true}, alert.FaultTransport, "connection", 0},
		{"hanging from the start", scomtest.Faults{Hang: true}, alert.FaultTimeout, "no answer within 10 s", 10 * time.Second},
		{"hanging at the log-on", scomtest.Faults{Hang: true, Path: "authenticate"}, alert.FaultTimeout, "no answer within 10 s", 10 * time.Second},
		{"hanging at the rows", scomtest.Faults{Hang: true, Path: "data/alert"}, alert.FaultTimeout, "no answer within 10 s", 10 * time.Second},
		{"hanging after the head", scomtest.Faults{HangBody: true, Path: "data/alert"}, alert.FaultTimeout, "the answer stopped: no byte within 10 s", 10 * time.Second},
		{"503", scomtest.Faults{Status: 503}, alert.FaultTransport, "HTTP 503 Service Unavailable", 0},
		{"404", scomtest.Faults{Status: 404}, alert.FaultTransport, "is the path in the console's URL right", 0},
		{"HTML", scomtest.Faults{HTML: true}, alert.FaultTransport, "HTML came instead of JSON", 0},
		{"HTML instead of rows", scomtest.Faults{HTML: true, Path: "data/alert"}, alert.FaultTransport, "HTML came instead of JSON", 0},
		{"redirect", scomtest.Faults{RedirectToLogin: true}, alert.FaultTransport, "HTTP 302: the console sends us to /operationsmanager/login.aspx", 0},
		{"broken JSON", scomtest.Faults{BadJSON: true, Path: "data/alert"}, alert.FaultTransport, "broken JSON", 0},
		{"cut", scomtest.Faults{CutAfter: 20000, Path: "data/alert"}, alert.FaultTransport, "the answer was cut after 20000 bytes", 0},
		{"cut as if whole", scomtest.Faults{CutAfter: 20000, CutCleanly: true, Path: "data/alert"}, alert.FaultTransport, "the answer was cut after 20000 bytes", 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{}, single, nil)
				w.group.Populate(100, time.Hour)
				w.consoles[0].Set(c.faults)
				for i := range 4 {
					start := time.Now()
					f := w.mustFail(c.class)
					if !strings.Contains(f.Error(), c.says) || !f.All || f.Console != "c1" || f.RetryAfter != 0 {
						t.Errorf("got %+v: %v, want one for all consoles that says %q", f, f, c.says)
					}
					want := c.took
					if strings.HasPrefix(c.faults.Path, "data/") && want > 0 && i == 0 {
						want += probeOptional // the log-on's question about details hangs, too
					}
					if got := time.Since(start); got != want {
						t.Errorf("it took %v, want %v", got, want)
					}
				}
				if s := w.client.Status()[0]; s.State != StateFailing || !strings.Contains(s.LastError, c.says) {
					t.Errorf("status is %+v", s)
				}
				w.consoles[0].Heal()
				if rows, _ := w.mustPoll(); len(rows) != 100 {
					t.Errorf("after healing: got %d rows", len(rows))
				}
				if s := w.client.Status()[0]; s.State != StateOK || !s.LastOK.Equal(time.Now()) {
					t.Errorf("status after healing is %+v", s)
				}
				if got := w.group.BadLogons(`CONTOSO\svc-moogsoft`); got != 0 {
					t.Errorf("%d bad log-ons", got)
				}
			})
		})
	}
}

func TestUnreachableConsoleTimesOutAfterConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.net.Cut("connector", "c1")
		start := time.Now()
		f := w.mustFail(alert.FaultTimeout)
		if got := time.Since(start); got != 5*time.Second || !strings.Contains(f.Error(), "no connection within 5 s") {
			t.Errorf("got %v after %v", f, got)
		}
		w.net.Heal("connector", "c1")
		w.mustPoll()
	})
}

func TestSlowAnswersGetTheLongerDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.consoles[0].Set(scomtest.Faults{ReadThenWait: 50 * time.Second, Path: "data/alert"})
		w.mustFail(alert.FaultTimeout)
		read := alert.MillisOf(time.Now())
		_, answer, err := w.poll(alert.Query{Slow: true})
		if err != nil {
			t.Fatal(err)
		}
		if answer.ServerDate > read || answer.ServerDate < read.Add(-time.Minute) || answer.Duration != 50*time.Second {
			t.Errorf("rows were read at %v, the answer is dated %v and took %v", read, answer.ServerDate, answer.Duration)
		}
	})
}

// What the consumer of the rows takes for itself must not count as the console standing still.
func TestSlowConsumerIsNotTheConsolesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.group.Populate(300, time.Hour)
		n := 0
		answer, err := w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error {
			if n++; n%100 == 0 {
				time.Sleep(time.Minute)
			}
			return nil
		})
		if err != nil || answer.Duration < 3*time.Minute {
			t.Errorf("got %+v, %v", answer, err)
		}
	})
}

func TestTricklingAnswerIsReadToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.group.Populate(100, time.Hour)
		w.consoles[0].Set(scomtest.Faults{BytesPerSecond: 500, Path: "data/alert"})
		if rows, answer := w.mustPoll(); len(rows) != 100 || answer.Duration < time.Minute {
			t.Errorf("got %d rows, %+v", len(rows), answer)
		}
	})
}

func TestCancelledPollIsNobodysFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		for _, path := range []string{"authenticate", "data/alert"} {
			w.consoles[0].Set(scomtest.Faults{Hang: true, Path: path})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := w.client.Poll(ctx, alert.Query{}, func(alert.Row) error { return nil })
			cancel()
			if _, fault := alert.FaultOf(err); fault || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want ctx's own error", path, err)
			}
			time.Sleep(time.Minute) // a log-on under way ends by its own deadline
			w.consoles[0].Heal()
		}
		if s := w.client.Status()[0]; s.State != StateUnknown {
			t.Errorf("status is %+v", s)
		}
		w.mustPoll()
	})
}

func TestCallbacksErrorComesBackAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.group.Populate(100, time.Hour)
		stop := errors.New("stop")
		if _, err := w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
		w.mustPoll()
	})
}

func TestRefusedCriteriaHaveTheirOwnClass(t *testing.T) {
	for _, status := range []int{400, 500} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{RefusalStatus: status}, single, nil)
			con := w.client.consoles[0]
			s, err := con.current(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = con.ask(t.Context(), s, "LastModified > yesterday", false)
			f, ok := errors.AsType[*failure](err)
			if !ok || f.class != alert.FaultCriteria || !strings.Contains(f.Error(), "The criteria could not be parsed") {
				t.Errorf("status %d: got %v", status, err)
			}
		})
	}
}

// A console in front of which a proxy dates, compresses or misspells is not what scomtest offers;
// this one answers by a function.
func serveFunc(t *testing.T, w *world, host string, f http.HandlerFunc) {
	t.Helper()
	l, err := w.net.Listen(host + ":80")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
}

func TestPollsAndCloseMayMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.consoles[0].Set(scomtest.Faults{Latency: time.Second})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					_, err := w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil })
					if _, fault := alert.FaultOf(err); err != nil && !fault && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(3500 * time.Millisecond)
		w.client.Close()
		wg.Wait()
	})
}
