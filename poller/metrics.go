package poller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the series of all pipelines of a process.
type Metrics struct {
	polls    *prometheus.CounterVec
	pollTime prometheus.Histogram
	alerts   *prometheus.CounterVec
	lag      prometheus.Histogram
	lateness prometheus.Histogram
	offset   prometheus.Gauge
}

// The labels, closed sets. Streams are those that a pipeline may carry.
var (
	metricStreams = []string{"alerts"}
	pollOutcomes  = []string{"ok", "timeout", "transport", "auth", "criteria", "cancelled"}
	// A version is counted once under sent, parked or broken; rows seen again count each time.
	alertOutcomes = []string{"sent", "duplicate", "filtered", "parked", "broken", "older"}
)

// NewMetrics registers the series, all at zero; reg may be nil, which counts for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scomconnector_poll_total", Help: "Polls of a SCOM web console, by outcome."}, []string{"stream", "outcome"}),
		pollTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scomconnector_poll_duration_seconds", Help: "From sending a poll to the last byte of its answer, without the time spent waiting for a LAM.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}}),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scomconnector_alerts_total", Help: "Rows that SCOM has shown, by what became of them."}, []string{"stream", "outcome"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scomconnector_delivery_lag_seconds", Help: "From an alert's lastModified to a LAM's acceptance, by SCOM's clock.",
			Buckets: []float64{.5, 1, 1.5, 2, 2.5, 3, 4, 5, 10, 15, 30, 60, 120, 300, 900, 3600, 14400, 86400}}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scomconnector_lateness_seconds", Help: "From an alert's lastModified to the first answer that showed it, by SCOM's clock, without the time in which nobody asked for it.",
			Buckets: []float64{1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 300, 900}}),
		offset: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "scomconnector_clock_offset_seconds", Help: "This machine's clock less that of the SCOM console which answered last, exact to about a second; 0 before any answer."}),
	}
	for _, stream := range metricStreams {
		for _, o := range pollOutcomes {
			m.polls.WithLabelValues(stream, o)
		}
		for _, o := range alertOutcomes {
			m.alerts.WithLabelValues(stream, o)
		}
	}
	if reg != nil {
		reg.MustRegister(m.polls, m.pollTime, m.alerts, m.lag, m.lateness, m.offset)
	}
	return m
}

// tally is one pipeline's handles, looked up once, since rows are counted one by one.
type tally struct {
	sent, duplicate, filtered, parked, broken, older prometheus.Counter
}

func (m *Metrics) tally(stream string) tally {
	c := func(outcome string) prometheus.Counter { return m.alerts.WithLabelValues(stream, outcome) }
	return tally{c("sent"), c("duplicate"), c("filtered"), c("parked"), c("broken"), c("older")}
}

func (m *Metrics) polled(stream, outcome string, took time.Duration) {
	m.polls.WithLabelValues(stream, outcome).Inc()
	if outcome == "ok" {
		m.pollTime.Observe(took.Seconds())
	}
}
