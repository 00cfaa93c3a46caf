package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"scomconnector/poller/scom"
)

func TestJudgements(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, c := range []struct {
		what string
		got  finding
		want Result
		says string
	}{
		{"no such name", judgeName("x", &net.DNSError{IsNotFound: true}), Fail, "no such name: x"},
		{"DNS is away", judgeName("x", &net.DNSError{IsTimeout: true}), Fail, "the DNS server does not answer for x"},
		{"refused", judgeDial("x:1", refused), Fail, "x:1 refuses the connection"},
		{"refused, on Windows", judgeDial("x:1", os.NewSyscallError("connectex", syscall.Errno(10061))), Fail, "x:1 refuses the connection"},
		{"ended at once, on Windows", judgeHandshake(os.NewSyscallError("wsarecv", syscall.Errno(10054))), Fail, "closes the connection at once"},
		{"silence", judgeDial("x:1", context.DeadlineExceeded), Fail, "x:1 does not answer"},
		{"no route", judgeDial("x:1", errors.New("no route to host")), Fail, "no route to host"},
		{"no role", judgeRights(""), NotTried, "does not say"},
		{"reader", judgeRights("Read-Only Operator"), Warning, "not close"},
		{"reading administrator", judgeRights("Read-only Administrator"), Warning, "not close"},
		{"administrator", judgeRights("Administrator"), OK, "--probe-write"},
		{"in step", judgeClock(1500*time.Millisecond, time.Second, true), OK, "to within 2s"},
		{"seconds off", judgeClock(-40*time.Second, time.Second, true), Warning, "40s behind"},
		{"minutes off", judgeClock(10*time.Minute, time.Second, true), Warning, "10m0s ahead of"},
		{"no date", judgeClock(0, 0, false), Warning, "no Date"},
		{"on time", judgeLateness(2*time.Second, time.Minute, 30*time.Second), OK, "within 2s"},
		{"at the limit", judgeLateness(46*time.Second, time.Minute, 30*time.Second), Warning, "up to 46s"},
		{"redirect", judgeGet(302, false, "moog/login", false), Warning, "redirected to moog/login"},
		{"expected log-on", judgeGet(401, true, "", true), OK, "as the settings expect"},
		{"unexpected log-on", judgeGet(401, false, "", false), Warning, "the settings name none"},
		{"page", judgeGet(200, true, "", false), Warning, "web page"},
		{"nothing there", judgeGet(404, true, "", false), Warning, "404"},
		{"nginx's own 405", judgeGet(405, true, "", false), OK, "HTTP 405"},
		{"bad gateway", judgeGet(502, true, "", false), Fail, "502"},
		{"room", judgeSpace(5 << 30), OK, "5.0 GiB free"},
		{"little room", judgeSpace(500 << 20), Warning, "500 MiB free"},
		{"no room", judgeSpace(3 << 10), Fail, "3 KiB free"},
		{"fast", judgeSync(300*time.Microsecond, 2*time.Millisecond), OK, "300µs, at worst 2ms"},
		{"slow", judgeSync(80*time.Millisecond, time.Second), Warning, "80ms"},
		{"dead", judgeSync(700*time.Millisecond, 2*time.Second), Fail, "700ms"},
		{"full", judgeNoWrite(fmt.Errorf("write: %w", syscall.ENOSPC)), Fail, "the disk is full"},
		{"not ours", judgeNoWrite(fmt.Errorf("open: %w", os.ErrPermission)), Fail, "permission denied"},
		{"closed at once", judgeHandshake(fmt.Errorf("tls: %w", io.EOF)), Fail, "closes the connection at once"},
		{"rows", judgePoll(lastHour{rows: 4, alerts: 3, open: 1, closed: 2, took: 5 * time.Millisecond}), OK, "3 alerts changed in the last hour: 1 open, 2 closed; 4 rows in 5ms"},
		{"an old one", judgeVersion(scom.Features{LogOn: time.Now(), CSRF: scom.No, AlertDetails: scom.No, DateForm: "iso", Times: "UTC"}, ""), OK,
			"1801, 1807 or 2019 before UR1, dates in the form iso, times UTC; without the CSRF token, alertDetails (owner, ticket and custom fields cannot be written)"},
	} {
		if c.got.result != c.want || !strings.Contains(c.got.seen, c.says) {
			t.Errorf("%s: got %q %q, want %q that says %q", c.what, c.got.result, c.got.seen, c.want, c.says)
		}
		if (c.got.result == Fail || c.got.result == Warning) && c.got.do == "" {
			t.Errorf("%s: nothing says what to do", c.what)
		}
	}
}

func TestTheConclusionIsTheWorstThatNothingMakesUpFor(t *testing.T) {
	fail, warn, none, good := Hop{Result: Fail}, Hop{Result: Warning}, Hop{Result: NotTried}, Hop{Result: OK}
	for i, c := range []struct {
		hops  []Hop
		spare []bool
		fine  bool
		text  string
	}{
		{[]Hop{good}, []bool{false}, true, "Nothing that was tried keeps the job from running."},
		{[]Hop{good, none, none}, []bool{false, false, false}, true, "Nothing that was tried keeps the job from running. Not tried: 2."},
		{[]Hop{good, warn}, []bool{false, false}, true, "Nothing that was tried keeps the job from running; see the 1 warning above."},
		{[]Hop{good, fail}, []bool{false, true}, true, "The job can run, without what fails: see the 1 failure above."},
		{[]Hop{fail, fail}, []bool{false, true}, false, "The job cannot run as it is set up: see the 2 failures above."},
	} {
		if fine, text := conclude(c.hops, c.spare); fine != c.fine || text != c.text {
			t.Errorf("%d: got %v %q, want %v %q", i, fine, text, c.fine, c.text)
		}
	}
}

// The JSON form is a promise: what it has today it has for ever.
func TestTheJSONFormIsStable(t *testing.T) {
	r := Report{Node: "n", Version: "v", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), OK: true, Text: "t",
		Hops: []Hop{{Part: "scom", Name: "scom1", Step: "tls", Result: NotTried, Seen: "s", Do: "d", Milliseconds: 1.5}}}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"node":"n","version":"v","time":"2026-01-02T03:04:05Z","ok":true,"text":"t","hops":[{"part":"scom","name":"scom1","step":"tls","result":"not tried","seen":"s","do":"d","ms":1.5}]}`
	var a, b any
	if err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal([]byte(want), &b)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStepsNotTriedForOneReasonShareALine(t *testing.T) {
	r := Report{Text: "Done.", Hops: []Hop{
		{Part: "scom", Name: "a", Step: "tcp", Result: Fail, Seen: "refused", Do: "look"},
		{Part: "scom", Name: "a", Step: "tls", Result: NotTried, Seen: "no way"},
		{Part: "scom", Name: "a", Step: "log-on", Result: NotTried, Seen: "no way"},
		{Part: "scom", Name: "b", Step: "log-on", Result: NotTried, Seen: "no way"},
	}}
	var out bytes.Buffer
	r.Print(&out)
	want := fmt.Sprintf("%-10s scom a tcp: refused; do: look\n%-10s scom a tls, log-on: no way\n%-10s scom b log-on: no way\n\nDone.\n", "fail", "not tried", "not tried")
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
