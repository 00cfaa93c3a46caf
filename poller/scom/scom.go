package scom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// ErrClosed is returned by calls on a Client after Close.
var ErrClosed = errors.New("the SCOM client is closed")

// Client reads alerts from one management group's web consoles, of which one is in use at a time.
// All its methods may be called concurrently.
type Client struct {
	cfg      Config
	log      hclog.Logger
	consoles []*console // in priority order
	readers  sync.Pool  // of *rowsReader

	base   context.Context // ends with Close: for log-ons and probes, which belong to no caller
	cancel context.CancelFunc
	wg     sync.WaitGroup // log-ons and the prober

	life   sync.Mutex // guards closed; innermost: no other lock is taken under it
	closed bool

	mu     sync.Mutex // guards what follows; taken before any console's
	choice choice
	group  string // the management group of all consoles: the bound one, else the first that any of them named
	bound  bool   // group is the one that the caller works on
}

// console is one web console.
type console struct {
	client    *Client
	conf      Console
	index     int             // in Client.consoles
	transport *http.Transport // bare
	carrier   carrier         // logs its connections on where the console wants that
	account   *account

	mu      sync.Mutex // guards what follows
	session *session   // nil: not logged on
	logOn   *logOn     // nil: none under way
	mode    string     // "Windows" or "Network", as it says itself; "" while it is not known
	group   string     // the management group it named
	foreign string     // why it is refused for that group; empty: it is not
	denied  denial     // that it does not name it, while that is in doubt
	status  health
}

// New makes a client; it connects to nothing before the first Poll or Ping. cfg.Consoles may be
// in any order.
func New(cfg Config, log hclog.Logger) (*Client, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, log: log}
	c.base, c.cancel = context.WithCancel(context.Background())
	c.readers.New = func() any { return newRowsReader() }
	accounts := map[string]*account{}
	for i, conf := range cfg.Consoles {
		transport, err := newTransport(cfg, conf)
		if err != nil {
			return nil, err
		}
		key := accountKey(conf)
		if accounts[key] == nil {
			accounts[key] = newAccount(conf, cfg)
		}
		con := &console{client: c, conf: conf, index: i, transport: transport, account: accounts[key]}
		if con.carrier, err = newCarrier(con); err != nil {
			return nil, fmt.Errorf("web console %s: %w", conf.Name, err)
		}
		c.consoles = append(c.consoles, con)
		if w := conf.warning(); w != "" {
			log.Warn("weak connection to a web console", "console", conf.Name, "warning", w)
		}
	}
	c.choice = newChoice(len(c.consoles))
	return c, nil
}

// Poll asks the console in use once and calls row for each row as it arrives, in no order,
// possibly with the same id twice, and possibly with rows up to a second outside [q.From, q.To):
// the console compares whole seconds. The answer counts only if err is nil. Otherwise err is an
// *alert.Fault, row's own error, or ctx's.
func (c *Client) Poll(ctx context.Context, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	if err := ctx.Err(); err != nil {
		return alert.Answer{}, err
	}
	con, err := c.choose(time.Now())
	if err != nil {
		return alert.Answer{}, err
	}
	answer, err := con.poll(ctx, q, row)
	if own, ok := errors.AsType[callbackError](err); ok {
		return alert.Answer{}, own.err
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return alert.Answer{}, c.failed(con, f, time.Now())
	}
	if err != nil {
		return alert.Answer{}, err
	}
	c.succeeded(con, time.Now())
	return answer, nil
}

// ManagementGroup asks the console in use for the management group's name. It is "" without an
// error where the server cannot tell (before 2022), or refuses to again and again: one refusal is an
// error, to be tried again. Errors are as Poll's.
func (c *Client) ManagementGroup(ctx context.Context) (string, error) {
	con, err := c.choose(time.Now())
	if err != nil {
		return "", err
	}
	s, err := con.current(ctx, nil)
	if err == nil {
		if group := con.knownGroup(); group != "" {
			return group, nil
		}
		// It was not told at log-on: absent for good, or only just then? The name is part of all
		// signatures, so a passing fault must not decide it.
		var group string
		if group, err = con.settleGroup(ctx, s); err == nil {
			err = c.sameGroup(con, group)
		}
		if err == nil {
			return group, nil
		}
	}
	if s == nil {
		con.noteDenial(denial{}) // a console in trouble: its refusals before say nothing
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return "", c.failed(con, f, time.Now())
	}
	return "", err
}

func (c *console) knownGroup() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.group
}

// start runs f in a goroutine that Close waits for; false after Close.
func (c *Client) start(f func()) bool {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// Close ends log-ons and probes, signs out where logged on (within two seconds), and closes all
// connections. Polls under way should have ended.
func (c *Client) Close() {
	c.life.Lock()
	c.closed = true
	c.life.Unlock()
	c.cancel()
	c.wg.Wait()
	// Short, since a node that stops hands its work over first, and a session ends by itself.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, con := range c.consoles {
		wg.Go(func() {
			con.signOut(ctx)
			con.transport.CloseIdleConnections()
			con.carrier.CloseIdleConnections()
		})
	}
	wg.Wait()
}
