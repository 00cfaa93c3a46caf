package api

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func show(t testing.TB, s v1.Status) []byte {
	t.Helper()
	w := ask((&node{status: s}).handler(""), "GET", "/")
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func TestPageGoldens(t *testing.T) {
	for name, s := range map[string]v1.Status{
		"healthy": healthy(), "broken": broken(), "standby": standby(), "etcd": arbitrated(), "hostile": hostile(), "lonely": lonely(), "empty": {Time: now, Node: "primary", Verdict: v1.Verdict{Level: v1.Stopped, Text: "Starting."}},
	} {
		got := show(t, s)
		file := filepath.Join("testdata", "page-"+name+".html")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s; look at the page, then run with -update", name, file)
		}
	}
}

// How far behind a cluster is that has never read SCOM, nobody knows.
func TestThePageClaimsNoLagBeforeSCOMWasRead(t *testing.T) {
	s := healthy()
	s.Pipelines = []v1.Pipeline{{Name: "alerts/default", Phase: "waiting for SCOM"}}
	page := string(show(t, s))
	if !strings.Contains(page, `<p class="big">unknown</p><p class="small">SCOM not read to its end yet</p>`) || !strings.Contains(page, "unknown: SCOM not read to its end yet") || strings.Contains(page, ">0.0 s<") {
		t.Errorf("the page claims to know how far behind it is:\n%s", page)
	}
	s.Pipelines = nil // not even begun
	if page := string(show(t, s)); !strings.Contains(page, "None yet: SCOM has not been read to its end once.") || !strings.Contains(page, `<p class="big">unknown</p><p class="small">SCOM not read to its end yet</p>`) {
		t.Errorf("the page claims to know how far behind it is:\n%s", page)
	}
}

func TestPageShowsWhatTheOriginalShowedAndMore(t *testing.T) {
	page := string(show(t, broken()))
	for _, want := range []string{
		"Total Alerts Processed", "1,284,377", "MOOG Server Status", "SCOM Server Status", // the original's three
		`<strong class="level">Red <small>stopped</small></strong> <span>NOT DELIVERING since`, "scom_lam_microsoftscom1. Do: start the LAM", "<title>Red, stopped: primary",
		"46,800; last", "30/min", "→ Accepted", "0/min</span>", "412 waiting", "write past its deadline of 10 s", "Tls.CertFile /etc/scomconnector/api.crt cannot be used", "ClusterTls.CertFile /etc/scomconnector/cluster.crt: ends on",
		`<a href="/settings?version=2">`, "file of primary", "for 26 h",
		"the Primary took over again after maintenance", "11 min ago", "2026-01-02 03:03:33 UTC (04:03:33 CET)",
		"custom_info is no object", "HTTP 502 Bad Gateway", "connect: no route to host", "anybody on the way can read the password",
		"Out of contact:</b> secondary does not answer", "1,204", "in maintenance, sticky", "<b>fail-back</b>: the Primary took over", "3 close requests that it had accepted alone",
		"archive-2-secondary", `href="/maintenance?node=secondary&amp;action=leave"`, "Version 3 is in use", "other than this node's file", "secondary", "The newest 2 of 25;", `content="5"`,
		`href="/act/transfer"`, `href="/act/remove-alert?pipeline=alerts%2fdefault&amp;key=5d0c6c2e-0000-4000-8000-000000000001"`, `href="/act/retry-request?id=00c0ffee00c0fff0"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if i, j := strings.Index(page, "NOT DELIVERING"), strings.Index(page, "<h2"); i < 0 || i > j {
		t.Error("the verdict is not the first thing on the page")
	}
}

func TestServersInAWord(t *testing.T) {
	leads, stands := &v1.Status{Node: "a", Leader: "a"}, &v1.Status{Node: "b", Leader: "a"}
	used, spare, failing, cut := endpoint{"one", "ok", true}, endpoint{"two", "unknown", false}, endpoint{"three", "failing", false}, endpoint{"four", "failing", true}
	for _, c := range []struct {
		s    *v1.Status
		list []endpoint
		want summary
	}{
		{leads, []endpoint{used, spare}, summary{"ok", "Connected", "one"}},
		{leads, []endpoint{used, failing}, summary{"warn", "Connected", "one; failing: three"}},
		{leads, []endpoint{failing, used}, summary{"warn", "Connected", "one; failing: three"}},
		{leads, []endpoint{used, cut}, summary{"failing", "Failing", "four"}}, // two destinations, one away
		{leads, []endpoint{cut, failing}, summary{"failing", "Failing", "four, three"}},
		{leads, []endpoint{spare}, summary{"unknown", "Not known yet", ""}},
		{stands, []endpoint{spare}, summary{"unknown", "Used by a", "this node stands by"}},
		{leads, nil, summary{"unknown", "None set up", ""}},
	} {
		if got := summarise(c.s, c.list); got != c.want {
			t.Errorf("%v: got %v, want %v", c.list, got, c.want)
		}
	}
}

// What is to be typed stands on the page as such, and a stranger's text between backticks is still text.
func TestPageSetsCommandsApart(t *testing.T) {
	s := healthy()
	s.Warnings = []string{"the file differs: `scomconnector config show > FILE` takes it over", "a lone ` and `<script>`"}
	s.Verdict.Do = "look at `scomconnector parked list`"
	page := string(show(t, s))
	for _, want := range []string{
		"<li>the file differs: <code>scomconnector config show &gt; FILE</code> takes it over</li>", "<li>a lone <code> and </code>&lt;script&gt;`</li>", "Do: look at <code>scomconnector parked list</code></span>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// A rate of some seconds is none, and the counts say since when they are.
func TestPageShowsRatesOnceThereAreSome(t *testing.T) {
	s := healthy()
	page := string(show(t, s))
	for _, want := range []string{"<span>30/min</span>", "; 12/min now", `Counts are since <time datetime="2026-01-01T01:04:05Z">`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	s.Pipelines[0].Flow.RatesKnown = false
	if page := string(show(t, s)); strings.Contains(page, "/min") || !strings.Contains(page, "46,800") {
		t.Error("the page shows rates that are not known, or not the counts")
	}
}

// What the page tells to type can be typed: config diff wants the file.
func TestPageSaysHowTheFileDiffers(t *testing.T) {
	const how = "<code>scomconnector config diff SCOMConnectorConfig.json</code> in its folder shows how"
	if page := string(show(t, broken())); !strings.Contains(page, how) {
		t.Errorf("the page does not say %q", how)
	}
	if page := string(show(t, healthy())); strings.Contains(page, "config diff") {
		t.Error("the page of a node whose file is in use tells to compare it")
	}
}

func TestPageOffersTheTakeoverWhereItIsPossible(t *testing.T) {
	page := string(show(t, lonely()))
	for _, want := range []string{"2026-01-02 03:04:13 UTC (04:04:13 CET)</time>", ">in 8 s</time>", "2026-01-02 03:03:25 UTC (04:03:25 CET)</time>", "3 entries that this node does not have", `<a href="/maintenance">Take over on this node`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if page := string(show(t, healthy())); strings.Contains(page, "Take over on this node") || strings.Contains(page, "put aside") || strings.Contains(page, "did alone") {
		t.Error("a healthy node's page speaks of takeovers, notes or archives that are not there")
	}
}

func TestPageShowsWhoAskedWhatWhenAndWhereItStands(t *testing.T) {
	page := string(show(t, broken()))
	for _, want := range []string{
		"<b>Nothing moves:</b> SCOM does not answer", "moogsoft from 192.0.2.20", "8 min ago</time> by secondary", "waiting for SCOM since 02:56 UTC", "change, set Owner, TicketId",
		"The oldest 2 of 3", "refused: the monitor is unhealthy", "<span>unknown to SCOM: it never had this alert</span>", "<span>was so already</span>", "resolution state 249", "by the night shift", "AlertMonitorUnhealthyException",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if page := string(show(t, healthy())); strings.Contains(page, "Close requests from") || strings.Contains(page, "that SCOM refuses") {
		t.Error("a page without close requests has sections for them")
	}
}

func TestPageLinksToTheLeader(t *testing.T) {
	page := string(show(t, standby()))
	for _, want := range []string{`<a href="http://scomc1.contoso.com:8085">primary</a>`, "Used by primary", "this node stands by"} {
		if !strings.Contains(page, want) {
			t.Errorf("a standby's page does not say %q", want)
		}
	}
}

func TestPageCanBeHeld(t *testing.T) {
	n := &node{status: healthy()}
	if page := ask(n.handler(""), "GET", "/?refresh=off").Body.String(); strings.Contains(page, "http-equiv") || !strings.Contains(page, `<a href="/">`) {
		t.Error("a held page must not renew itself, and must offer to go on")
	}
}

var tags = regexp.MustCompile(`<[a-zA-Z/!][^>]*>`)

func TestStrangersTextIsHarmless(t *testing.T) {
	page := string(show(t, hostile()))
	allowed := regexp.MustCompile(`^</?(html|head|meta|noscript|title|link|style|body|header|p|strong|small|b|span|main|section|div|h1|h2|a|table|thead|tbody|tr|th|td|time|br|details|summary|dl|dt|dd|code|ul|li|footer)[ >]|^<!DOCTYPE html>$|^<script src="/page.js" defer>$|^</script>$`)
	for _, tag := range tags.FindAllString(page, -1) {
		if !allowed.MatchString(tag) {
			t.Errorf("a tag that is not ours: %s", tag)
		}
	}
	for _, bad := range []string{"\u202e", "<script>", "<img", "href=\"javascript:", "href=\"data:text", "49{{"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
}

func TestPageAsksForNothingOutside(t *testing.T) {
	page := string(show(t, healthy()))
	for _, found := range regexp.MustCompile(`(?i)\b(src|href|action|url)\s*[=(]\s*["']?([^"'\s>)]+)`).FindAllStringSubmatch(page, -1) {
		link := found[2]
		if found[1] == "href" && (strings.HasPrefix(link, "/") || strings.HasPrefix(link, "data:image/svg") || strings.Contains(link, "contoso.com:8085")) {
			continue
		}
		if found[1] == "src" && link == "/page.js" {
			continue
		}
		t.Errorf("the page refers to %s", found[0])
	}
	in := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if in == nil || in[1] != style {
		t.Error("the style in the page is not the one whose hash the policy allows")
	}
}

func TestWordsForPeople(t *testing.T) {
	p := newPage(time.FixedZone("NZDT", 13*3600))
	for _, c := range []struct{ got, want string }{
		{number(uint64(0)), "0"}, {number(999), "999"}, {number(1000), "1,000"}, {number(-1234567), "-1,234,567"}, {number(-123), "-123"},
		{ago(now, time.Time{}), "never"}, {ago(now, now), "just now"}, {ago(now, before(90*time.Second)), "90 s ago"},
		{ago(now, before(5*time.Hour)), "5 h ago"}, {ago(now, before(80*time.Hour)), "3 days ago"}, {ago(now, now.Add(time.Minute)), "in 60 s"},
		{lag(0.84), "0.8 s"}, {lag(673), "11 min"}, {rate(0), "0/min"}, {rate(0.25), "0.2/min"}, {rate(1234.5), "1,235/min"}, {millis(0.31), "0.3 ms"}, {milliseconds(0), "–"}, {milliseconds(143.2), "143 ms"},
		{string(p.when(time.Time{})), "never"}, {string(p.when(now)), `<time datetime="2026-01-02T03:04:05Z">2026-01-02 03:04:05 UTC (16:04:05 NZDT)</time>`},
		{string(p.age(now, before(time.Minute))), `<time class="age" datetime="2026-01-02T03:03:05Z" title="2026-01-02 03:03:05 UTC (16:03:05 NZDT)">60 s ago</time>`},
		{colour("ok"), "Green"}, {colour("degraded"), "Amber"}, {colour("stopped"), "Red"}, {colour("never heard of"), "Red"}, {lag(1e300), "11574 days"},
		{p.clock(time.Time{}), "never"}, {p.clock(now), "2026-01-02 03:04:05 UTC (16:04:05 NZDT)"},
		{p.clock(now.Add(12 * time.Hour)), "2026-01-02 15:04:05 UTC (2026-01-03 04:04:05 NZDT)"},
		{newPage(time.UTC).clock(now), "2026-01-02 03:04:05 UTC"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add("<script>", "javascript:alert(1)")
	f.Add("</style>{{", "http://x\"onload=")
	f.Fuzz(func(t *testing.T, text, url string) {
		s := hostile()
		s.Verdict.Text, s.Pipelines[0].LastError, s.Parked.Newest[0].Answer, s.Members[0].URL, s.Members[1].URL = text, text, text, url, url
		s.Leader, s.Verdict.Level, s.SCOM[0].State = s.Members[1].Node, v1.Level(text), text
		page := strings.ToLower(string(show(t, s)))
		if strings.Count(page, "<script") > 1 || strings.Contains(page, `href="javascript:`) {
			t.Errorf("%q and %q got through", text, url)
		}
	})
}

func BenchmarkPage(b *testing.B) {
	h := (&node{status: broken()}).handler("")
	for b.Loop() {
		ask(h, "GET", "/")
	}
}
