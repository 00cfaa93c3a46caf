package test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// outage is half an hour in which something fails, in a whole daemon, with alerts going on.
type outage struct {
	raced              bool // also with the race detector
	site               site
	begin, middle, end func(w *world) // middle, after a quarter of an hour, is mostly nil
	// want are the lines of the log from the begin to a quarter of an hour after the end: what changes by chance is {…}.
	want string
	// perhaps is a line of want that comes only where the end finds a call under way.
	perhaps string
	// only, where it is set, are the parts of the program whose lines are looked at: changes of leader have lines of their own.
	only *regexp.Regexp
}

var (
	sentences = regexp.MustCompile(` scomconnector\.[a-z]+: (NOT DELIVERING|DELIVERING|Delivering|Standing|Witness|Primary|LAM|SCOM)| scomconnector\.[a-z]+\.(publisher|scom|poller)`)
	duration  = regexp.MustCompile(`after [0-9][0-9hms.]*[hms]\b`)
	tries     = regexp.MustCompile(`[0-9]+ (try|tries) in vain`)
	since     = regexp.MustCompile(`since .*?UTC(\))?:`)
	clockTime = regexp.MustCompile(`[0-9][0-9]:[0-9][0-9] UTC`)
	times     = regexp.MustCompile(`times=[0-9]+`)
)

// lines is what the log says since it had so many bytes, without what changes by chance.
func (o outage) lines(w *world, begin int) string {
	var out []string
	for line := range strings.Lines(w.log.String()[begin:]) {
		if o.only != nil && !o.only.MatchString(line) || strings.Contains(line, "weak connection") || strings.Contains(line, "logged on to SCOM") {
			continue
		}
		_, line, _ = strings.Cut(line, " ")
		line = duration.ReplaceAllString(line, "after {long}")
		line = tries.ReplaceAllString(line, "{n} tries in vain")
		line = since.ReplaceAllString(line, "since {time}:")
		line = clockTime.ReplaceAllString(line, "{time}")
		line = times.ReplaceAllString(line, "times={n}")
		out = append(out, strings.ReplaceAll(line, "scomconnector.", ""))
	}
	return strings.Join(out, "")
}

func lamSet(f publishertest.Faults) func(w *world) { return func(w *world) { w.lams[0].Set(f) } }

func consoleSet(f scomtest.Faults) func(w *world) { return func(w *world) { w.consoles[0].Set(f) } }

func healConsole(w *world) { w.consoles[0].Heal() }

const (
	lamBegins  = `[ERROR] primary: NOT DELIVERING since {time}: LAM lam1 closed the connection without an answer. Do: check that the LAM is up and reachable from this node: url=http://lam1:80/events/scom said=EOF` + "\n"
	lamRefuses = `[ERROR] primary: NOT DELIVERING since {time}: LAM lam1 does not accept our credentials (HTTP 401 Unauthorized). Do: check AuthTokenCode, and Username and Password of this LAM: url=http://lam1:80/events/scom said="{\"success\":false,\"message\":\"Unauthorized\"}"` + "\n"
	lamEnds    = `[INFO]  primary: DELIVERING AGAIN: LAM lam1 takes events again after {long} and {n} tries in vain; nothing was lost.` + "\n"
	scomDown   = `[ERROR] primary: NOT DELIVERING since {time}: SCOM console scom1 broke the connection. Do: check that the web console is up and reachable from this node: url=http://scom1:80/OperationsManager said="connection lost: EOF"` + "\n"
	scomEnds   = `[INFO]  primary: DELIVERING AGAIN: SCOM is read again after {long} and {n} tries in vain; nothing was lost.` + "\n"
	toldBegin  = `[INFO]  primary.poller.send: told Moogsoft: pipeline=alerts/default kind=scom-outage severity=5` + "\n"
	toldEnd    = `[INFO]  primary.poller.send: told Moogsoft: pipeline=alerts/default kind=scom-outage severity=0` + "\n"
)

var outages = map[string]outage{
	"the LAM is down":                         {raced: true, begin: lamSet(publishertest.Faults{Down: true}), end: lamSet(publishertest.Faults{}), want: lamBegins + lamEnds},
	"the LAM is down, then refuses the token": {begin: lamSet(publishertest.Faults{Down: true}), middle: lamSet(publishertest.Faults{Status: 401}), end: lamSet(publishertest.Faults{}), want: lamBegins + lamRefuses + lamEnds},
	"SCOM is down":                            {begin: consoleSet(scomtest.Faults{Down: true}), end: healConsole, want: scomDown + toldBegin + toldEnd + scomEnds},
	"SCOM answers 503": {begin: consoleSet(scomtest.Faults{Status: 503}), end: healConsole, want: `[ERROR] primary: NOT DELIVERING since {time}: SCOM console scom1 answers 503 Service Unavailable. ` +
		`Do: look at the web console: IIS, its application pool, and the SDK service of its management server: url=http://scom1:80/OperationsManager` + "\n" + toldBegin + toldEnd + scomEnds},
	"SCOM refuses the log-on": {begin: func(w *world) {
		w.consoles[0].Set(scomtest.Faults{WrongPassword: true})
		w.consoles[0].DropSessions()
	}, end: healConsole, want: `[INFO]  primary.poller.send: told Moogsoft: pipeline=alerts/default kind=scom-logon severity=5` + "\n" + `[ERROR] primary: NOT DELIVERING since {time}: SCOM console scom1 refuses the log-on of CONTOSO\svc-moogsoft (401); next try {time}. ` +
		`Do: correct Domain, UserId or Password (tried at once), or unlock the account: url=http://scom1:80/OperationsManager said={words}` + "\n" +
		toldBegin + toldEnd +
		`[INFO]  primary.poller.send: told Moogsoft: pipeline=alerts/default kind=scom-logon severity=0` + "\n" + scomEnds},
	// Its first sign is a poll that took too long, after which less is asked; when that has gone on for a minute it is an outage.
	"SCOM hangs": {begin: consoleSet(scomtest.Faults{Hang: true}), end: healConsole, want: `[WARN]  primary: SCOM was not read when last asked: SCOM console scom1 hangs: no answer within 10 s. ` +
		`Do: check the web console and its management server: they take too long: url=http://scom1:80/OperationsManager` + "\n" +
		`[ERROR] primary: NOT DELIVERING since {time}: SCOM console scom1 hangs: no answer within 10 s. Do: check the web console and its management server: they take too long: url=http://scom1:80/OperationsManager` + "\n" +
		toldBegin + scomDown + toldEnd + scomEnds, perhaps: scomDown}, // the simulator breaks what hangs when it is healed
	"the first of two LAMs": {site: site{lams: 2}, begin: lamSet(publishertest.Faults{Status: 503}), end: lamSet(publishertest.Faults{}),
		want: `[WARN]  primary: Delivering, but LAM lam1 failed when it was last tried at {time}: it cannot serve now (HTTP 503 Service Unavailable). Do: look at the LAM and at what stands in front of it: url=http://lam1:80/events/scom` + "\n" +
			`[INFO]  primary: LAM lam1 can be used again after {long}.` + "\n"},
	"the first of two consoles": {site: site{consoles: 2}, begin: consoleSet(scomtest.Faults{Down: true}), end: healConsole,
		want: `[WARN]  primary: Delivering, but SCOM server scom1 failed when it was last tried at {time}: it broke the connection. Do: check that web console: url=http://scom1:80/OperationsManager said="connection lost: EOF"` + "\n" +
			`[INFO]  primary: SCOM server scom1 can be used again after {long}.` + "\n"},
	// The followers say nothing of it: it stands in the leader's log.
	"the LAM of three nodes": {site: site{nodes: 3}, begin: lamSet(publishertest.Faults{Down: true}), end: lamSet(publishertest.Faults{}), want: lamBegins + lamEnds},
	// The leader says what it means that a member is away, the others that they do not reach it: a line each, and one when it is back.
	"a follower of three": {site: site{nodes: 3, settings: `"Failback": "manual",`}, begin: func(w *world) { w.stop("secondary") }, end: func(w *world) { w.start("secondary") }, only: regexp.MustCompile(` scomconnector\.(primary|witness)`),
		want: `[WARN]  primary: Delivering, but secondary is not in contact. Do: start secondary or mend the network between the nodes: said={words}` + "\n" +
			`[INFO]  primary: secondary is there again after {long}.` + "\n" +
			`[WARN]  witness: This node does not reach secondary: said={words}` + "\n" +
			`[INFO]  witness: This node reaches secondary again after {long}.` + "\n"},
	// The new leader says it once, since when it has lasted; the other says whom it follows.
	"another leader in the middle": {raced: true, site: site{nodes: 3, settings: `"Failback": "manual",`}, begin: lamSet(publishertest.Faults{Down: true}), middle: func(w *world) { w.stop("primary") }, end: lamSet(publishertest.Faults{}), only: sentences,
		want: lamBegins + `[INFO]  witness: Witness: secondary leads.` + "\n" + strings.ReplaceAll(lamBegins, "primary", "secondary") +
			`[WARN]  secondary: Primary is not in contact. Do: start primary or mend the network between the nodes: said={words}` + "\n" + strings.ReplaceAll(lamEnds, "primary", "secondary")},
}

// Who opens the log after half an hour of outage reads when it began, why, what to do, when it was over and what it cost: a line
// for each change, and none for each try.
func TestAnOutageInTheLog(t *testing.T) {
	for name, o := range outages {
		if raceDetector && !o.raced {
			continue // .ci/run has all of them without the race detector, which is ten times as fast
		}
		t.Run(name, func(t *testing.T) {
			o.site.settings += quick
			inWorld(t, o.site, func(w *world) {
				w.raise(3)
				w.awaitDelivered(time.Minute)
				w.pass(time.Minute)
				begin := len(w.log.String())
				o.begin(w)
				for i := range 30 {
					if i == 15 && o.middle != nil {
						o.middle(w)
					}
					w.pass(time.Minute)
					w.raise(1)
				}
				o.end(w)
				w.awaitDelivered(70 * time.Minute)
				for range 15 {
					w.pass(time.Minute)
					w.raise(1)
				}
				// A connection that is closed while a request is on its way ends in one of three ways.
				said := strings.NewReplacer(`"http: server closed idle connection"`, "EOF", "http: server closed idle connection", "EOF", `"io: read/write on closed pipe"`, "EOF")
				got := strings.Split(strings.TrimSpace(said.Replace(o.lines(w, begin))), "\n")
				want := strings.Split(strings.TrimSpace(o.want), "\n")
				if i := slices.Index(want, strings.TrimSpace(o.perhaps)); i >= 0 && len(got) == len(want)-1 {
					want = slices.Delete(want, i, i+1)
				}
				if o.only != nil { // of two nodes that say something in the same moment, either may be first
					slices.Sort(got)
					slices.Sort(want)
				}
				same := slices.EqualFunc(got, want, func(g, w string) bool {
					before, _, any := strings.Cut(w, "{words}")
					return g == w || any && strings.HasPrefix(g, before)
				})
				if !same {
					t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				for _, line := range got {
					if sentence, _, _ := strings.Cut(line, ": url="); len(sentence) > 210 {
						t.Errorf("%d characters: %s", len(sentence), sentence)
					}
				}
			})
		})
	}
}
