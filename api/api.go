package api

import (
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	v1 "scomconnector/api/v1"
)

// Config is what an operator may set.
type Config struct {
	ReadToken string         // empty: reading is open
	Location  *time.Location // the zone shown beside UTC; nil: the machine's
}

// Deps are what the answers are made of. All functions may be called concurrently, must not block, and
// what they return is the handler's to keep.
type Deps struct {
	Status   func() v1.Status
	Ready    func() []string // why this node cannot take a close request; empty: it can
	Leader   func() bool     // this node polls
	Gatherer prometheus.Gatherer
}

// Limits of a request. Nothing that is served here reads a body yet; what comes anyway is cut off.
const (
	maxBodyBytes   = 64 << 10
	maxHeaderBytes = 16 << 10
	// A scrape gathers every series; more than a few at a time are a mistake in someone's settings.
	maxScrapes = 4
)

// New is the handler of one node's whole HTTP surface.
func New(cfg Config, deps Deps) http.Handler {
	s := &server{cfg: cfg, deps: deps, page: newPage(cfg.Location), token: newToken(cfg.ReadToken)}
	metrics := promhttp.HandlerFor(deps.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: 10 * time.Second})

	return guarded(routes(s, metrics))
}

// routes is what openapi.yaml describes.
func routes(s *server, metrics http.Handler) *mux.Router {
	// Doubled slashes never redirect: moobots join addresses carelessly and do not follow.
	r := mux.NewRouter().SkipClean(true)
	r.NotFoundHandler = http.HandlerFunc(notFound)
	r.MethodNotAllowedHandler = http.HandlerFunc(methodNotAllowed)
	get := func(path string, h http.Handler) { r.Handle(path, h).Methods(http.MethodGet, http.MethodHead) }
	get("/healthz", http.HandlerFunc(s.healthz))
	get("/readyz", http.HandlerFunc(s.readyz))
	get("/leader", http.HandlerFunc(s.leader))
	get("/metrics", s.reading(metrics))
	get("/api/v1/status", s.reading(http.HandlerFunc(s.status)))
	get("/", s.reading(http.HandlerFunc(s.statusPage)))
	return r
}

// Server is an http.Server with the limits that a stranger's connection needs. The caller sets ErrorLog
// and TLSConfig, and shuts it down.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second, // longer than any answer that waits for something
		IdleTimeout:       2 * time.Minute,  // two scrapes of Prometheus' default interval
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

type server struct {
	cfg   Config
	deps  Deps
	page  *page
	token token
}

func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	answerText(w, http.StatusOK, "alive")
}

func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	reasons := s.deps.Ready()
	if len(reasons) == 0 {
		answerText(w, http.StatusOK, "ready")
		return
	}
	if !s.token.allows(r) {
		reasons = []string{"not ready"}
	}
	answerText(w, http.StatusServiceUnavailable, reasons...)
}

func (s *server) leader(w http.ResponseWriter, _ *http.Request) {
	if s.deps.Leader() {
		answerText(w, http.StatusOK, "leader")
		return
	}
	answerText(w, http.StatusServiceUnavailable, "not the leader")
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, filled(s.deps.Status()))
}

// filled has an empty list wherever there is none: who reads JSON iterates without asking for null.
func filled(s v1.Status) v1.Status {
	fill(&s.Pipelines)
	fill(&s.SCOM)
	fill(&s.LAMs)
	fill(&s.Members)
	fill(&s.Parked.Newest)
	fill(&s.Maintenance)
	fill(&s.Changes)
	fill(&s.Warnings)
	return s
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
