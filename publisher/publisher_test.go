package publisher_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/poller/alert"
	"scomconnector/publisher"
	"scomconnector/publisher/publishertest"
)

// event is an alert event with a body of about n bytes.
func event(i, n int) alert.Event {
	var id alert.ID
	id[0], id[1], id[14], id[15] = 0xd3, byte(i>>16), byte(i>>8), byte(i)
	at := alert.Millis(1_800_000_000_000 + int64(i))
	body := fmt.Sprintf(`{"signature":"MG::%[1]s","external_id":"%[1]s","severity":4,"description":"%[2]s","custom_info":{"scom":{"lastModified":"%[3]s","resolutionState":0}}}`,
		id, strings.Repeat("x", max(0, n-220)), at)
	return alert.Event{Version: alert.Version{ID: id, LastModified: at}, Body: []byte(body)}
}

func events(n int) []alert.Event {
	batch := make([]alert.Event, n)
	for i := range batch {
		batch[i] = event(i, 300)
	}
	return batch
}

// lam starts a simulated LAM on the loopback.
func lam(t testing.TB, o publishertest.Options) *publishertest.LAM {
	t.Helper()
	l, err := publishertest.Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// destination starts a destination of cfg.
func destination(t testing.TB, cfg publisher.Config) *publisher.Destination {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "default"
	}
	if cfg.ProbeEvery == 0 {
		cfg.ProbeEvery = time.Hour
	}
	d, err := publisher.New(cfg, hclog.NewNullLogger(), publisher.NewMetrics(prometheus.NewRegistry(), cfg.Name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func to(lams ...*publishertest.LAM) publisher.Config {
	var cfg publisher.Config
	for i, l := range lams {
		cfg.LAMs = append(cfg.LAMs, publisher.LAM{Name: fmt.Sprintf("lam%d", i+1), URL: l.URL()})
	}
	return cfg
}

// count says how many verdicts of each kind there are.
func count(d alert.Delivery) (accepted, refused, pending int) {
	for _, v := range d.Verdicts {
		switch v {
		case alert.Accepted:
			accepted++
		case alert.Refused:
			refused++
		default:
			pending++
		}
	}
	return
}

// check compares the numbers of verdicts, and the rules every Delivery obeys.
func check(t testing.TB, d alert.Delivery, accepted, refused, pending int) {
	t.Helper()
	a, r, p := count(d)
	if a != accepted || r != refused || p != pending {
		t.Errorf("got %d accepted, %d refused, %d pending, want %d, %d, %d (Err: %v)", a, r, p, accepted, refused, pending, d.Err)
	}
	if (d.Err != nil) != (p > 0) {
		t.Errorf("Err is %v with %d pending", d.Err, p)
	}
	if len(d.Refusals) != r {
		t.Errorf("got %d refusals for %d refused events", len(d.Refusals), r)
	}
	for _, f := range d.Refusals {
		if d.Verdicts[f.Index] != alert.Refused {
			t.Errorf("refusal of event %d, whose verdict is %d", f.Index, d.Verdicts[f.Index])
		}
	}
}

// order is the recorded events as indices of event.
func order(l *publishertest.LAM) []int {
	var all []int
	for _, e := range l.Received() {
		id, err := alert.ParseID(e.ExternalID)
		if err != nil {
			panic(err)
		}
		all = append(all, int(id[1])<<16|int(id[14])<<8|int(id[15]))
	}
	return all
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestPublishDeliversABatchInOrder(t *testing.T) {
	l := lam(t, publishertest.Options{Token: `to"k<en>`})
	cfg := to(l)
	cfg.AuthToken = `to"k<en>`
	d := destination(t, cfg)
	batch := events(100)
	check(t, d.Publish(t.Context(), batch), 100, 0, 0)
	if got := order(l); !slices.Equal(got, upTo(100)) {
		t.Errorf("arrived as %v", got)
	}
	if got := l.Received()[7].Body; string(got) != string(batch[7].Body) {
		t.Errorf("the event arrived as %s, want %s", got, batch[7].Body)
	}
	if c := l.Counts(); c.Requests != 1 || c.Duplicates != 0 {
		t.Errorf("got %+v, want one request", c)
	}
	check(t, d.Publish(t.Context(), nil), 0, 0, 0)
	if c := l.Counts(); c.Requests != 1 {
		t.Errorf("an empty batch was posted")
	}
}

func TestPublishKeepsTheHardCap(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 50} {
		l := lam(t, publishertest.Options{})
		cfg := to(l)
		cfg.AuthToken = "secret"
		cfg.MaxPayloadBytes = 1200
		l.Set(publishertest.Faults{Limit: 1200}) // one byte more is a 413
		d := destination(t, cfg)
		check(t, d.Publish(t.Context(), events(n)), n, 0, 0)
		if got := order(l); !slices.Equal(got, upTo(n)) {
			t.Errorf("%d events arrived as %v", n, got)
		}
		if c := l.Counts(); c.ByStatus[413] != 0 {
			t.Errorf("%d requests were above the cap", c.ByStatus[413])
		}
	}
}

// TestOverheadIsWhatTheCallerMustLeave: a batch that just fits by the documented sum is one request.
func TestOverheadIsWhatTheCallerMustLeave(t *testing.T) {
	l := lam(t, publishertest.Options{})
	batch := events(20)
	cfg := to(l)
	cfg.AuthToken = "secret"
	cfg.MaxPayloadBytes = 1000
	cfg.MaxPayloadBytes = destination(t, cfg).Overhead()
	for _, e := range batch {
		cfg.MaxPayloadBytes += len(e.Body) + 1
	}
	check(t, destination(t, cfg).Publish(t.Context(), batch), 20, 0, 0)
	if c := l.Counts(); c.Requests != 1 || c.Bytes > int64(cfg.MaxPayloadBytes) {
		t.Errorf("got %d requests of %d bytes, want one of at most %d", c.Requests, c.Bytes, cfg.MaxPayloadBytes)
	}
}

func TestAnEventAboveTheCapIsRefusedWithoutSendingIt(t *testing.T) {
	l := lam(t, publishertest.Options{})
	cfg := to(l)
	cfg.MaxPayloadBytes = 2000
	d := destination(t, cfg)
	batch := []alert.Event{event(0, 300), event(1, 5000), event(2, 300)}
	got := d.Publish(t.Context(), batch)
	check(t, got, 2, 1, 0)
	if got.Refusals[0].Index != 1 || got.Refusals[0].Status != 413 || !strings.Contains(got.Refusals[0].Answer, "MaxPayloadSizeInMB") || got.Refusals[0].Do != "raise MaxPayloadSizeInMB" {
		t.Errorf("got %+v", got.Refusals[0])
	}
	if got := order(l); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("arrived: %v", got)
	}
}

func TestNewRefusesSettingsThatCannotWork(t *testing.T) {
	for _, c := range []struct {
		what string
		cfg  publisher.Config
		want string
	}{
		{"no LAM", publisher.Config{}, "no LAM is configured"},
		{"no scheme", publisher.Config{LAMs: []publisher.LAM{{Name: "a", URL: "moog:443/x"}}}, "must begin with http:// or https://"},
		{"no host", publisher.Config{LAMs: []publisher.LAM{{Name: "a", URL: "https:///x"}}}, "names no host"},
		{"no URL, with a secret in it", publisher.Config{LAMs: []publisher.LAM{{Name: "a", URL: "https://u:hunter2@h:99999x/"}}}, "not a URL"},
		{"proxy without a port", publisher.Config{LAMs: []publisher.LAM{{Name: "a", URL: "https://h/", ProxyURL: "proxy"}}}, "HOST:PORT"},
		{"no room", publisher.Config{MaxPayloadBytes: 10, LAMs: []publisher.LAM{{Name: "a", URL: "https://h/"}}}, "no room"},
	} {
		_, err := publisher.New(c.cfg, hclog.NewNullLogger(), publisher.NewMetrics(prometheus.NewRegistry()))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", c.what, err)
		}
	}
}

func TestPublishStopsWithItsContext(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(publishertest.Faults{Hang: true})
	d := destination(t, to(l))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan alert.Delivery)
	go func() { done <- d.Publish(ctx, events(3)) }()
	if err := l.WaitUntil(t.Context(), func(c publishertest.Counts, _ int) bool { return c.Requests == 1 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	got := <-done
	check(t, got, 0, 0, 3)
	if got.Err.Err == nil || !strings.Contains(got.Err.Error(), context.Canceled.Error()) {
		t.Errorf("got %v, want the context's error", got.Err)
	}
	if s := d.Status()[0]; s.State == "failing" {
		t.Errorf("our own stop counts as the LAM's fault: %+v", s)
	}
	l.Set(publishertest.Faults{})
	check(t, d.Publish(t.Context(), events(3)), 3, 0, 0)
}

// TestTheBatchMayBeReusedAfterPublish runs into the race detector if the HTTP client still reads.
func TestTheBatchMayBeReusedAfterPublish(t *testing.T) {
	l := lam(t, publishertest.Options{})
	d := destination(t, to(l))
	batch := make([]alert.Event, 40)
	for i := range batch {
		batch[i] = event(i, 20_000)
	}
	for _, f := range []publishertest.Faults{{Status: 503}, {Limit: 1000}, {Status: 401}, {HTMLLogin: true}, {Down: true}} {
		l.Set(f)
		d.Publish(t.Context(), batch)
		for i := range batch {
			for k := range batch[i].Body {
				batch[i].Body[k] ^= 1
			}
			for k := range batch[i].Body {
				batch[i].Body[k] ^= 1
			}
		}
	}
}

func TestMetricsStartAtZeroAndCount(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := publisher.NewMetrics(reg, "default", "other")
	if again := publisher.NewMetrics(reg, "third"); again == nil {
		t.Fatal("a second NewMetrics must go on with the same metrics")
	}
	l := lam(t, publishertest.Options{})
	cfg := to(l)
	cfg.Name, cfg.ProbeEvery = "default", time.Hour
	d, err := publisher.New(cfg, hclog.NewNullLogger(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.Publish(t.Context(), events(5))
	got := gather(t, reg)
	for series, want := range map[string]float64{
		"publish_total default accepted": 1,
		"publish_total default timeout":  0,
		"publish_total other busy":       0,
		"publish_total third tls":        0,
		"publish_bytes_total default":    float64(l.Counts().Bytes),
		"publish_bytes_total other":      0,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s: got %v (there: %v), want %v", series, v, ok, want)
		}
	}
}

// gather maps "name label values" to values of counters.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "scomconnector_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue()
		}
	}
	return all
}
