package publisher

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count requests to LAMs; one value serves all destinations of the process.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
}

// NewMetrics registers the metrics and creates the series of the named destinations at zero. Settings
// are applied live, so a second call with the same registry goes on with the same metrics.
func NewMetrics(reg prometheus.Registerer, destinations ...string) *Metrics {
	m := &Metrics{
		requests: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scomconnector_publish_total",
			Help: "Requests to LAMs, by how they ended.",
		}, []string{"destination", "outcome"})),
		seconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "scomconnector_publish_duration_seconds",
			Help:    "Time from sending a request to a LAM to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"destination"})),
		bytes: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scomconnector_publish_bytes_total",
			Help: "Bytes of request bodies that LAMs accepted.",
		}, []string{"destination"})),
	}
	for _, d := range destinations {
		m.declare(d)
	}
	return m
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	if have, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if c, ok := have.ExistingCollector.(C); ok {
			return c
		}
	}
	if err != nil {
		panic(err) // two different metrics of one name: a fault of the program
	}
	return c
}

// declare creates the destination's series.
func (m *Metrics) declare(destination string) {
	for _, l := range labels {
		m.requests.WithLabelValues(destination, string(l))
	}
	m.seconds.WithLabelValues(destination)
	m.bytes.WithLabelValues(destination)
}

func (m *Metrics) observe(destination string, out outcome, size int) {
	m.requests.WithLabelValues(destination, string(out.label)).Inc()
	m.seconds.WithLabelValues(destination).Observe(out.took.Seconds())
	if out.class == accepted {
		m.bytes.WithLabelValues(destination).Add(float64(size))
	}
}
