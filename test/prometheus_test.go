package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/publisher/publishertest"
	"scomconnector/test/freeport"
)

const (
	rulesFile     = "../deploy/prometheus/rules.yaml"
	dashboardFile = "../deploy/grafana/dashboard.json"
)

// alertRule is one of the file, as text: the file is flat, and two tests are no reason for a reader of YAML.
type alertRule struct{ name, text string }

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	b, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []alertRule
	for _, part := range strings.Split(string(b), "\n      - alert: ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		all = append(all, alertRule{strings.TrimSpace(name), text})
	}
	if len(all) < 10 {
		t.Fatalf("only %d rules found: has the file's form changed?", len(all))
	}
	return all
}

// Who is woken learns from the alert itself what is the matter and what to do, and finds its section in the runbook; each has a test.
func TestEveryAlertSaysWhatToDo(t *testing.T) {
	tested, err := os.ReadFile("../deploy/prometheus/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sections := runbookSections(t)
	for _, r := range alertRules(t) {
		for _, part := range []string{`(?m)^        for: \d+[mh]$`, `(?m)^          severity: (critical|warning)$`, `summary: ".{20,120}"`, `description: ".{80,}"`} {
			if !regexp.MustCompile(part).MatchString(r.text) {
				t.Errorf("%s has nothing like %s", r.name, part)
			}
		}
		anchor := strings.ToLower(r.name)
		if want := `runbook_url: "deploy/RUNBOOK.md#` + anchor + `"`; !strings.Contains(r.text, want) {
			t.Errorf("%s has no %s", r.name, want)
		}
		if !slices.Contains(sections, anchor) {
			t.Errorf("deploy/RUNBOOK.md has no section %s", r.name)
		}
		if !regexp.MustCompile(`alertname: ` + r.name + `\n        exp_alerts:\n`).Match(tested) {
			t.Errorf("rules_test.yaml never has %s fire", r.name)
		}
	}
}

// runbookSections are the anchors of the runbook's headings.
func runbookSections(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("../deploy/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	var anchors []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(b), -1) {
		slug := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		anchors = append(anchors, strings.ReplaceAll(slug, " ", "-"))
	}
	return anchors
}

// expressions are all that the dashboard asks for, by panel, with its variables filled in for a short history.
func expressions(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Annotations struct{ List []struct{ Name, Expr string } }
		Panels      []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	fill := strings.NewReplacer("$job", "scomconnector", "$instance", ".*", "$__rate_interval", "10s")
	all := map[string][]string{}
	for _, a := range d.Annotations.List {
		all[a.Name] = append(all[a.Name], fill.Replace(a.Expr))
	}
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			all[p.Title] = append(all[p.Title], fill.Replace(q.Expr))
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d panels found: has the file's form changed?", len(all))
	}
	return all
}

var ourSeries = regexp.MustCompile(`\bscomconnector_[a-z_]+`)

// What rules and panels ask for are series that a node promises, and every promised series is on the dashboard.
func TestRulesAndDashboardAskForWhatThereIs(t *testing.T) {
	shown := map[string]bool{}
	check := func(where, text string) {
		for _, name := range ourSeries.FindAllString(text, -1) {
			name = strings.TrimPrefix(name, "scomconnector_")
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			_, early := fromTheStart[base]
			_, late := withTheSettings[base]
			_, etcd := withAnEtcd[base]
			if !early && !late && !etcd {
				t.Errorf("%s asks for scomconnector_%s, which no node has", where, name)
			}
			shown[base] = true
		}
	}
	for _, r := range alertRules(t) {
		expr, _, _ := strings.Cut(r.text, "        for: ")
		check("the rule "+r.name, expr)
	}
	clear(shown)
	for panel, exprs := range expressions(t) {
		for _, e := range exprs {
			check("the panel "+panel, e)
		}
	}
	for _, list := range []map[string]labels{fromTheStart, withTheSettings, withAnEtcd} {
		for name := range list {
			if !shown[name] {
				t.Errorf("the dashboard does not show scomconnector_%s", name)
			}
		}
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	need(t, err == nil, "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = filepath.Dir(rulesFile)
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("SUCCESS")) {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if n := len(alertRules(t)); n == 0 {
		t.Error("no rules")
	}
}

// watcher is a real Prometheus that scrapes the nodes several times a second.
type watcher struct {
	t   *testing.T
	url string
}

// scraped starts a Prometheus for the plant's nodes, with our rules; none of them waits, since a test does not.
func (p *plant) scraped() *watcher {
	t := p.t.(*testing.T)
	t.Helper()
	program, err := exec.LookPath("prometheus")
	need(t, err == nil, "prometheus")
	rules := string(p.read(rulesFile))
	p.put(p.path("rules.yaml"), regexp.MustCompile(`(?m)^        for: .*$`).ReplaceAllString(rules, "        for: 0s"))
	var targets []string
	for _, pr := range p.procs {
		targets = append(targets, fmt.Sprintf("%q", strings.TrimPrefix(pr.url, "http://")))
	}
	p.put(p.path("prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}
rule_files: [rules.yaml]
scrape_configs:
  - {job_name: scomconnector, scrape_timeout: 250ms, static_configs: [{targets: [%s]}]}
`, strings.Join(targets, ", ")))
	address := freeport.Take(t)
	cmd := exec.Command(program, "--config.file="+p.path("prometheus.yml"), "--storage.tsdb.path="+p.path("tsdb"), "--web.listen-address="+address, "--log.level=warn")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", out.String())
		}
	})
	return &watcher{t, "http://" + address}
}

// point is one element of an answer.
type point struct {
	Metric map[string]string
	Value  [2]any
}

// query is an instant query; ok is false as long as Prometheus does not answer.
func (q *watcher) query(expr string) (all []point, ok bool) {
	q.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		q.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	var a struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return nil, false
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, false
	}
	if a.Status != "success" {
		q.t.Fatalf("%s: %s", expr, a.Error)
	}
	if err := json.Unmarshal(a.Data.Result, &all); err != nil {
		q.t.Fatalf("%s: %v in %s", expr, err, a.Data.Result)
	}
	return all, true
}

// firing are the names of the alerts that fire now.
func (q *watcher) firing() []string {
	all, _ := q.query(`ALERTS{alertstate="firing"}`)
	var names []string
	for _, s := range all {
		names = append(names, s.Metric["alertname"])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// silent are panels that have nothing to show as long as nothing of that kind has happened, or without an etcd.
var silent = []string{"Certificates end in", "Changes of leadership", "Endpoints that can be used", "Leader's lease left", "etcd's database"}

// A real Prometheus scrapes two nodes and the witness: all are up, no series is missing, each panel of the dashboard shows
// something, and nothing fires. Then the LAM breaks, and a machine; the alerts say so, and stop when all is well again.
func TestPrometheusSeesWhatHappens(t *testing.T) {
	t.Parallel()
	p := newPlant(t, plantOptions{nodes: 3, more: `"MinPollCycleTime": 0.5, "LowerTimeoutBound": 0.5, "UpperTimeoutBound": 1,`})
	for _, pr := range p.procs {
		pr.start()
	}
	await(t, "n1 leads", 30*time.Second, p.procs[0].leads)
	q := p.scraped()
	await(t, "three targets are up", 60*time.Second, func() bool { up, _ := q.query(`up == 1`); return len(up) == 3 })
	raiseOf741(p.group, 20)
	p.awaitAll(60 * time.Second)
	for _, list := range []map[string]labels{fromTheStart, withTheSettings} {
		for name := range list {
			await(t, "a series scomconnector_"+name, 30*time.Second, func() bool {
				all, _ := q.query(`{__name__=~"scomconnector_` + name + `(_count)?"}`)
				return len(all) > 0
			})
		}
	}
	for panel, exprs := range expressions(t) {
		for _, e := range exprs {
			if slices.Contains(silent, panel) {
				q.query(e) // it must be understood
				continue
			}
			await(t, panel+" shows "+e, 30*time.Second, func() bool { all, _ := q.query(e); return len(all) > 0 })
		}
	}
	await(t, "nothing fires", 60*time.Second, func() bool { return len(q.firing()) == 0 })

	p.lam.Set(publishertest.Faults{Status: 503})
	raiseOf741(p.group, 1)
	await(t, "ScomconnectorNotDelivering fires", 60*time.Second, func() bool { return slices.Contains(q.firing(), "ScomconnectorNotDelivering") })
	p.lam.Set(publishertest.Faults{})
	await(t, "it ends", 60*time.Second, func() bool { return !slices.Contains(q.firing(), "ScomconnectorNotDelivering") })

	p.procs[2].kill()
	await(t, "the witness is missed", 90*time.Second, func() bool {
		now := q.firing()
		return slices.Contains(now, "ScomconnectorDown") && slices.Contains(now, "ScomconnectorNoRedundancy") && !slices.Contains(now, "ScomconnectorNoLeader")
	})
	p.procs[1].kill()
	await(t, "ScomconnectorNoLeader fires", 90*time.Second, func() bool { return slices.Contains(q.firing(), "ScomconnectorNoLeader") })
}
