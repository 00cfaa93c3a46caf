package journal

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/test/logbuf"
)

// Whoever leads is told each time: the last line of a log in which nodes take turns must not be an old one. It is not told by its words.
func TestAMilestoneIsNeverKeptBack(t *testing.T) {
	for name, form := range map[string]string{"text": "this node leads no more: term=1.a.19 after=1.2s", "json": `"term":"1.a.19"`} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			j := open(t, Config{Format: name}, &out)
			log := j.Logger().Named("cluster")
			for i := range 20 {
				log.Info("this node leads", "term", cluster.Turn(fmt.Sprintf("1.a.%d", i)))
				log.Info("this node leads no more", "term", cluster.Turn(fmt.Sprintf("1.a.%d", i)), "after", "1.2s")
			}
			if n := strings.Count(out.String(), "\n"); n != 40 || !strings.Contains(out.String(), form) {
				t.Errorf("%s: %d lines of 40, with %q:\n%s", name, n, form, out.String())
			}
			out.Reset()
			for i := range 20 {
				log.Info("this node leads", "term", i)
			}
			if n := strings.Count(out.String(), "\n"); n != manyTimes {
				t.Errorf("%s: without the mark %d lines, want %d", name, n, manyTimes)
			}
		})
	}
}

// What changes a state is written each time, at once: the settings may well change for a fifth time within half an hour.
func TestWhatChangesAStateIsNeverKeptBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		j := open(t, Config{}, &out)
		log := j.Logger().(interface{ Milestones() hclog.Logger }).Milestones().Named("daemon")
		for i := range 20 {
			log.Info("delivery goes on with the changed settings", "version", i)
			log.Info("OK: Standing by.")
		}
		if n := strings.Count(out.String(), "\n"); n != 40 || !strings.Contains(out.String(), "scomconnector.daemon: delivery goes on") {
			t.Errorf("%d lines of 40:\n%s", n, out.String())
		}
		out.Reset()
		for _, level := range []string{"ERROR", "FATAL", "OFF"} {
			j.SetLevel(level)
			if log.Warn("no"); level != "ERROR" {
				log.Error("no")
			}
		}
		if out.Len() > 0 {
			t.Errorf("below the level there is %q", out.String())
		}
	})
}

// What was kept back once is told as it was, with its time, and soon: the second or third minute is not over yet when a state is read.
func TestWhatWasKeptBackOnceIsToldAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logbuf.Buffer
		j := open(t, Config{}, &out)
		for i := range manyTimes + 1 {
			j.Logger().Named("etcd").Info("an endpoint can be used again", "endpoint", i)
			time.Sleep(2 * time.Second)
		}
		out.Reset()
		time.Sleep(soonest)
		synctest.Wait()
		if got, want := out.String(), "[INFO]  scomconnector: an endpoint can be used again endpoint=4: said=2000-01-01T00:00:08Z\n"; !strings.HasSuffix(got, want) {
			t.Errorf("after %v it says %q, want %q", soonest, got, want)
		}
	})
}

// Who tries four times within a moment says so once, and how often.
func TestAStutterIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logbuf.Buffer
		j := open(t, Config{}, &out)
		for range 2 {
			for range 4 {
				j.Logger().Error("writing back what this node has", "revision", 7)
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(5 * time.Second)
		}
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("two tries make %d lines, want 2:\n%s", n, out.String())
		}
		time.Sleep(soonest)
		synctest.Wait()
		if !strings.Contains(out.String(), `times=6 last="writing back`) {
			t.Errorf("it does not say how often:\n%s", out.String())
		}
	})
}

// What flaps for an hour makes a handful of lines, the last of which is not old; what is fatal, what differs, and what people
// change, is never kept back; and from DEBUG on nothing is.
func TestWhatIsSaidAgainAndAgainIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		j := open(t, Config{}, &out)
		log := j.Logger().Named("scom")
		lines := func() int { n := strings.Count(out.String(), "\n"); out.Reset(); return n }
		for i := range 3600 {
			log.Warn("console failed", "console", "scom1", "error", fmt.Sprintf("HTTP 50%d after %d ms", i%4, i))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * soonest)
		synctest.Wait()
		told := out.String()
		if n := lines(); n != manyTimes+6 { // after 1, 3, 7, 15, 31 and 61 minutes
			t.Errorf("an hour makes %d lines, want %d:\n%s", n, manyTimes+6, told)
		}
		sum := manyTimes
		for _, m := range regexp.MustCompile(`times=(\d+)`).FindAllStringSubmatch(told, -1) {
			n, _ := strconv.Atoi(m[1])
			sum += n
		}
		if sum != 3600 || !strings.Contains(told, "after 3599 ms") {
			t.Errorf("it does not say how often, and what was last:\n%s", told)
		}
		for i := range 20 {
			log.Warn("console failed", "console", strings.Repeat("x", i))
			log.Error("end", "fatal", true)
			j.Audit().Info("operator write")
		}
		if n := lines(); n != 60 {
			t.Errorf("%d lines, want all 60", n)
		}
		time.Sleep(3 * countFor)
		synctest.Wait()
		lines()
		log.Warn("console failed", "console", "scom1", "error", "HTTP 503 after 1 ms")
		if n := lines(); n != 1 {
			t.Errorf("what comes again after a calm time makes %d lines, want 1", n)
		}
		j.SetLevel("DEBUG")
		for range 20 {
			log.Warn("console failed", "console", "scom1", "error", "HTTP 503 after 1 ms")
		}
		if n := lines(); n != 20 {
			t.Errorf("at DEBUG there are %d lines, want 20", n)
		}
	})
}

// The end of the log tells what was kept back, and what was kept back below the level is not told at all.
func TestTheEndTellsWhatWasKeptBack(t *testing.T) {
	var out bytes.Buffer
	j, err := Open(Config{}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		j.Logger().Info("flaps")
		j.Logger().Error("breaks")
	}
	j.SetLevel("ERROR")
	out.Reset()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "times=6 last=breaks") {
		t.Errorf("the end says %q, want how often it broke", got)
	}
}

// A log of ever new lines costs no more memory than one of a thousand.
func TestFewLinesAreToldApart(t *testing.T) {
	var out bytes.Buffer
	j := open(t, Config{}, &out)
	name := []byte("aaaaa")
	for range 3 * maxCounted {
		j.Logger().Info("new", "name", string(name))
		for i := range name {
			if name[i]++; name[i] <= 'z' {
				break
			}
			name[i] = 'a'
		}
	}
	if n := len(j.repeats.all); n > maxCounted {
		t.Errorf("%d are remembered, want at most %d", n, maxCounted)
	}
	if n := strings.Count(out.String(), "\n"); n != 3*maxCounted {
		t.Errorf("%d lines, want all %d", n, 3*maxCounted)
	}
}
