package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// Config describes one destination. Zero durations and sizes are the defaults.
type Config struct {
	Name            string
	LAMs            []LAM         // in order of preference; at least one
	AuthToken       string        // sent in the body; "" sends none
	MaxPayloadBytes int           // hard cap on a request body; default 1 MiB
	ConnectTimeout  time.Duration // TCP, proxy and TLS together; default 5 s
	AnswerTimeout   time.Duration // without progress of the body or an answer; default 30 s
	ProbeEvery      time.Duration // between two connection tests of an idle LAM; default 10 s
	// Dial replaces the network in tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// LAM is one address of a destination.
type LAM struct {
	Name string // what people see; the address if empty
	URL  string // http or https; credentials in it are used as Basic ones and never shown
	// PublicKeyFile is PEM or DER: a leaf certificate is pinned, a CA verifies name and chain.
	// Without one the system's roots decide.
	PublicKeyFile                string
	ProxyURL                     string // "host:port"; "" connects directly, whatever the environment says
	ProxyUsername, ProxyPassword string
	Username, Password           string // Basic
	ClientCertFile               string // PEM, with its key
	ClientKeyFile                string // PEM
}

const (
	defaultMaxPayload     = 1 << 20 // nginx refuses more by default
	defaultConnectTimeout = 5 * time.Second
	// A LAM answers on receipt, but its slow modes take up to 20 s (rpc_response_timeout).
	defaultAnswerTimeout = 30 * time.Second
	defaultProbeEvery    = 10 * time.Second
)

func (c *Config) defaults() {
	if c.MaxPayloadBytes == 0 {
		c.MaxPayloadBytes = defaultMaxPayload
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = defaultConnectTimeout
	}
	if c.AnswerTimeout == 0 {
		c.AnswerTimeout = defaultAnswerTimeout
	}
	if c.ProbeEvery == 0 {
		c.ProbeEvery = defaultProbeEvery
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
}

// Destination delivers to one destination. Publish calls must not overlap; everything else is
// safe for concurrent use. Close it when it is no longer needed.
type Destination struct {
	cfg     Config
	log     hclog.Logger
	metrics *Metrics
	head    []byte // of every request body, up to the events
	lams    []*lam
	wires   *wires // every open connection

	mu    sync.Mutex    // guards what follows
	inUse int           // index of the LAM that took something last
	back  chan struct{} // closed and replaced when a LAM that could not be reached can be

	stop   context.CancelFunc // ends the probes
	probes sync.WaitGroup
}

// tail ends every request body.
const tail = "]}"

// New checks cfg and starts testing the LAMs' addresses. It does not need any LAM to be up, nor
// any certificate file to be there yet: those are faults of a delivery, not of the settings.
func New(cfg Config, log hclog.Logger, m *Metrics) (*Destination, error) {
	cfg.defaults()
	head := []byte(`{"events":[`)
	if cfg.AuthToken != "" {
		token, err := json.Marshal(cfg.AuthToken)
		if err != nil {
			return nil, fmt.Errorf("auth token: %w", err)
		}
		head = fmt.Appendf(nil, `{"auth_token":%s,"events":[`, token)
	}
	if len(cfg.LAMs) == 0 {
		return nil, errors.New("destination " + cfg.Name + ": no LAM is configured")
	}
	if least := len(head) + len(tail) + 2; cfg.MaxPayloadBytes < least {
		return nil, fmt.Errorf("destination %s: a request body of %d bytes has no room for an event; the least is %d",
			cfg.Name, cfg.MaxPayloadBytes, least)
	}
	d := &Destination{cfg: cfg, log: log.Named("publisher").With("destination", cfg.Name), metrics: m, head: head, back: make(chan struct{})}
	d.wires = newWires(cfg.Dial, cfg.ConnectTimeout)
	taken := map[string]bool{}
	for _, c := range cfg.LAMs {
		l, err := newLAM(c, cfg, d.wires)
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", cfg.Name, err)
		}
		l.name = unique(taken, l.name)
		d.lams = append(d.lams, l)
	}
	m.declare(cfg.Name)
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	for _, l := range d.lams {
		d.probes.Go(func() { d.probe(ctx, l) })
	}
	return d, nil
}

// unique keeps two LAMs of one display name apart, since a refusal names its LAM.
func unique(taken map[string]bool, name string) string {
	u := name
	for n := 2; taken[u]; n++ {
		u = name + " (" + strconv.Itoa(n) + ")"
	}
	taken[u] = true
	return u
}

// Close ends the probes and closes every connection. No Publish may be running.
func (d *Destination) Close() {
	d.stop()
	d.wires.close()
	for _, l := range d.lams {
		l.transport.CloseIdleConnections()
	}
	d.probes.Wait()
}

// Overhead is the size of a request body without events, in bytes. A batch fits into one request
// if the sum of len(Body)+1, plus Overhead, is at most MaxPayloadBytes; a larger one is split.
func (d *Destination) Overhead() int { return len(d.head) + len(tail) }

// Publish sends the batch once, to the LAM in use and, where that one is wrong or away, to the
// others in turn; it never sleeps and never parks. Events keep their order. What comes back as
// Pending may still have reached a LAM whose answer was lost. It returns at ctx's end, or after at
// most one answer deadline for each LAM and split. It keeps no reference to the batch.
func (d *Destination) Publish(ctx context.Context, batch []alert.Event) alert.Delivery {
	a := newAttempt(d, batch)
	route := d.route(time.Now())
	for _, leg := range route {
		if ctx.Err() != nil || a.settled() {
			break
		}
		a.offer(ctx, leg)
	}
	if len(route) == 0 {
		a.waitForLAMs(time.Now())
	}
	return a.delivery(ctx)
}

// Proven reports whether the LAM that refused has accepted another event since. It is false for a
// LAM this Destination does not know.
func (d *Destination) Proven(r alert.Refusal) bool {
	for _, l := range d.lams {
		if l.name == r.LAM {
			return l.accepted.Load() > r.Mark
		}
	}
	return false
}

// LAMStatus is what is known of one LAM, without any secret.
type LAMStatus struct {
	Name    string
	URL     string // without credentials and query
	InUse   bool
	State   string        // "ok", "failing", "unknown", or "reachable": it failed, another one works, and it can be connected to again
	LastOK  time.Time     // when it last accepted events; zero: never
	Latency time.Duration // of the last accepted request
	// LastError is in plain words; it stays until the LAM works again.
	LastError string
	// Brief is that in a few words that follow its name, and Do what to do about it, where that is known; LastFailed is when it was.
	Brief, Do  string
	LastFailed time.Time
	reachable  bool
	// Warning is what should be mended some day and stops nothing.
	Warning string
	// Found is the part of Warning that does not follow from the LAM's address alone.
	Found string
	// PublicKeyExpiry is the end of the configured certificate's life; zero without one.
	PublicKeyExpiry time.Time
}

// Status lists the LAMs in order of preference.
func (d *Destination) Status() []LAMStatus {
	d.mu.Lock()
	inUse := d.inUse
	d.mu.Unlock()
	now := time.Now()
	all := make([]LAMStatus, len(d.lams))
	for i, l := range d.lams {
		all[i] = l.status(now)
		all[i].InUse = i == inUse
	}
	// Of a spare a connection is all there is to know until it is needed; one that stands before the one in use is tried.
	for i := inUse + 1; i < len(all); i++ {
		if all[i].reachable && all[inUse].State == "ok" {
			all[i].State = "reachable"
		}
	}
	return all
}

// use notes that l took something, and says so when it was another one before.
func (d *Destination) use(l *lam) {
	d.mu.Lock()
	before := d.lams[d.inUse]
	for i := range d.lams {
		if d.lams[i] == l {
			d.inUse = i
		}
	}
	d.mu.Unlock()
	if before != l {
		d.log.Debug("delivering to another LAM", "lam", l.name, "before", before.name)
	}
}
