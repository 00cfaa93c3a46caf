package daemon

import (
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
)

// gauges exports what the cluster and the replicated state know, read at each scrape so that no
// copy can go stale. Counters here are process-local, as all series of this program.
type gauges struct {
	node *node
}

var (
	descIsLeader     = desc("is_leader", "1 while this node's term is running.")
	descTerm         = desc("term", "Term of the newest token this node knows.")
	descEpoch        = desc("epoch", "Epoch of the newest token this node knows.")
	descVoters       = desc("voters", "Members that have a vote.")
	descChanges      = desc("leader_changes_total", "Changes of leadership this node has seen since it started.")
	descPeer         = desc("peer_last_contact_seconds", "Age of the last contact with the member; NaN without any.", "peer")
	descCommitAge    = desc("commit_age_seconds", "Age of the newest command this node has applied; NaN without any since the start.")
	descConfig       = desc("config_version", "Version of the cluster-wide settings in use.")
	descParked       = desc("parked", "Entries refused for good and waiting for a person.")
	descOldest       = desc("outbox_oldest_timestamp_seconds", "When the oldest close request that is not settled was accepted, as seconds since 1970; 0 without any.")
	descVerdict      = desc("verdict", "1 for the level that the first line of the page has, 0 for the others.", "level")
	descDisk         = desc("disk_free_bytes", "What this process may still write where DataDir is; NaN if that cannot be told.")
	descOutbox       = desc("outbox_pending", "Accepted close requests not yet settled.")
	descBuild        = desc("build_info", "Always 1; the labels say what runs.", "version", "go", "os", "arch")
	descCursor       = desc("cursor_timestamp_seconds", "SCOM's time up to which the pipeline has delivered, as seconds since 1970.", "pipeline")
	descCertExpiry   = desc("cert_expiry_timestamp_seconds", "When a certificate of this node or the authority of the others ends, the first of a file, as seconds since 1970; 0 where none is set up, NaN if its file cannot be read.", "certificate")
	descLease        = desc("lease_left_seconds", "Until this node, which leads, stops unless its lease in etcd is renewed; 0 otherwise, and with Coordination raft.")
	descEtcdUp       = desc("etcd_endpoint_up", "1 while the endpoint of the etcd can be used. Only with Coordination etcd.", "endpoint")
	descEtcdSize     = desc("etcd_database_bytes", "Size of the database of that member of the etcd. Only with Coordination etcd.", "endpoint")
	handoverReasons  = []string{"transfer", "maintenance", "stop", "failback", "work", "witness"}
	handoverOutcomes = []string{"ok", "failed"}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("scomconnector_"+name, help, labels, nil)
}

func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descIsLeader, descTerm, descEpoch, descVoters, descChanges, descPeer,
		descCommitAge, descConfig, descParked, descOutbox, descOldest, descVerdict, descDisk, descBuild, descCursor, descCertExpiry, descLease, descEtcdUp, descEtcdSize} {
		ch <- d
	}
}

func (g gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	view, health := g.node.coord.View(), g.node.coord.Health()
	gauge(descIsLeader, boolean(view.Leading))
	gauge(descTerm, float64(view.Token.Term))
	gauge(descEpoch, float64(view.Token.Epoch.Number))
	gauge(descVoters, float64(health.Voters))
	gauge(descLease, health.Lease.Left.Seconds())
	for _, e := range health.Endpoints {
		gauge(descEtcdUp, boolean(e.Fault == ""), e.URL)
		gauge(descEtcdSize, float64(e.SizeBytes), e.URL)
	}
	ch <- prometheus.MustNewConstMetric(descChanges, prometheus.CounterValue, float64(g.node.leaderChanges.Load()))
	for _, m := range view.Members {
		if m.NodeID != view.NodeID {
			gauge(descPeer, age(m.LastContact), m.NodeID)
		}
	}
	gauge(descCommitAge, age(health.LastCommit))
	version := view.State.Config().Version
	gauge(descConfig, float64(version))
	parked := len(view.State.ParkedRequests())
	cursors := g.node.newCursors(version)
	for _, p := range view.State.Pipelines() {
		parked += p.ParkedNow
		cursors[p.Name] = seconds(p.Cursor.Time())
	}
	for name, at := range cursors {
		gauge(descCursor, at, name)
	}
	gauge(descParked, float64(parked))
	pending, _, oldest := view.State.OutboxInfo()
	gauge(descOutbox, float64(pending))
	gauge(descOldest, seconds(oldest))
	level := g.node.status().Verdict.Level
	for _, l := range []v1.Level{v1.OK, v1.Degraded, v1.Stopped} {
		gauge(descVerdict, boolean(l == level), string(l))
	}
	gauge(descDisk, diskFree(g.node.opts.Node.DataDir))
	gauge(descCertExpiry, expiry(g.node.opts.Node.Tls.CertFile), "api")
	gauge(descCertExpiry, expiry(g.node.opts.Node.ClusterTls.CertFile), "cluster")
	gauge(descCertExpiry, expiry(g.node.opts.Node.Tls.CaFile), "api-ca")
	gauge(descCertExpiry, expiry(g.node.opts.Node.ClusterTls.CaFile), "cluster-ca")
	gauge(descBuild, 1, g.node.opts.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// newCursors are those of the settings in use, none of which has moved yet.
func (n *node) newCursors(version uint64) map[string]float64 {
	all := map[string]float64{}
	if version == 0 {
		return all
	}
	if cfg, err := n.settingsOf(version); err == nil {
		for _, name := range destinationNames(cfg) {
			all[pipelineName(name)] = 0
		}
	}
	return all
}

// expiry reads the file at each scrape, since a renewed one is used without a restart.
func expiry(path string) float64 {
	if path == "" {
		return 0
	}
	end, err := firstEnd(path)
	if err != nil {
		return math.NaN()
	}
	return float64(end.Unix())
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func age(t time.Time) float64 {
	if t.IsZero() {
		return math.NaN()
	}
	return time.Since(t).Seconds()
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// countHandover counts one that this node made or tried; see raftnode.Config.
func (n *node) countHandover(cause cluster.Cause, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	if slices.Contains(handoverReasons, string(cause)) { // the label's values are a closed set
		n.handovers.WithLabelValues(string(cause), outcome).Inc()
	}
}

// newHandovers counts planned hand-overs of leadership by this node, all series at zero.
func newHandovers(reg prometheus.Registerer) *prometheus.CounterVec {
	handovers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scomconnector_handover_total", Help: "Planned hand-overs of leadership, by reason and outcome."}, []string{"reason", "outcome"})
	for _, r := range handoverReasons {
		for _, o := range handoverOutcomes {
			handovers.WithLabelValues(r, o)
		}
	}
	reg.MustRegister(handovers)
	return handovers
}
