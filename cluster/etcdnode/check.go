package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"math"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Finding is one thing that Check has found, in an operator's words.
type Finding struct {
	Endpoint string // empty: it is about the etcd as a whole
	Text     string
	Fatal    bool // it must be mended first
}

const (
	// uncompacted is how many revisions an etcd may have kept from its beginning before that is taken for missing compaction: some hours
	// of ours.
	uncompacted = 10_000
	// largeDatabase is half of etcd's default quota, beyond which it takes no writes at all.
	largeDatabase = 1 << 30
)

// Check asks the etcd everything that a node will need of it, and changes nothing there. Without findings all is well; each endpoint that
// works is named in working.
func Check(ctx context.Context, cfg Config) (findings []Finding, working []string) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return []Finding{{Text: err.Error(), Fatal: true}}, nil
	}
	c := &client{cfg: cfg, prefix: cfg.Prefix, stop: func() {}}
	defer c.Close() //nolint:errcheck // it was asked what there was to ask
	add := func(endpoint string, fatal bool, format string, args ...any) {
		findings = append(findings, Finding{endpoint, fmt.Sprintf(format, args...), fatal})
	}
	var last *endpoint
	for _, u := range cfg.Endpoints {
		e := &endpoint{url: u}
		c.ends = append(c.ends, e)
		h := c.health(ctx, e)
		if h.Fault != "" {
			add(u, false, "%s", h.Fault)
			continue
		}
		working, last = append(working, fmt.Sprintf("%s (etcd %s, %.1f ms)", u, h.Version, float64(h.Took.Microseconds())/1000)), e
		if h.Alarm != "" {
			add(u, false, "it complains: %s", h.Alarm)
		}
		if h.SizeBytes > largeDatabase {
			add(u, false, "its database has %d MB, and at its quota (2 GB unless set) it takes no writes: compact and defragment it", h.SizeBytes>>20)
		}
	}
	if last == nil {
		for i := range findings {
			findings[i].Fatal = true
		}
		return findings, nil
	}
	c.checkKeys(ctx, last.cl.Load(), add)
	return findings, working
}

// checkKeys looks at what a working endpoint shows of the etcd as a whole.
func (c *client) checkKeys(ctx context.Context, cl *clientv3.Client, add func(endpoint string, fatal bool, format string, args ...any)) {
	ctx, cancel := context.WithTimeout(ctx, 3*attemptTime)
	defer cancel()
	// The condition never holds, and the right to write is asked for all the same.
	never := clientv3.Compare(clientv3.CreateRevision(c.prefix+keyCommit), "=", math.MaxInt64)
	r, err := cl.Txn(ctx).If(never).Then(clientv3.OpPut(c.prefix+keyCommit, "")).Else(clientv3.OpGet(c.prefix + keyCluster)).Commit()
	if err != nil {
		if words := explainAnswer(err, c.cfg); words != "" {
			err = errors.New(words)
		}
		add("", true, "%v", err)
		return
	}
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		v := decodeValue[clusterValue](&keyValue{Value: kvs[0].Value})
		id, err := loadIdentity(c.cfg.DataDir, c.cfg.NodeID)
		n := &Node{cfg: c.cfg}
		switch {
		case err != nil:
			add("", true, "%v", err)
		case id.ClusterID != "" && id.ClusterID != v.ID:
			add("", true, "the keys that begin with %s belong to another cluster than this node", c.cfg.Prefix)
		case id.ClusterID == "" && n.strangers(v.Members):
			add("", true, "the keys that begin with %s belong to another cluster, whose members are %v: give this one an Etcd.Prefix of its own", c.cfg.Prefix, v.Members)
		}
	}
	if c.neverCompacted(ctx, cl, r.Header.Revision) {
		add("", true, "%s", notCompacted)
	}
	if m, err := cl.MemberList(ctx); err == nil && len(m.Members) < 3 {
		add("", false, "it has %d %s: with fewer than three it stops when one machine is lost, and this cluster with it", len(m.Members), map[bool]string{true: "member", false: "members"}[len(m.Members) == 1])
	}
}

func (c *client) neverCompacted(ctx context.Context, cl *clientv3.Client, revision int64) bool {
	if revision < uncompacted {
		return false
	}
	_, err := cl.Get(ctx, c.prefix+keyCluster, clientv3.WithRev(2))
	return err == nil
}

// notCompacted: the client's interface does not show the setting, but that nothing was ever dropped.
const notCompacted = "it has never dropped an old revision: turn on auto-compaction (--auto-compaction-mode=periodic --auto-compaction-retention=1h), or its database grows until it takes no writes"
