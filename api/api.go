package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	v1 "scomconnector/api/v1"
)

// Config is what an operator may set.
type Config struct {
	ReadToken     Secret         // nil: reading is open
	OperatorToken Secret         // nil: who may write must sit at the machine
	CallbackToken Secret         // nil: close requests are open, as the original's were
	Location      *time.Location // the zone shown beside UTC; nil: the machine's
	// Addresses are those of this machine; nil: net.InterfaceAddrs.
	Addresses func() ([]net.Addr, error)
}

// Secret is a token as it is now, never empty. It is asked for with each request, and calls may overlap.
type Secret func() string

// Deps are what the answers are made of. All functions may be called concurrently, must not block, and
// what they return is the handler's to keep.
type Deps struct {
	Status   func() v1.Status
	Alive    func() []string // why this process cannot do its part, whatever the others do; empty: it can
	Ready    func() []string // why this node cannot take a close request; empty: it can
	Leader   func() bool     // this node polls
	Gatherer prometheus.Gatherer
	Settings Settings
	Parked   Parked
	Cursors  Cursors
	Office   Office
	Closes   Submitter
	Levels   Levels
	// Vanished tells the pipelines that the alerts which SCOM does not show any more are really gone; it
	// returns how many they hold back for that word. ErrElsewhere, wrapped, on a node that does not poll.
	Vanished func() (int, error)
	Names    func() []string // hosts by which this node is known to others, without ports
	Log      hclog.Logger    // gets the audit of all writes
}

// Limits of a request.
const (
	// The settings are the largest body: 60 KiB, since they travel as one command of the replicated log. A close request's
	// description may be long, and is not kept.
	maxBodyBytes   = 64 << 10
	maxHeaderBytes = 16 << 10
	// A scrape gathers every series; more than a few at a time are a mistake in someone's settings.
	maxScrapes = 4
)

// New is the handler of one node's whole HTTP surface.
func New(cfg Config, deps Deps) http.Handler {
	s := &server{
		deps: deps, page: newPage(cfg.Location), readers: token{cfg.ReadToken}, operators: token{cfg.OperatorToken},
		callers: token{cfg.CallbackToken}, audit: &audit{log: deps.Log}, addresses: cfg.Addresses, codes: newCodes(),
		strangers: newStrangers(), taking: make(chan struct{}, maxTaking), waiting: make(chan struct{}, maxWaiting),
		listeners: make(chan struct{}, maxListeners),
	}
	if s.addresses == nil {
		s.addresses = net.InterfaceAddrs
	}
	metrics := promhttp.HandlerFor(deps.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: 10 * time.Second})

	return guarded(eventPostAnySlash(routes(s, metrics)))
}

// routes is what openapi.yaml describes.
func routes(s *server, metrics http.Handler) *mux.Router {
	// Doubled slashes never redirect: moobots join addresses carelessly and do not follow.
	r := mux.NewRouter().SkipClean(true)
	r.NotFoundHandler = http.HandlerFunc(notFound)
	r.MethodNotAllowedHandler = methodNotAllowed(r)
	get := func(path string, h http.Handler) { r.Handle(path, h).Methods(http.MethodGet, http.MethodHead) }
	get("/healthz", http.HandlerFunc(s.healthz))
	get("/readyz", http.HandlerFunc(s.readyz))
	get("/leader", http.HandlerFunc(s.leader))
	get("/metrics", s.reading(metrics))
	get("/api/v1/status", s.reading(http.HandlerFunc(s.status)))
	get("/api/v1/config", s.reading(http.HandlerFunc(s.config)))
	get("/api/v1/config/versions", s.reading(http.HandlerFunc(s.configVersions)))
	get("/api/v1/parked", s.reading(http.HandlerFunc(s.parked)))
	get(parkedPath, s.reading(http.HandlerFunc(s.parkedEntry)))
	get("/api/v1/outbox", s.reading(http.HandlerFunc(s.outbox)))
	get("/api/v1/parked-requests", s.reading(http.HandlerFunc(s.parkedRequests)))
	get("/api/v1/cursors", s.reading(http.HandlerFunc(s.cursors)))
	get("/api/v1/members", s.reading(http.HandlerFunc(s.members)))
	get("/api/v1/loglevel", s.reading(http.HandlerFunc(s.logLevel)))
	get("/api/v1/maintenance", s.reading(http.HandlerFunc(s.maintenance)))
	get("/", s.reading(http.HandlerFunc(s.statusPage)))
	get("/page.js", s.reading(http.HandlerFunc(s.pageScript)))
	get("/settings", s.reading(http.HandlerFunc(s.settingsPage)))
	get("/maintenance", s.reading(http.HandlerFunc(s.maintenancePage)))
	get("/act/{act}", s.reading(http.HandlerFunc(s.actPage)))
	get("/api/v1/events", s.reading(http.HandlerFunc(s.events)))
	r.Handle(eventPost, http.HandlerFunc(s.close)).Methods(http.MethodPost)
	r.Handle("/api/v1/parked-requests/{id}/retry", s.writing(writeDeadline, s.retryRequest)).Methods(http.MethodPost)
	r.Handle("/api/v1/parked-requests/{id}", s.writing(writeDeadline, s.discardRequest)).Methods(http.MethodDelete)
	r.Handle("/api/v1/config", s.writing(writeDeadline, s.applyConfig)).Methods(http.MethodPut)
	r.Handle(parkedPath+"/retry", s.writing(resendDeadline, s.retryParked)).Methods(http.MethodPost)
	r.Handle(parkedPath, s.writing(writeDeadline, s.removeParked)).Methods(http.MethodDelete)
	r.Handle("/api/v1/cursors/rewind", s.writing(writeDeadline, s.rewind)).Methods(http.MethodPost)
	r.Handle("/api/v1/reconcile/confirm", s.writing(writeDeadline, s.confirmVanished)).Methods(http.MethodPost)
	r.Handle("/api/v1/maintenance", s.writing(writeDeadline, ordered(s.maintain))).Methods(http.MethodPost)
	r.Handle("/api/v1/transfer", s.writing(writeDeadline, ordered(s.transferTo))).Methods(http.MethodPost)
	r.Handle("/api/v1/takeover", s.writing(takeoverDeadline, ordered(s.takeOver))).Methods(http.MethodPost)
	r.Handle("/api/v1/loglevel", s.writing(writeDeadline, s.setLogLevel)).Methods(http.MethodPut, http.MethodPost)
	r.Handle("/api/v1/members/{id}", s.writing(writeDeadline, s.removeMember)).Methods(http.MethodDelete)
	r.Handle("/maintenance", http.HandlerFunc(s.maintenanceForm)).Methods(http.MethodPost)
	r.Handle("/act/{act}", http.HandlerFunc(s.actForm)).Methods(http.MethodPost)
	return r
}

// parkedPath is one entry: a pipeline's name has a slash in it, a key has none.
const parkedPath = "/api/v1/parked/{pipeline:.+}/{key}"

// methodNotAllowed names what the address takes instead.
func methodNotAllowed(r *mux.Router) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := *req
			other.Method = method
			var match mux.RouteMatch
			if r.Match(&other, &match) && match.MatchErr == nil {
				w.Header().Add("Allow", method)
			}
		}
		turnAway(w, req, errMethod)
	})
}

// Server is an http.Server with the limits that a stranger's connection needs. The caller sets ErrorLog
// and TLSConfig, and shuts it down. Then those who wait for SCOM's verdict are told that it is not known yet, instead of
// having their connection cut.
func Server(h http.Handler) *http.Server {
	closing, shut := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second, // longer than any answer that waits for something; close requests see to it themselves
		IdleTimeout:       2 * time.Minute,  // two scrapes of Prometheus' default interval
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), closingKey{}, closing)
		},
	}
	srv.RegisterOnShutdown(shut)
	return srv
}

// closingKey is where a request's context holds the one that ends when the server is shut down.
type closingKey struct{}

type server struct {
	deps      Deps
	page      *page
	readers   token
	operators token
	callers   token
	strangers *strangers
	taking    chan struct{} // a place for each close request that is being submitted
	waiting   chan struct{} // a place for each that waits for SCOM's verdict
	audit     *audit
	codes     *codes
	listeners chan struct{} // a place for each who follows the events
	live      live
	addresses func() ([]net.Addr, error)
}

func (s *server) confirmVanished(*http.Request, string) (done, error) {
	held, err := s.deps.Vanished()
	if err != nil {
		return done{}, err
	}
	return done{body: v1.Vanished{Vanished: held}, what: "reconcile: vanished alerts confirmed as gone"}, nil
}

func (s *server) healthz(w http.ResponseWriter, r *http.Request) {
	s.probe(w, r, "alive", s.deps.Alive())
}

func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	s.probe(w, r, "ready", s.deps.Ready())
}

// probe answers with the word where nothing speaks against it, else with the reasons, to whom may know them.
func (s *server) probe(w http.ResponseWriter, r *http.Request, word string, reasons []string) {
	if len(reasons) == 0 {
		answerText(w, http.StatusOK, word)
		return
	}
	if !s.mayRead(r) {
		reasons = []string{"not " + word}
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
	fill(&s.Refused.Requests)
	fill(&s.Outbox.Entries)
	fill(&s.Outbox.Settled)
	fill(&s.Config.Versions)
	fill(&s.Certificates)
	fill(&s.Maintenance)
	fill(&s.Changes)
	fill(&s.Takeover.Warnings)
	fill(&s.Notes)
	fill(&s.Archives)
	fill(&s.Warnings)
	return s
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
