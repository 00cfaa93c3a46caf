package doctor

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cmd/daemon"
	"scomconnector/poller/alert"
	"scomconnector/poller/scom"
)

// What is looked at behind the wire, in this order.
var consoleSteps = []string{"log-on", "rights", "version", "clock", "poll", "lateness", "close"}

// consoles makes a part for each console, and what looks at them all.
func (e *exam) consoles(ctx context.Context) ([]*part, func()) {
	nothing := func(why string) ([]*part, func()) {
		p := e.part("scom", "")
		p.add("", notTried("%s", why))
		return []*part{p}, func() {}
	}
	if e.cluster == nil {
		return nothing(e.why)
	}
	cfg, err := daemon.Consoles(e.cluster)
	if err != nil {
		return nothing(err.Error())
	}
	client, err := scom.New(cfg, hclog.NewNullLogger())
	if err != nil {
		return nothing(err.Error())
	}
	byName := map[string]scom.Console{}
	for _, c := range cfg.Consoles {
		byName[c.Name+" "+c.URL] = c
	}
	var parts []*part
	var conf []scom.Console
	for _, s := range client.Status() {
		p := e.part("scom", s.Name)
		p.group = "scom"
		parts = append(parts, p)
		c := byName[s.Name+" "+strings.TrimRight(s.URL, "/")]
		if c.URL == "" {
			c = byName[s.Name+" "+s.URL]
		}
		conf = append(conf, c)
	}
	return parts, func() {
		defer client.Close()
		e.lookAtConsoles(ctx, client, parts, conf)
	}
}

// lookAtConsoles does the wire of all at the same time, then one log-on after the other, since a refusal must be the last one
// of its account, then the rest at the same time.
func (e *exam) lookAtConsoles(ctx context.Context, client *scom.Client, parts []*part, conf []scom.Console) {
	there := make([]bool, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			p.doing("connection")
			there[i] = p.consoleWire(ctx, client, i, conf[i])
		})
	}
	wg.Wait()
	for i, p := range parts {
		if !there[i] {
			p.skip("there is no way to it", consoleSteps...)
			continue
		}
		p.doing("log-on")
		if !p.logOn(ctx, client, i) {
			there[i] = false
			p.skip("there is no log-on", consoleSteps[1:]...)
		}
	}
	for i, p := range parts {
		if there[i] {
			wg.Go(func() { p.console(ctx, client, i) })
		}
	}
	wg.Wait()
	e.close(ctx, client, parts, there)
}

func (p *part) consoleWire(ctx context.Context, client *scom.Client, i int, c scom.Console) bool {
	target, err := url.Parse(client.Status()[i].URL)
	if err != nil {
		p.add("name", finding{Fail, err.Error(), "correct the address"})
		return false
	}
	r := route{target: target, tls: client.TLS(i), plain: "the password crosses the network readable"}
	if c.InsecureSkipVerify {
		r.unchecked = "InsecureSkipVerify"
	}
	if c.ProxyURL != "" {
		if r.proxy, err = url.Parse(c.ProxyURL); err != nil {
			p.add("proxy", finding{Fail, "its address is not a URL", "correct ProxyUrl"})
			return false
		}
	}
	if r.proxy == nil {
		r.elsewhere = "; if the console has another port, add it to ScomAddressHost, or set Url beside ScomAddressHost"
	}
	return p.wire(ctx, r)
}

// logOn makes the one log-on, unless the account is being left alone: each one more might lock it.
func (p *part) logOn(ctx context.Context, client *scom.Client, i int) bool {
	if why := p.exam.live.leftAlone(); why != "" && !p.exam.opt.Force {
		p.add("log-on", notTried("the running cluster leaves the account alone: %s (--force tries all the same, and may lock the account)", why))
		return false
	}
	if client.LeftAlone(i) {
		p.add("log-on", notTried("its account was refused at another console a moment ago, and some more refusals would lock it"))
		return false
	}
	start := time.Now()
	err := client.LogOnAt(ctx, i)
	if err != nil {
		p.add("log-on", judgeLogOn(err))
		return false
	}
	f := client.Status()[i].Features
	p.timed("log-on", ok("accepted%s", roleOf(f)), start)
	return true
}

func roleOf(f scom.Features) string {
	if f.Role == "" {
		return ""
	}
	return ", as " + f.Role
}

// judgeLogOn says what a log-on came to that failed.
func judgeLogOn(err error) finding {
	f, is := alert.FaultOf(err)
	if !is {
		return finding{Fail, err.Error(), "try again"}
	}
	text := f.Err.Error()
	said, _, refused := strings.Cut(text, ": correct user and password") // when a node would try again is not the matter here
	if f.Class == alert.FaultAuth && refused && strings.Contains(said, "the console is set to ") {
		return finding{Fail, said, daemon.AboutConsole(f.Class, said)}
	}
	if f.Class == alert.FaultAuth && refused {
		return finding{Fail, said, "correct Domain, UserId and Password; do not repeat this with the same ones: some more, and the directory locks the account"}
	}
	return finding{Fail, text, daemon.AboutConsole(f.Class, text)}
}

// console looks at what stands behind a log-on.
func (p *part) console(ctx context.Context, client *scom.Client, i int) {
	status := client.Status()[i]
	p.add("rights", judgeRights(status.Features.Role))
	p.doing("poll of the last hour")
	var c lastHour
	start := time.Now()
	answer, err := client.PollAt(ctx, i, alert.Query{From: alert.MillisOf(start.Add(-time.Hour)), Slow: true}, c.count(map[alert.ID]bool{}))
	status = client.Status()[i] // the poll has shown more
	p.add("version", judgeVersion(status.Features, status.Group))
	if err != nil {
		p.skip("the poll below failed", "clock")
		p.add("poll", judgePollFault(err))
		p.lateness()
		return
	}
	c.rows, c.took = answer.Rows, answer.Duration
	// The date is that of the answer's head, less what that took: so of about the beginning, in whole seconds, rounded down.
	p.add("clock", judgeClock(answer.ServerDate.Time().Add(time.Second/2).Sub(start), time.Second+answer.Duration, answer.ServerDate != 0))
	p.timed("poll", judgePoll(c), start)
	p.lateness()
}

// count makes the callback that counts rows; an alert may come twice.
func (c *lastHour) count(seen map[alert.ID]bool) func(alert.Row) error {
	return func(r alert.Row) error {
		switch {
		case r.Err != nil:
			if c.broken++; c.firstError == "" {
				c.firstError = r.Err.Error()
			}
		case seen[r.ID]:
		case r.Alert.ResolutionState == alert.StateClosed:
			c.closed++
		default:
			c.open++
		}
		if r.Err == nil && !seen[r.ID] {
			seen[r.ID] = true
			c.alerts++
		}
		return nil
	}
}

func judgePollFault(err error) finding {
	f, is := alert.FaultOf(err)
	if !is {
		return finding{Fail, err.Error(), "try again"}
	}
	return finding{Fail, f.Err.Error(), daemon.AboutConsole(f.Class, f.Err.Error())}
}

// lateness is only known by who has polled for a while.
func (p *part) lateness() {
	late, known, why := p.exam.live.lateness()
	if !known {
		p.add("lateness", notTried("%s", why))
		return
	}
	p.add("lateness", judgeLateness(late, p.exam.cluster.OverlapSeconds, p.exam.cluster.SettleSeconds))
}

// close closes the one alert that the operator has named, at the first console that can be used.
func (e *exam) close(ctx context.Context, client *scom.Client, parts []*part, there []bool) {
	done := e.opt.ProbeWrite == ""
	for i, p := range parts {
		switch {
		case !there[i]: // said already
		case e.opt.ProbeWrite == "":
			p.add("close", notTried("--probe-write ID closes the alert ID, as proof"))
		case done:
			p.add("close", notTried("it was tried at another console"))
		default:
			done = true
			client.Use(i)
			p.add("close", closeOne(ctx, client, e.opt.ProbeWrite))
		}
	}
}

func closeOne(ctx context.Context, client *scom.Client, text string) finding {
	id, err := alert.ParseID(text)
	if err != nil {
		return finding{Fail, err.Error(), "give --probe-write an alert's id, as the page or SCOM shows it"}
	}
	w, err := client.SetState(ctx, []alert.ID{id}, alert.StateClosed, "Closed by scomconnector doctor, to try whether its account may")
	if err != nil {
		do := "look at the web console"
		if f, is := alert.FaultOf(err); is && f.Class == alert.FaultAuth {
			do = "give the account a role that may close alerts (Operator)"
		}
		return finding{Fail, unwrapFault(err), do}
	}
	if o, refused := w.Objections[id]; refused {
		return finding{Warning, "the account may close, but SCOM refuses for this alert: " + o.Text, "try another alert: one of a rule, or of a healthy monitor"}
	}
	if w.Vague != nil {
		return finding{Warning, "SCOM refuses: " + w.Vague.Text, "try another alert: one of a rule, or of a healthy monitor"}
	}
	return ok("alert %s is closed", id)
}

func unwrapFault(err error) string {
	if f, is := alert.FaultOf(err); is && f.Err != nil {
		return f.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
