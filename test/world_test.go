package test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster/raftnode"
	"scomconnector/cmd/daemon"
	"scomconnector/cmd/journal"
	"scomconnector/cmd/settings"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
	"scomconnector/test/logbuf"
	"scomconnector/test/pipenet"
)

// world is a whole site in a synctest bubble: simulated consoles and LAMs, and real daemons on a
// network and disks in memory. Hours pass in milliseconds.
type world struct {
	t        *testing.T
	net      *pipenet.Net
	group    *scomtest.Group
	consoles []*scomtest.Console
	lams     []*publishertest.LAM
	disks    map[string]*raftnode.Memory
	broken   map[string]*atomic.Bool // disks whose writes fail
	running  map[string]*running
	members  []string // NodeIDs; the first is the Primary, a third one is the witness
	more     string   // further keys of the cluster's settings
	node     string   // further keys of each node.json
	password string   // reference to SCOM's password
	auth     string   // how to log on to SCOM; empty: as is the default
	log      *logbuf.Buffer
	level    string      // of the log; empty: INFO
	severed  [][2]string // links of nodes to consoles and LAMs
}

type running struct {
	cancel context.CancelFunc
	done   chan error
}

// site says what a world consists of.
type site struct {
	nodes    int // 1, 2 or 3
	consoles int
	lams     int
	scom     scomtest.Options
	console  scomtest.ConsoleOptions
	lam      publishertest.Options
	password string // reference to SCOM's password; empty: the right one
	windows  bool   // the consoles are in Windows mode, and drop every third connection in the middle of its log-on
	settings string // further keys, such as `"Filter": "..."`; each with a comma behind it
	node     string // the same of each node.json, such as `"PairTakeover": "operator",`
}

// inWorld runs f in a bubble with the daemons already started. Worlds run beside each other: none looks at a real clock, and none has
// anything in common with another.
func inWorld(t *testing.T, s site, f func(w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, s)
		defer w.close()
		for _, id := range w.members {
			w.start(id)
		}
		f(w)
	})
}

func newWorld(t *testing.T, s site) *world {
	s.nodes, s.consoles, s.lams = max(s.nodes, 1), max(s.consoles, 1), max(s.lams, 1)
	auth := ""
	if s.windows {
		auth = "windows"
		if s.console.NTLM == nil {
			s.console.NTLM = &scomtest.NTLMOptions{DropEvery: 3}
		}
	}
	w := &world{
		auth: auth, t: t, net: pipenet.New(), group: scomtest.New(s.scom), more: s.settings, node: s.node,
		disks: map[string]*raftnode.Memory{}, broken: map[string]*atomic.Bool{}, running: map[string]*running{}, log: &logbuf.Buffer{},
		password: cmp.Or(s.password, "plain:"+scomtest.DefaultAccount.Password),
		members:  []string{"primary", "secondary", "witness"}[:s.nodes],
	}
	for i := range s.consoles {
		c := w.group.Console(s.console)
		ln, err := w.net.Listen(fmt.Sprintf("scom%d:80", i+1))
		if err != nil {
			t.Fatal(err)
		}
		c.Serve(ln)
		w.consoles = append(w.consoles, c)
	}
	for i := range s.lams {
		l := publishertest.New(s.lam)
		ln, err := w.net.Listen(fmt.Sprintf("lam%d:80", i+1))
		if err != nil {
			t.Fatal(err)
		}
		l.Serve(ln)
		w.lams = append(w.lams, l)
	}
	for _, id := range w.members {
		w.disks[id], w.broken[id] = raftnode.NewMemory(), &atomic.Bool{}
	}
	return w
}

func (w *world) close() {
	for _, l := range w.severed {
		w.net.Heal(l[0], l[1])
	}
	for id := range w.running {
		w.stop(id)
	}
	for _, c := range w.consoles {
		c.Close()
	}
	for _, l := range w.lams {
		l.Close()
	}
	if w.t.Failed() {
		w.t.Logf("the nodes' log:\n%s", w.log)
	}
}

func (w *world) nodeText(id string) string {
	roles := map[string]string{"primary": "Primary", "secondary": "Secondary", "witness": "Witness"}
	var members []string
	for _, m := range w.members {
		members = append(members, fmt.Sprintf(`{"NodeID": %q, "Role": %q, "ClusterAddress": "%s:8086", "Url": "http://%[3]s:8085"}`, m, roles[m], host(m)))
	}
	return fmt.Sprintf(`{"NodeID": %q, "Role": %q, "ListenAddress": "%s:8085", "AdvertiseUrl": "http://%[3]s:8085",
		"ClusterAddress": "%[3]s:8086", "DataDir": "unused", %s "Members": [%s]}`, id, roles[id], host(id), w.node, strings.Join(members, ","))
}

func (w *world) clusterText() string {
	var scom, moog []string
	more := ""
	if w.auth != "" {
		more = fmt.Sprintf(`, "Auth": %q`, w.auth)
	}
	for i := range w.consoles {
		scom = append(scom, fmt.Sprintf(`{"ScomAddressHost": "scom%d", "Url": "http://scom%[1]d:80/OperationsManager", "Domain": "CONTOSO", "UserId": "svc-moogsoft", "Password": %q, "Priority": %[1]d%[3]s}`, i+1, w.password, more))
	}
	for i := range w.lams {
		moog = append(moog, fmt.Sprintf(`{"MoogUrl": "http://lam%d:80/events/scom", "MoogAddressDisplay": "lam%[1]d"}`, i+1))
	}
	return fmt.Sprintf(`{"ScomServers": [%s], "MoogServers": [%s], %s "ConnectorName": "test"}`, strings.Join(scom, ","), strings.Join(moog, ","), w.more)
}

// host is the node's address on the network in memory: loopback ones, since nodes on several machines need certificates.
func host(id string) string {
	return map[string]string{"primary": "127.0.0.1", "secondary": "127.0.0.2", "witness": "127.0.0.3"}[id]
}

// cut and heal unplug and join two nodes.
func (w *world) cut(a, b string)  { w.net.Cut(host(a), host(b)) }
func (w *world) heal(a, b string) { w.net.Heal(host(a), host(b)) }

// sever unplugs a node from a console or a LAM until restore, or the end of the test: what hangs would outlive the bubble.
func (w *world) sever(id, server string) {
	w.severed = append(w.severed, [2]string{host(id), server})
	w.net.Cut(host(id), server)
}

func (w *world) restore(id, server string) { w.net.Heal(host(id), server) }

// start runs a daemon as cmd/scomconnector does, from files' texts.
func (w *world) start(id string) {
	w.t.Helper()
	node, faults := settings.ParseNode("node.json", []byte(w.nodeText(id)), "/")
	if err := faults.Err(); err != nil {
		w.t.Fatal(err)
	}
	api, err := w.net.Listen(host(id) + ":8085")
	if err != nil {
		w.t.Fatal(err)
	}
	port, err := w.net.Listen(host(id) + ":8086")
	if err != nil {
		w.t.Fatal(err)
	}
	opts := daemon.Options{
		Node: node, ClusterFile: "SCOMConnectorConfig.json", Version: "test", Listener: api, ClusterListener: port,
		Dial: w.net.Dialer(host(id)), Memory: w.disks[id],
		BeforeWrite: func(string) error {
			if w.broken[id].Load() {
				return errors.New("input/output error")
			}
			return nil
		},
	}
	w.logsInto(&opts, id)
	if id != "witness" {
		opts.ClusterText = []byte(w.clusterText())
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, done: make(chan error, 1)}
	w.running[id] = r
	go func() { r.done <- daemon.Run(ctx, opts) }()
}

// logsInto has a node log as the program does.
func (w *world) logsInto(opts *daemon.Options, id string) {
	w.t.Helper()
	j, err := journal.Open(journal.Config{Level: w.level}, w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	opts.Log, opts.Audit, opts.Levels = j.Logger().Named(id), j.Audit().Named(id), j
}

// breakDisk has a node's writes fail, and waits until it has given up.
func (w *world) breakDisk(id string) {
	w.t.Helper()
	w.broken[id].Store(true)
	if err := <-w.running[id].done; err == nil || !strings.Contains(err.Error(), "input/output error") {
		w.t.Errorf("%s ended with %v, want the disk's error", id, err)
	}
	delete(w.running, id)
}

// stop ends a daemon in good order.
func (w *world) stop(id string) {
	w.t.Helper()
	r := w.running[id]
	delete(w.running, id)
	start := time.Now()
	r.cancel()
	if err := <-r.done; err != nil {
		w.t.Errorf("%s ended with: %v", id, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		w.t.Errorf("%s took %v to stop, want at most 10 s", id, took)
	}
}

// status asks a node over HTTP.
func (w *world) status(id string) v1.Status {
	w.t.Helper()
	body := w.get(id, "/api/v1/status")
	var s v1.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		w.t.Fatalf("status of %s: %v in %s", id, err, body)
	}
	return s
}

func (w *world) get(id, path string) string {
	w.t.Helper()
	tr := &http.Transport{DialContext: w.net.Dialer("operator"), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get("http://" + host(id) + ":8085" + path)
	if err != nil {
		w.t.Fatalf("GET %s of %s: %v", path, id, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("GET %s of %s: %v", path, id, err)
	}
	return string(b)
}

// pass lets simulated time pass.
func (w *world) pass(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// await lets time pass until cond holds, for at most so long.
func (w *world) await(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %v: %s", limit, what)
		}
		w.pass(100 * time.Millisecond)
	}
}

// raise makes n alerts of one agent each.
func (w *world) raise(n int) []string {
	alerts := make([]scomtest.Alert, n)
	for i := range alerts {
		host := fmt.Sprintf("srv%03d.contoso.com", i)
		alerts[i] = scomtest.Alert{
			Name: "Health Service Heartbeat Failure", Description: "The System Center Management Health Service on " + host + " failed to heartbeat.",
			Severity: scomtest.Error, Priority: 1, Category: "StateCollection", PrincipalName: host, ObjectDisplayName: host, IsMonitorAlert: true,
		}
	}
	return w.group.RaiseAll(alerts)
}

// undelivered lists what the LAMs together have not got: the last state of each alert that SCOM
// shows, and every version that a completely read answer showed.
func (w *world) undelivered() []string {
	type key struct {
		id    string
		at    int64
		state int
	}
	got := map[key]bool{}
	latest := map[string]key{}
	for _, l := range w.lams {
		for _, e := range l.Received() {
			at, err := time.Parse(time.RFC3339Nano, e.LastModified)
			if err != nil {
				continue // an own event
			}
			k := key{e.ExternalID, at.UnixMilli(), e.ResolutionState}
			got[k] = true
			if k.at >= latest[k.id].at {
				latest[k.id] = k
			}
		}
	}
	var missing []string
	for _, a := range w.group.Snapshot() {
		k := key{strings.ToLower(a.ID), a.LastModified.UnixMilli(), a.ResolutionState}
		if a.Broken == scomtest.Whole && !got[k] {
			missing = append(missing, fmt.Sprintf("last state of %s: %v, state %d", a.ID, a.LastModified, a.ResolutionState))
		}
	}
	for _, v := range w.group.Confirmed() {
		if !got[key{strings.ToLower(v.ID), v.LastModified.UnixMilli(), v.State}] {
			missing = append(missing, fmt.Sprintf("version of %s that a whole answer showed: %v, state %d", v.ID, v.LastModified, v.State))
		}
	}
	return missing
}

// awaitDelivered waits until nothing is missing.
func (w *world) awaitDelivered(limit time.Duration) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		missing := w.undelivered()
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("after %v %d are missing, such as %s", limit, len(missing), strings.Join(missing[:min(3, len(missing))], "; "))
		}
		w.pass(time.Second)
	}
}

// duplicates is how many events any LAM has got more than once.
func (w *world) duplicates() int {
	n := 0
	for _, l := range w.lams {
		n += l.Counts().Duplicates
	}
	return n
}

// own lists the self-alerts of a kind that a LAM has got, as severities.
func (w *world) own(kind string) []int {
	var all []int
	for _, l := range w.lams {
		for _, e := range l.Received() {
			if strings.HasSuffix(e.ExternalID, "::"+kind) && strings.HasPrefix(e.ExternalID, "scomconnector::") {
				all = append(all, e.Severity)
			}
		}
	}
	return all
}

// leader is the node that leads now, by its own word; empty if none does.
func (w *world) leader() string {
	for _, id := range w.members {
		if w.leads(id) {
			return id
		}
	}
	return ""
}
