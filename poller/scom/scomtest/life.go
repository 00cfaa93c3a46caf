package scomtest

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// LifeOptions is the pace of a simulated site.
type LifeOptions struct {
	PerMinute float64 // changes: alerts raised, repeated, taken up and closed; default 30
	Agents    int     // computers watched, default 200
	// MaxOpen is how many open alerts this life keeps; beyond it more is closed than raised. Default 300.
	MaxOpen int
	// Groom removes alerts that have been closed for so long, so that a demo can run for days; default 24 h.
	Groom time.Duration
}

// Live makes things happen at a human pace until ctx ends: alerts are raised, repeat, are taken up
// by people and closed; some flap. It returns ctx's error.
func (g *Group) Live(ctx context.Context, opt LifeOptions) error {
	l := newLife(g, opt)
	groomed := g.now()
	for {
		// Independent troubles arrive as a Poisson process.
		if err := sleep(ctx, time.Duration(l.rnd.ExpFloat64()*float64(time.Minute)/l.opt.PerMinute)); err != nil {
			return err
		}
		l.step()
		if now := g.now(); now.Sub(groomed) > l.opt.Groom/24 {
			g.Groom(now.Add(-l.opt.Groom))
			groomed = now
		}
	}
}

// Storm raises n alerts from many agents, evenly over the given time, or all in one transaction if
// that is zero. It returns how many it raised, and ctx's error if that was not all.
func (g *Group) Storm(ctx context.Context, n int, over time.Duration) (int, error) {
	r := g.fork()
	list := agents(r, max(1, min(n, 15_000))) // a management group has no more agents
	const tick = 100 * time.Millisecond
	ticks := max(1, int(over/tick))
	raised := 0
	for i := range ticks {
		batch := make([]Alert, 0, n/ticks+1)
		for ; raised < n*(i+1)/ticks; raised++ {
			t := &packs[0] // a network fault: most agents are merely silent
			if r.IntN(4) == 0 {
				t = &packs[r.IntN(len(packs))]
			}
			batch = append(batch, t.alert(r, list[raised%len(list)]))
		}
		g.RaiseAll(batch)
		if i == ticks-1 {
			break
		}
		if err := sleep(ctx, tick); err != nil {
			return raised, err
		}
	}
	return raised, nil
}

// Populate adds n alerts of the given last span of time, most of them closed as in a real database.
// It is done at once, and each is visible as if it always had been.
func (g *Group) Populate(n int, span time.Duration) {
	r := g.fork()
	list := agents(r, max(1, min(n, 200)))
	now := g.now()
	alerts := make([]Alert, n)
	for i := range alerts {
		raised := now.Add(-span + span*time.Duration(i)/time.Duration(n))
		alerts[i] = past(r, packs[r.IntN(len(packs))].alert(r, list[r.IntN(len(list))]), raised, now)
	}
	slices.SortFunc(alerts, func(a, b Alert) int { return a.LastModified.Compare(b.LastModified) })
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range alerts {
		g.raise(a, a.LastModified)
	}
}

// past is an alert that was raised at the given time; of five, four have been closed since.
func past(r *rand.Rand, a Alert, raised, now time.Time) Alert {
	a.TimeRaised = raised
	if a.TimeAdded = raised.Add(time.Duration(r.IntN(2000)) * time.Millisecond); a.TimeAdded.After(now) {
		a.TimeAdded = now
	}
	a.LastModified = a.TimeAdded
	if r.IntN(5) > 0 {
		closed := a.TimeAdded.Add(time.Duration(r.Int64N(int64(now.Sub(a.TimeAdded)) + 1)))
		a.setState(Closed, "System", closed)
		a.LastModified, a.Unhealthy = closed, false
	}
	return a
}

// fork draws a random source that does not disturb the group's own.
func (g *Group) fork() *rand.Rand {
	g.mu.Lock()
	defer g.mu.Unlock()
	return rand.New(rand.NewPCG(g.rnd.Uint64(), g.rnd.Uint64()))
}

// sleep waits d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// life is what Live remembers between two changes.
type life struct {
	group  *Group
	opt    LifeOptions
	rnd    *rand.Rand
	agents []agent
	open   []string // ids of open alerts
	flap   []string // ids of alerts of a kind that flaps, open or closed; the last few
}

func newLife(g *Group, opt LifeOptions) *life {
	if opt.PerMinute <= 0 {
		opt.PerMinute = 30
	}
	if opt.Agents <= 0 {
		opt.Agents = 200
	}
	if opt.MaxOpen <= 0 {
		opt.MaxOpen = 300
	}
	if opt.Groom <= 0 {
		opt.Groom = 24 * time.Hour
	}
	r := g.fork()
	return &life{group: g, opt: opt, rnd: r, agents: agents(r, opt.Agents)}
}

// operators are the people who take alerts up.
var operators = []string{`CONTOSO\a.jensen`, `CONTOSO\m.okafor`, `CONTOSO\l.dubois`}

// step is one change.
func (l *life) step() {
	busy := float64(len(l.open)) / float64(l.opt.MaxOpen)
	switch p := l.rnd.Float64(); {
	case len(l.open) == 0 || p < 0.45*(1-busy):
		l.raise()
	case p < 0.55:
		l.group.Repeat(l.open[l.rnd.IntN(len(l.open))])
	case p < 0.62:
		l.takeUp()
	case p < 0.70 && len(l.flap) > 0:
		l.flapOne()
	default:
		l.close()
	}
}

func (l *life) raise() {
	t := &packs[l.rnd.IntN(len(packs))]
	id := l.group.Raise(t.alert(l.rnd, l.agents[l.rnd.IntN(len(l.agents))]))
	l.open = append(l.open, id)
	if t.flaps {
		if l.flap = append(l.flap, id); len(l.flap) > 10 {
			l.flap = l.flap[1:]
		}
	}
}

// takeUp is a person who acknowledges an alert and opens a ticket.
func (l *life) takeUp() {
	who := operators[l.rnd.IntN(len(operators))]
	ticket := "INC" + newGUID(l.rnd)[:8]
	l.group.Update(l.open[l.rnd.IntN(len(l.open))], who, func(a *Alert) {
		a.setState(249, who, l.group.now())
		a.Owner, a.TicketID = who, ticket
	})
}

// close is the end of a trouble: its monitor sees it, or a person closes a rule's alert.
func (l *life) close() {
	i := l.rnd.IntN(len(l.open))
	id := l.open[i]
	l.open = slices.Delete(l.open, i, i+1)
	l.closeAlert(id)
}

func (l *life) closeAlert(id string) {
	by := operators[l.rnd.IntN(len(operators))]
	if a, ok := l.group.Get(id); ok && a.IsMonitorAlert {
		by = "System"
	}
	l.group.Update(id, by, func(a *Alert) {
		a.Unhealthy = false
		a.setState(Closed, by, l.group.now())
	})
}

// flapOne closes an alert that flaps, or raises its like again: a monitor raises a new alert, with a new
// id, each time.
func (l *life) flapOne() {
	i := l.rnd.IntN(len(l.flap))
	id := l.flap[i]
	a, ok := l.group.Get(id)
	if !ok {
		l.flap = slices.Delete(l.flap, i, i+1)
		return
	}
	if a.ResolutionState != Closed {
		l.open = slices.DeleteFunc(l.open, func(o string) bool { return o == id })
		l.closeAlert(id)
		return
	}
	again := Alert{
		Name: a.Name, Description: a.Description, Category: a.Category, Severity: a.Severity, Priority: a.Priority,
		IsMonitorAlert: a.IsMonitorAlert, Unhealthy: a.IsMonitorAlert, MonitorName: a.MonitorName,
		ObjectID: a.ObjectID, ObjectName: a.ObjectName, ObjectDisplayName: a.ObjectDisplayName, ObjectPath: a.ObjectPath,
		ObjectFullName: a.ObjectFullName, AlertSource: a.AlertSource, NetbiosComputer: a.NetbiosComputer,
		NetbiosDomain: a.NetbiosDomain, PrincipalName: a.PrincipalName, RuleID: a.RuleID, ClassID: a.ClassID, Context: a.Context,
	}
	l.flap[i] = l.group.Raise(again)
	l.open = append(l.open, l.flap[i])
}
