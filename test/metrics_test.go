package test

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// labels are the values that each label of a series may have; a series without labels has none.
type labels map[string][]string

var (
	streams      = []string{"alerts"}
	destinations = []string{"default"}
	pipelines    = []string{"alerts/default"}
)

// fromTheStart are the series that a node exports before anything has happened: rules and dashboards find
// each of them, at zero, so that a rate is never missing its first event. Each label has a closed set of
// values, all of them there.
var fromTheStart = map[string]labels{
	"poll_total":                      {"stream": streams, "outcome": {"ok", "timeout", "transport", "auth", "criteria", "cancelled"}},
	"poll_duration_seconds":           {},
	"alerts_total":                    {"stream": streams, "outcome": {"sent", "duplicate", "filtered", "parked", "broken", "older"}},
	"delivery_lag_seconds":            {},
	"lateness_seconds":                {},
	"outbox_pending":                  {},
	"outbox_oldest_timestamp_seconds": {},
	"outbox_settled_total":            {"outcome": nil},
	"verdict":                         {"level": {"ok", "degraded", "stopped"}},
	"clock_offset_seconds":            {},
	"disk_free_bytes":                 {},
	"parked":                          {},
	"is_leader":                       {},
	"term":                            {},
	"epoch":                           {},
	"voters":                          {},
	"leader_changes_total":            {},
	"handover_total":                  {"reason": nil, "outcome": {"ok", "failed"}},
	"peer_last_contact_seconds":       {"peer": {"n2", "n3"}},
	"commit_age_seconds":              {},
	"store_write_duration_seconds":    {},
	"config_version":                  {},
	"lease_left_seconds":              {},
	"cert_expiry_timestamp_seconds":   {"certificate": {"api", "cluster", "api-ca", "cluster-ca"}},
	"build_info":                      {"version": nil, "go": nil, "os": nil, "arch": nil},
}

// withTheSettings are those that are named after what the settings name.
var withTheSettings = map[string]labels{
	"publish_total":            {"destination": destinations, "outcome": nil},
	"publish_duration_seconds": {"destination": destinations},
	"publish_bytes_total":      {"destination": destinations},
	"cursor_timestamp_seconds": {"pipeline": pipelines},
}

// withAnEtcd are those of nodes that an etcd coordinates.
var withAnEtcd = map[string]labels{
	"etcd_endpoint_up":    {"endpoint": nil},
	"etcd_database_bytes": {"endpoint": nil},
}

// scrape is one answer of /metrics: series by name without prefix, each the set of its labels, and values.
type scrape struct {
	labels map[string][]map[string]string
	values map[string]float64 // by name and labels, as they stand in the text
	text   string
}

var (
	sampleLine = regexp.MustCompile(`^scomconnector_([a-z_]+?)(_bucket|_sum|_count)?(\{.*\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-z]+)="((?:[^"\\]|\\.)*)"`)
	histogram  = regexp.MustCompile(`(?m)^# TYPE scomconnector_([a-z_]+) histogram$`)
)

func (pr *process) scrape() scrape {
	t := pr.plant.t
	t.Helper()
	code, text, err := pr.get("/metrics")
	if err != nil || code != 200 {
		t.Fatalf("GET /metrics: %d, %v", code, err)
	}
	s := scrape{labels: map[string][]map[string]string{}, values: map[string]float64{}, text: text}
	histograms := map[string]bool{}
	for _, m := range histogram.FindAllStringSubmatch(text, -1) {
		histograms[m[1]] = true
	}
	for line := range strings.Lines(text) {
		m := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		name := m[1] + m[2]
		if m[2] != "" && histograms[m[1]] {
			if name = m[1]; m[2] != "_count" {
				continue
			}
		}
		set := map[string]string{}
		for _, p := range labelPair.FindAllStringSubmatch(m[3], -1) {
			set[p[1]] = p[2]
		}
		s.labels[name] = append(s.labels[name], set)
		var v float64
		fmt.Sscan(m[4], &v)
		s.values[name+m[3]] = v
	}
	return s
}

// check compares what is there with what is promised: names, labels, and for closed sets all their values.
func (s scrape) check(t *testing.T, want map[string]labels) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		series := s.labels[name]
		if len(series) == 0 {
			t.Errorf("no series scomconnector_%s", name)
			continue
		}
		for _, set := range series {
			if got, need := slices.Sorted(maps.Keys(set)), slices.Sorted(maps.Keys(want[name])); !slices.Equal(got, need) {
				t.Errorf("scomconnector_%s has the labels %v, want %v", name, got, need)
			}
		}
		for label, values := range want[name] {
			if values == nil {
				continue
			}
			seen := map[string]bool{}
			for _, set := range series {
				seen[set[label]] = true
			}
			if got, need := slices.Sorted(maps.Keys(seen)), slices.Sorted(slices.Values(values)); !slices.Equal(got, need) {
				t.Errorf("scomconnector_%s has %s %v, want %v", name, label, got, need)
			}
		}
	}
}

// A node without a majority, which can do nothing yet, exports every series that does not hang on the
// settings, all counters at zero; nothing else has a name of ours.
func TestEverySeriesExistsFromTheStart(t *testing.T) {
	p := newPlant(t, plantOptions{nodes: 3})
	node := p.procs[0]
	node.start()
	await(t, "the node serves", 30*time.Second, func() bool { code, _, err := node.get("/healthz"); return err == nil && code == 200 })
	s := node.scrape()
	s.check(t, fromTheStart)
	for series, v := range s.values {
		name, _, _ := strings.Cut(series, "{")
		if strings.HasSuffix(name, "_total") && v != 0 {
			t.Errorf("scomconnector_%s is %v on a node that has done nothing", series, v)
		}
	}
	s.known(t)
}

// known fails for series that no list here names, and for labels that grow with the data.
func (s scrape) known(t *testing.T) {
	t.Helper()
	for name, series := range s.labels {
		_, early := fromTheStart[name]
		_, late := withTheSettings[name]
		_, etcd := withAnEtcd[name]
		if !early && !late && !etcd {
			t.Errorf("scomconnector_%s is on no list of promised series", name)
		}
		if len(series) > 40 {
			t.Errorf("scomconnector_%s has %d series: is a label open?", name, len(series))
		}
	}
}

// Once settings are in use their pipelines and destinations have their series, before anything was sent; and
// alerts that arrive add none.
func TestEverySeriesOfADestinationExistsBeforeTheFirstAlert(t *testing.T) {
	p := newPlant(t, plantOptions{more: `"MinPollCycleTime": 0.5,`})
	node := p.procs[0]
	node.start()
	await(t, "the node leads", 30*time.Second, node.leads)
	await(t, "the first poll", 30*time.Second, func() bool { return node.scrape().values[`poll_total{outcome="ok",stream="alerts"}`] > 0 })
	before := node.scrape()
	before.check(t, withTheSettings)
	for series, v := range before.values {
		if strings.HasPrefix(series, "publish_total{") && v != 0 {
			t.Errorf("scomconnector_%s is %v, and there was no alert", series, v)
		}
	}
	raiseOf741(p.group, 30) // now, not in the past: the first read may be over
	p.awaitAll(60 * time.Second)
	var after scrape
	await(t, "the LAM's answer has been counted", 30*time.Second, func() bool { // the LAM has an event before the node has its answer
		after = node.scrape()
		return after.values[`alerts_total{outcome="sent",stream="alerts"}`] >= 30
	})
	after.known(t)
	if a, b := len(before.values), len(after.values); a != b {
		t.Errorf("%d series before the first alert, %d after it", a, b)
	}
	if after.values[`alerts_total{outcome="sent",stream="alerts"}`] != 30 || after.values[`is_leader`] != 1 {
		t.Errorf("the figures do not count:\n%s", after.text)
	}
}

func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	need(t, err == nil, "promtool")
	p := newPlant(t, plantOptions{})
	p.group.Populate(30, time.Hour)
	node := p.procs[0]
	node.start()
	p.awaitAll(60 * time.Second)
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(node.scrape().text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
