package daemon

import (
	"context"
	"errors"
	"sync"

	"scomconnector/cluster"
	"scomconnector/poller"
	"scomconnector/poller/alert"
	"scomconnector/poller/normalise"
)

// grouped stands before the consoles and the encoder of one pipeline until the management group is
// agreed on, which stands in every signature and which only SCOM may know. So a SCOM that is away
// from the very first day is an outage like any other: it is backed off, counted, shown, and told
// in Moogsoft.
type grouped struct {
	poller.Source
	agree   func(ctx context.Context) (string, error)
	compile func(group string) (*normalise.Normaliser, error)
	early   *normalise.Normaliser // without the group: for our own events only
	// answered is told of each good answer; nil: nobody is. Set before the first Poll.
	answered func()

	mu   sync.Mutex            // guards what follows
	full *normalise.Normaliser // nil until the group is known
	// told are self-alerts that went out under the early name: their ends must carry the same signature.
	told map[string]bool
}

// group puts a grouped before the feed's consoles for one line.
func (f *feed) group(n *node, term cluster.Term, l *line) (*grouped, error) {
	early, err := f.encoder(n, n.state().ManagementGroup(), l)
	if err != nil {
		return nil, err
	}
	return &grouped{
		Source: f.scom, early: early, told: map[string]bool{},
		agree: func(ctx context.Context) (string, error) {
			return f.managementGroup(ctx, term.Propose, n.state())
		},
		compile: func(group string) (*normalise.Normaliser, error) { return f.encoder(n, group, l) },
	}, nil
}

// Poll implements poller.Source. A group that cannot be agreed on is a fault of the poll.
func (g *grouped) Poll(ctx context.Context, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	if err := g.complete(ctx); err != nil {
		if _, ok := alert.FaultOf(err); ok || ctx.Err() != nil {
			return alert.Answer{}, err
		}
		return alert.Answer{}, &alert.Fault{Class: alert.FaultTransport, Console: "(any)", All: true, Err: err}
	}
	answer, err := g.Source.Poll(ctx, q, row)
	if err == nil && g.answered != nil {
		g.answered()
	}
	return answer, err
}

func (g *grouped) complete(ctx context.Context) error {
	if g.encoder() != nil {
		return nil
	}
	group, err := g.agree(ctx)
	if err != nil {
		return err
	}
	full, err := g.compile(group)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.full = full
	return nil
}

func (g *grouped) encoder() *normalise.Normaliser {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.full
}

// errNoGroup cannot happen: rows come only from a Poll, which completes first.
var errNoGroup = errors.New("the management group is not known yet")

// Wants implements poller.Encoder.
func (g *grouped) Wants(a *alert.Alert) bool {
	full := g.encoder()
	return full == nil || full.Wants(a)
}

// Append implements poller.Encoder.
func (g *grouped) Append(dst []byte, a *alert.Alert) ([]byte, error) {
	full := g.encoder()
	if full == nil {
		return dst, errNoGroup
	}
	return full.Append(dst, a)
}

// AppendOwn implements poller.Encoder; our own events do not wait for SCOM.
func (g *grouped) AppendOwn(dst []byte, o alert.Own) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full != nil && !g.told[o.Kind] {
		return g.full.AppendOwn(dst, o)
	}
	if g.told[o.Kind] = o.Severity > 0; o.Severity == 0 {
		delete(g.told, o.Kind)
	}
	return g.early.AppendOwn(dst, o)
}

// Errors and LastError are the expressions' failures so far.
func (g *grouped) Errors() uint64 {
	if full := g.encoder(); full != nil {
		return full.Errors()
	}
	return 0
}

// LastError is the newest of them, nil if there was none.
func (g *grouped) LastError() error {
	if full := g.encoder(); full != nil {
		return full.LastError()
	}
	return nil
}
