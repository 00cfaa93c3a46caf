package normalise

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"scomconnector/poller/alert"
)

// DefaultMaxEventBytes applies where MaxEventBytes is zero. It leaves room for the envelope under the
// default cap of a request body, 1 MiB.
const DefaultMaxEventBytes = 1_000_000

// Config is what an event depends on beside the alert. The zero value of every field but
// ManagementGroup and Cluster is fit for use; with these two empty Compile only checks settings, since
// they are part of signatures.
type Config struct {
	ManagementGroup  string
	Cluster          string // names this connector in the signatures of its own events
	ConnectorAddress string // where moobots call back
	Node             string // NodeID
	// SeverityMap gives Moogsoft's severity, 0-5, of Closed, Information, Warning, Error+Low,
	// Error+Normal, Error+High and Unknown; a missing key has its default.
	SeverityMap map[string]int
	Filter      string            // expression; empty wants all
	Mapping     map[string]string // event field -> expression
	// MaxEventBytes bounds one event; zero is DefaultMaxEventBytes.
	MaxEventBytes int
}

// Fault is what is wrong with one setting. Key is as in the file: "Filter", "Mapping.source",
// "SeverityMap.Closed".
type Fault struct {
	Key string
	Err error
}

func (f *Fault) Error() string { return f.Key + ": " + f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// Normaliser turns alerts into events. It is safe for concurrent use, and its zero value is not for use.
type Normaliser struct {
	cfg       Config
	signature string // what stands before an alert's id in its signature
	severity  severities
	filter    *expression
	mapping   []mapped

	runners sync.Pool // of *runner
	errors  atomic.Uint64
	last    atomic.Pointer[Fault]
}

// Compile checks the settings and makes a Normaliser of them. Its error joins one *Fault for each
// setting that is wrong; FaultsOf takes them apart.
func Compile(cfg Config) (*Normaliser, error) {
	n := &Normaliser{cfg: cfg}
	n.cfg.ManagementGroup = strings.ToValidUTF8(cfg.ManagementGroup, string(utf8.RuneError))
	if n.cfg.MaxEventBytes <= 0 {
		n.cfg.MaxEventBytes = DefaultMaxEventBytes
	}
	n.signature = signaturePrefix(n.cfg.ManagementGroup)
	n.runners.New = func() any { return newRunner() }

	var faults []error
	var fs []error
	if n.severity, fs = compileSeverities(cfg.SeverityMap); len(fs) > 0 {
		faults = append(faults, fs...)
	}
	if strings.TrimSpace(cfg.Filter) != "" {
		x, err := compileFilter(cfg.Filter)
		if err != nil {
			faults = append(faults, &Fault{"Filter", err})
		}
		n.filter = x
	}
	if n.mapping, fs = compileMapping(cfg.Mapping); len(fs) > 0 {
		faults = append(faults, fs...)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return n, nil
}

// FaultsOf takes the error of Compile apart.
func FaultsOf(err error) []*Fault {
	if f, ok := err.(*Fault); ok { //nolint:errorlint // walks the tree itself
		return []*Fault{f}
	}
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // walks the tree itself
	if !ok {
		return nil
	}
	var all []*Fault
	for _, e := range joined.Unwrap() {
		all = append(all, FaultsOf(e)...)
	}
	return all
}

// Wants reports whether the filter wants the alert. A filter that fails wants it: nothing may be lost
// by a mistake in an expression.
func (n *Normaliser) Wants(a *alert.Alert) bool {
	if n.filter == nil {
		return true
	}
	r := n.runners.Get().(*runner)
	defer n.runners.Put(r)
	host, _ := hostOf(a)
	r.load(a, host, n.cfg.ManagementGroup)
	wanted, err := r.wants(n.filter)
	if err != nil {
		n.count("Filter", err)
		return true
	}
	return wanted
}

// Append appends the alert's event, at most MaxEventBytes of JSON. Where it would be longer, its
// longest texts are shortened and named in custom_info.scom.truncated. An error means that even that
// did not help; dst is then returned as it was.
func (n *Normaliser) Append(dst []byte, a *alert.Alert) ([]byte, error) {
	e := n.event(a)
	if n.mapping != nil {
		n.apply(&e, a)
	}
	return n.bounded(dst, &e, a)
}

// AppendOwn appends an event about the connector itself, with the same bound as Append's.
func (n *Normaliser) AppendOwn(dst []byte, o alert.Own) ([]byte, error) {
	cluster := n.cfg.Cluster
	if cluster == "" {
		cluster = n.cfg.ManagementGroup
	}
	key := bounded("scomconnector::" + cluster + "::" + o.Kind)
	e := event{severity: min(max(o.Severity, 0), 5), agentTime: unixSeconds(o.At)}
	e.text = [texts]string{
		signature: key, externalID: key, source: n.cfg.Node, sourceID: n.cfg.Node, manager: "SCOM",
		agent: "scomconnector", agentLocation: n.cfg.ManagementGroup, class: o.Class, typ: o.Class,
		description: o.Description,
	}
	return n.bounded(dst, &e, nil)
}

// Errors counts the expressions that failed at run time; each one left a default in place.
func (n *Normaliser) Errors() uint64 { return n.errors.Load() }

// LastError is the newest of what Errors counts, else nil.
func (n *Normaliser) LastError() error {
	if f := n.last.Load(); f != nil {
		return f
	}
	return nil
}

func (n *Normaliser) count(key string, err error) {
	n.errors.Add(1)
	n.last.Store(&Fault{key, err})
}

// bounded appends e and shortens it if need be.
func (n *Normaliser) bounded(dst []byte, e *event, a *alert.Alert) ([]byte, error) {
	start := len(dst)
	dst = n.encode(dst, e, a)
	size := len(dst) - start
	if size <= n.cfg.MaxEventBytes {
		return dst, nil
	}
	dst, ok := n.shorten(dst[:start], size, *e, a)
	if !ok {
		return dst, fmt.Errorf("event has %d bytes and cannot be shortened to the %d allowed: raise MaxPayloadSizeInMB",
			size, n.cfg.MaxEventBytes)
	}
	return dst, nil
}
