package poller

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// What a new cursor starts with.
const (
	FirstOpen = "open" // all open alerts, and what changed in the look-back
	FirstNow  = "now"  // only what changes from now on
)

// Config is how one pipeline polls. Start from Defaults: a zero duration is a value, not a wish for the default.
type Config struct {
	Name   string // of the pipeline: unique among them, shown to people
	Stream string // "alerts"; a label of the metrics

	Cycle    time.Duration // longest pause between two polls
	MinCycle time.Duration // shortest one
	Overlap  time.Duration // how far before the cursor a full read begins
	Settle   time.Duration // how far behind the server's clock the cursor stays
	Slice    time.Duration // first width of a catch-up slice

	FirstStart      string // FirstOpen or FirstNow
	InitialLookback time.Duration

	MaxBatchEvents int
	MaxBatchBytes  int // of the encoded events of a batch with a comma each; the envelope is the caller's to subtract

	Reconcile time.Duration // 0: never

	LowerBackoff, UpperBackoff time.Duration
	AmountOfTimeouts           int           // failed polls in a row until the self-alert; below 1: only OutageAlertAfter counts
	OutageAlertAfter           time.Duration // how long an outage lasts until the self-alert
	Heartbeat                  time.Duration // 0: none

	// SendRepeatCounts false holds back changes that are nothing but a repeat count.
	SendRepeatCounts bool
}

// Defaults are the settings of a pipeline whose files say nothing else.
func Defaults() Config {
	return Config{
		Stream: "alerts",
		Cycle:  45 * time.Second, MinCycle: 2 * time.Second,
		Overlap: 60 * time.Second, Settle: 30 * time.Second, Slice: 15 * time.Minute,
		FirstStart: FirstOpen, InitialLookback: 24 * time.Hour,
		MaxBatchEvents: 500, MaxBatchBytes: 1 << 20,
		Reconcile:    30 * time.Minute,
		LowerBackoff: 10 * time.Second, UpperBackoff: 360 * time.Second,
		AmountOfTimeouts: -1, OutageAlertAfter: 300 * time.Second,
		SendRepeatCounts: true,
	}
}

// Deps are what a pipeline works with.
type Deps struct {
	Source  Source
	Sink    Sink
	Ledger  Ledger
	Encoder Encoder
	Log     hclog.Logger   // nil: silent
	Metrics *Metrics       // nil: counted, but not exported
	Rand    func() float64 // in [0,1), safe for concurrent use; spreads retries; nil: math/rand
	// Echo reports whether a is nothing but what this program itself has written to SCOM since it has sent the version old. Such a
	// row is recorded, and not sent. nil sends all; it must be nil unless there is exactly one destination, from
	// which the write came. Safe for concurrent use.
	Echo func(a *alert.Alert, old alert.Version) bool
	// Alarms are told in Moogsoft beside the pipeline's own. It is asked every second and must not block; nil: none.
	Alarms func() []Alarm
}

// Alarm is a self-alert about something that is not the pipeline's: it is out for as long as Raised is set, over crashes and
// changes of leadership. One that is not listed stays as it is.
type Alarm struct {
	Kind          string // part of the signature, none of the pipeline's own
	Raised        bool
	Text, Cleared string // what is told when it begins and when it ends
}

// Pipeline carries one stream to one destination, for one term, or until its cursor is rewound: nothing about position outlives either.
type Pipeline struct {
	cfg     Config
	source  Source
	sink    Sink
	ledger  Ledger
	encoder Encoder
	log     hclog.Logger
	metrics *Metrics
	rand    func() float64
	echo    func(a *alert.Alert, old alert.Version) bool
	alarms  func() []Alarm

	board     board       // what Status shows
	confirm   atomic.Bool // an operator has confirmed that vanished alerts are gone
	resends   chan resend
	over      chan struct{} // closed when Run ends
	drain     chan struct{} // closed by Drain
	drainOnce sync.Once
}

// New is a pipeline that has not begun. The Ledger is bound to one term, and so is the Pipeline.
func New(cfg Config, deps Deps) *Pipeline {
	p := &Pipeline{
		cfg: cfg, source: deps.Source, sink: deps.Sink, ledger: deps.Ledger, encoder: deps.Encoder,
		log: deps.Log, metrics: deps.Metrics, rand: deps.Rand, alarms: deps.Alarms, drain: make(chan struct{}),
		resends: make(chan resend), over: make(chan struct{}),
	}
	if p.log == nil {
		p.log = hclog.NewNullLogger()
	}
	p.log = p.log.With("pipeline", cfg.Name)
	if p.metrics == nil {
		p.metrics = NewMetrics(nil)
	}
	if p.rand == nil {
		p.rand = rand.Float64
	}
	if p.echo = deps.Echo; p.echo == nil {
		p.echo = func(*alert.Alert, alert.Version) bool { return false }
	}
	if p.alarms == nil {
		p.alarms = func() []Alarm { return nil }
	}
	p.board.phase(PhaseIdle, "")
	return p
}

// Run works until ctx ends or Drain has taken effect (nil), or until the ledger says that the term is over (ErrTermOver,
// ErrUnknownOutcome) or the cursor was rewound (ErrRewound): the next Pipeline begins where that stands now. An idle one may not notice a
// rewind for as long as there is nothing to commit: whoever rewinds has it drained. It gives up for no other reason. It is called once.
func (p *Pipeline) Run(ctx context.Context) error {
	defer close(p.over)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTerm(p)

	sent := make(chan error, 1)
	go func() {
		err := t.sender.run(ctx)
		if err != nil {
			cancel(err)
		}
		sent <- err
	}()

	readCtx, stopReading := context.WithCancel(ctx)
	stopDrain := make(chan struct{})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		select {
		case <-p.drain:
			stopReading()
		case <-stopDrain:
		}
	}()
	t.reader.run(readCtx)
	stopReading()
	close(stopDrain)
	<-drained
	err := <-sent // the sender ends by ctx, by Drain, or by its own error
	p.board.phase(PhaseStopped, "")
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// Drain ends the pipeline for a planned handover: it reads no further, lets the batch that is under
// way be accepted and committed, and then Run returns nil; what was read beyond that stays SCOM's and
// is read again by whoever comes next. It returns at once. The caller bounds the wait by Run's context.
func (p *Pipeline) Drain() { p.drainOnce.Do(func() { close(p.drain) }) }

// ConfirmVanished says that alerts which SCOM no longer shows are really gone, however many: the next
// reconcile may close them all.
func (p *Pipeline) ConfirmVanished() {
	p.confirm.Store(true)
	p.log.Info("vanished alerts confirmed; the next reconcile may close them")
}

// term is everything that lives no longer than one Run: above all the reading position.
type term struct {
	reader *reader
	sender *sender
}

func newTerm(p *Pipeline) *term {
	c := &clock{}
	f := newFlight()
	l := newLane()
	g := newGate()
	return &term{
		reader: newReader(p, c, f, l, g),
		sender: newSender(p, c, f, l, g),
	}
}
