package poller

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// benchSource shows the given number of rows once, at full speed.
type benchSource struct {
	rows int
	seen bool
}

func (s *benchSource) Poll(ctx context.Context, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	ans := alert.Answer{ServerDate: alert.MillisOf(time.Now())}
	if q.IDs != nil || s.seen {
		return ans, nil
	}
	s.seen = true
	a := alert.Alert{Name: "disk full", Description: "the disk is full", LastModified: time.Now().Add(-time.Hour)}
	r := alert.Row{Alert: &a}
	for i := range s.rows {
		binary.BigEndian.PutUint64(a.ID[8:], uint64(i)+1)
		if err := row(r); err != nil {
			return ans, err
		}
	}
	return ans, nil
}

// benchSink takes everything.
type benchSink struct {
	left     int
	done     chan struct{}
	verdicts []alert.Verdict
}

func (s *benchSink) Publish(_ context.Context, batch []alert.Event) alert.Delivery {
	for len(s.verdicts) < len(batch) {
		s.verdicts = append(s.verdicts, alert.Accepted)
	}
	if s.left -= len(batch); s.left == 0 {
		close(s.done)
	}
	return alert.Delivery{Verdicts: s.verdicts[:len(batch)]}
}

func (s *benchSink) Proven(alert.Refusal) bool { return false }

// benchEncoder copies an event of the usual size.
type benchEncoder struct{ event [741]byte }

func (e *benchEncoder) Wants(*alert.Alert) bool { return true }
func (e *benchEncoder) Append(dst []byte, _ *alert.Alert) ([]byte, error) {
	return append(dst, e.event[:]...), nil
}
func (e *benchEncoder) AppendOwn(dst []byte, _ alert.Own) ([]byte, error) { return dst, nil }

// benchLedger remembers what was sent and nothing else.
type benchLedger struct {
	*fakeLedger
	commits int
}

func (l *benchLedger) Commit(_ context.Context, c Commit) error {
	l.commits++
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	for _, v := range c.Sent {
		l.s.sent[v.ID] = v
	}
	l.s.pos.Cursor = max(l.s.pos.Cursor, c.Cursor)
	l.s.pos.Started = l.s.pos.Started || c.Start
	return nil
}

// BenchmarkPipeline carries rows from a source to a sink that cost nothing: what is left is ours, and
// the ledger's map.
func BenchmarkPipeline(b *testing.B) {
	b.ReportAllocs()
	done := make(chan struct{})
	sink := &benchSink{left: b.N, done: done}
	s := newState()
	s.room = 1 << 40
	s.sent = make(map[alert.ID]alert.Version, b.N)
	cfg := Defaults()
	cfg.Name, cfg.Reconcile = "default", 0
	p := New(cfg, Deps{Source: &benchSource{rows: b.N}, Sink: sink, Ledger: &benchLedger{fakeLedger: s.ledger()}, Encoder: &benchEncoder{}})
	ctx, cancel := context.WithCancel(b.Context())
	b.SetBytes(741)
	b.ResetTimer()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	<-done
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDuplicates is a row seen again, which is what most rows of an overlap are.
func BenchmarkDuplicates(b *testing.B) {
	b.ReportAllocs()
	s := newState()
	p := New(Defaults(), Deps{Ledger: s.ledger(), Encoder: &benchEncoder{}})
	t := newTerm(p)
	a := alert.Alert{LastModified: time.Now()}
	s.sent[a.ID] = a.Version()
	for b.Loop() {
		if err := t.reader.take(b.Context(), &a); err != nil {
			b.Fatal(err)
		}
	}
}
