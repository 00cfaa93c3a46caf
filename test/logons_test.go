package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
)

// passwordFiles writes two files with a password each, and returns their paths.
func passwordFiles(t *testing.T, one, other string) (string, string) {
	t.Helper()
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "one"), filepath.Join(dir, "other")}
	for i, text := range []string{one, other} {
		if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths[0], paths[1]
}

// lockWatch notes when bad log-ons happen, as the directory sees them.
type lockWatch struct {
	*world
	at []time.Time
}

func (l *lockWatch) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		l.world.pass(time.Second)
		for len(l.at) < l.group.BadLogons(scomtest.DefaultAccount.User) {
			l.at = append(l.at, time.Now())
		}
	}
}

// within is the most bad log-ons in any stretch of time of that length.
func (l *lockWatch) within(d time.Duration) (most int) {
	for i := range l.at {
		n := 0
		for _, at := range l.at[i:] {
			if at.Sub(l.at[i]) < d {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// upheaval is one thing that makes a node or a console begin anew, of several in turn.
func (l *lockWatch) upheaval(i int) {
	leader := l.leader()
	if leader == "" {
		return
	}
	switch i % 5 {
	case 0: // a refusal is no reason to be unfit
		if _, err := l.operator(leader).Transfer(context.Background(), v1.TransferOrder{}); err != nil {
			l.t.Errorf("transfer from %s: %v", leader, err)
		}
	case 1:
		l.crash(leader)
		l.pass(10 * time.Second)
		l.start(leader)
	case 2:
		l.consoles[i/5%2].Set(scomtest.Faults{Hang: true})
		l.pass(40 * time.Second)
		l.consoles[i/5%2].Heal()
	case 3:
		l.stop(leader)
		l.pass(5 * time.Second)
		l.start(leader)
	case 4:
		for _, c := range l.consoles {
			c.DropSessions()
		}
	}
}

// A password that is wrong costs one bad log-on, and then minutes of quiet for all nodes together, whatever is restarted, handed
// over or probed meanwhile: no directory may see three bad log-ons within half an hour. Moogsoft is told at once, and a password
// that was corrected is used at once.
func TestTheClusterNeverLocksTheAccount(t *testing.T) { inBothModes(t, neverLocksTheAccount) }

func neverLocksTheAccount(t *testing.T, windows bool) {
	file, _ := passwordFiles(t, scomtest.DefaultAccount.Password, "")
	inWorld(t, site{windows: windows, nodes: 3, consoles: 2, password: "file:" + file, settings: quick}, func(w *world) {
		w.formed()
		l := &lockWatch{world: w}
		w.group.SetPassword(scomtest.DefaultAccount.User, "changed")
		for _, c := range w.consoles {
			c.DropSessions()
		}
		w.raise(5)
		begin := time.Now()
		l.pass(20 * time.Second)
		for i := 0; time.Since(begin) < 4*time.Minute; i++ {
			l.upheaval(i)
			l.pass(20 * time.Second)
		}
		if len(l.at) != 1 {
			t.Errorf("%d bad log-ons in %v, want 1", len(l.at), time.Since(begin))
		}
		if changes := len(w.status("witness").Changes); changes < 4 {
			t.Errorf("only %d changes of leaders: this proves little", changes)
		}
		w.checkRefusalIsTold()
		for i := 0; time.Since(begin) < 45*time.Minute; i++ {
			l.upheaval(i)
			l.pass(7 * time.Minute)
		}
		if n := len(l.at); n != 3 || l.within(30*time.Minute) > 2 {
			t.Errorf("%d bad log-ons in 45 minutes, %d of them within 30 minutes: at %v", n, l.within(30*time.Minute), l.at)
		}
		before := len(l.at)
		if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.awaitDelivered(time.Minute)
		l.pass(2 * time.Minute)
		if len(l.at) != before {
			t.Errorf("%d more bad log-ons with the right password", len(l.at)-before)
		}
		if got, want := fmt.Sprint(w.own("scom-logon")), "[5 0]"; got != want {
			t.Errorf("self-alerts: severities %s, want %s", got, want)
		}
		w.checkWell(0)
	})
}

// checkRefusalIsTold looks for plain words on the leader's page, in Moogsoft and in the log.
func (w *world) checkRefusalIsTold() {
	w.t.Helper()
	var v v1.Verdict
	w.await("the page names the account", time.Minute, func() bool {
		v = w.status(w.leader()).Verdict
		return strings.Contains(v.Text, `CONTOSO\svc-moogsoft`)
	})
	if !strings.Contains(v.Text, "NOT DELIVERING") || !strings.Contains(v.Text, "; next try ") || !strings.Contains(v.Do, "tried at once") {
		w.t.Errorf("the page says %q, do %q", v.Text, v.Do)
	}
	told := false
	for _, e := range w.lams[0].Received() {
		told = told || strings.HasSuffix(e.ExternalID, "::scom-logon") && strings.Contains(string(e.Body), "SCOM refuses the log-on of CONTOSO") && strings.Contains(string(e.Body), "What to do:")
	}
	if !told {
		w.t.Error("Moogsoft was not told of the refused log-on")
	}
	if !strings.Contains(w.log.String(), `refuses the log-on of CONTOSO\svc-moogsoft`) {
		w.t.Error("the log says nothing")
	}
}

// A URL that is not the web console's answers each log-on with 404. Nobody has looked at the password there: it is not refused, the
// account is not left alone, and the page says what is to be corrected.
func TestAWrongURLIsNotARefusedLogOn(t *testing.T) { inBothModes(t, wrongURL) }

func wrongURL(t *testing.T, windows bool) {
	inWorld(t, site{windows: windows, settings: quick}, func(w *world) {
		w.raise(3)
		w.awaitDelivered(time.Minute)
		w.consoles[0].Set(scomtest.Faults{Status: 404})
		w.consoles[0].DropSessions()
		w.stop("primary") // so that it must log on anew
		w.start("primary")
		w.pass(10 * time.Minute)
		v := w.status("primary").Verdict
		if !strings.Contains(v.Text, "scom1 is no web console at this URL (404 Not Found)") || !strings.Contains(v.Do, "check the Url of the SCOM server") {
			t.Errorf("the page says %q, do %q", v.Text, v.Do)
		}
		if got := w.own("scom-logon"); len(got) != 0 {
			t.Errorf("Moogsoft was told of refused log-ons: severities %v", got)
		}
		if w.consoles[0].Counters().Requests["authenticate"] < 10 {
			t.Errorf("%d log-ons in 10 minutes: the account is left alone", w.consoles[0].Counters().Requests["authenticate"])
		}
		w.consoles[0].Heal()
		w.raise(1)
		w.awaitDelivered(30 * time.Second)
		if n := strings.Count(w.log.String(), "NOT DELIVERING"); n != 1 {
			t.Errorf("%d lines in the log, want one:\n%s", n, w.log)
		}
	})
}

// A console that fails in each log-on may have looked at the password, so the account is left alone; but nobody says that it was
// refused.
func TestNoVerdictOnTheLogOn(t *testing.T) {
	inWorld(t, site{settings: quick}, func(w *world) {
		w.consoles[0].Set(scomtest.Faults{Status: 500, Path: "authenticate"})
		w.pass(3 * time.Minute)
		w.consoles[0].Heal()
		v := w.status("primary").Verdict
		if !strings.Contains(v.Text, `scom1 gave no verdict on the last two log-ons of CONTOSO\svc-moogsoft; next try `) || !strings.Contains(v.Do, "look at the web console") {
			t.Errorf("the page says %q, do %q", v.Text, v.Do)
		}
		if log := w.log.String(); strings.Contains(log, "refuses the log-on") {
			t.Errorf("the log says\n%s", log)
		}
		w.raise(1)
		w.awaitDelivered(5 * time.Minute)
	})
}

// Settings that name another secret end the pause at once; the old ones, put back, are still left alone.
func TestChangedSettingsEndThePause(t *testing.T) {
	wrong, right := passwordFiles(t, "wrong", scomtest.DefaultAccount.Password)
	inWorld(t, site{nodes: 2, password: "file:" + wrong, settings: quick}, func(w *world) {
		bad := func() int { return w.group.BadLogons(scomtest.DefaultAccount.User) }
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(5)
		w.pass(time.Minute)
		w.change("primary", wrong, right)
		w.awaitDelivered(20 * time.Second)
		w.change("primary", right, wrong)
		w.pass(time.Minute)
		if bad() != 1 {
			t.Errorf("%d bad log-ons, want the first alone", bad())
		}
		w.change("primary", `"HeartbeatSeconds": 0`, `"HeartbeatSeconds": 60`)
		w.pass(time.Minute)
		if bad() != 1 {
			t.Errorf("%d bad log-ons after a change of something else, want the first alone", bad())
		}
		w.change("primary", wrong, right)
		w.raise(5)
		w.awaitDelivered(20 * time.Second)
	})
}

// A node that dies in each log-on, again and again, costs two and then minutes of quiet as well.
func TestDyingInTheLogOnDoesNotLockTheAccount(t *testing.T) {
	file, _ := passwordFiles(t, "wrong", "")
	inWorld(t, site{password: "file:" + file, settings: quick}, func(w *world) {
		w.consoles[0].Set(scomtest.Faults{Latency: 2 * time.Second, Path: "authenticate"}) // and with authenticationMode
		tried := func() int { return w.consoles[0].Counters().Requests["authenticate"] }
		var tries []int
		for range 5 {
			before := tried()
			deadline := time.Now().Add(20 * time.Second)
			for tried() == before && time.Now().Before(deadline) {
				w.pass(50 * time.Millisecond)
			}
			w.crash("primary") // before the answer
			tries = append(tries, tried())
			w.start("primary")
		}
		if want := []int{1, 2, 2, 2, 2}; !slices.Equal(tries, want) {
			t.Errorf("log-ons that the console has seen after each death: %v, want %v", tries, want)
		}
	})
}
