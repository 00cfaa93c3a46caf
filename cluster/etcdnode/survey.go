package etcdnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"scomconnector/cluster"
)

// Survey is what an etcd shows to one who asks for everything that a node will need of it, and changes nothing there.
type Survey struct {
	Fault     string // why nothing could be asked at all; empty: it was
	Endpoints []Seen // in the order of Etcd.Endpoints
	Keys      Keys   // through the first endpoint that works; zero without one
}

// Works reports whether an endpoint can be used.
func (s Survey) Works() bool {
	for _, e := range s.Endpoints {
		if e.Fault == "" {
			return true
		}
	}
	return false
}

// Need is one thing that an endpoint must give. Each needs the one before.
type Need string

// The needs, in the order in which they are looked at.
const (
	LogOn    Need = "log-on"
	Majority Need = "quorum"
	Read     Need = "rights"
	Recent   Need = "version"
)

// Seen is one endpoint.
type Seen struct {
	cluster.Endpoint
	Lacks      Need  // what Fault is about
	LoggedOn   bool  // it has taken the user, or asks for none
	HasLeader  bool  // its etcd has one
	QuotaBytes int64 // of its database; 0: it does not say, as none before 3.6 does
}

// Keys is what the etcd shows of our keys, and of itself as a whole.
type Keys struct {
	Fault  string // why they cannot be read and written, or that they are another cluster's; empty: all is well
	Unread bool   // what follows is not known
	Exist  bool   // a node has made them
	// Leader is the NodeID of who holds the leader's lease, which would last for LeaseLeft; empty: nobody.
	Leader     string
	LeaseLeft  time.Duration
	Compaction Compaction
	Members    int // of the etcd; 0: it does not say
}

// Compaction is what can be seen of whether old revisions are dropped; the setting itself is not shown to clients.
type Compaction int

// What can be seen.
const (
	Unseen  Compaction = iota // it is too young to tell
	Dropped                   // it has dropped some
	Never                     // it has many, and never dropped any
)

// uncompacted is how many revisions an etcd may have kept from its beginning before that is taken for missing compaction: some hours
// of ours.
const uncompacted = 10_000

// Look asks all endpoints at the same time.
func Look(ctx context.Context, cfg Config) Survey {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Survey{Fault: err.Error()}
	}
	c := &client{cfg: cfg, prefix: cfg.Prefix, looks: true, stop: func() {}}
	defer c.Close() //nolint:errcheck // it was asked what there was to ask
	s := Survey{Endpoints: make([]Seen, len(cfg.Endpoints))}
	var wg sync.WaitGroup
	for i, u := range cfg.Endpoints {
		e := &endpoint{url: u}
		c.ends = append(c.ends, e)
		wg.Go(func() { s.Endpoints[i] = c.look(ctx, e) })
	}
	wg.Wait()
	for i, e := range s.Endpoints {
		if e.Fault == "" {
			s.Keys = c.lookAtKeys(ctx, c.ends[i].cl.Load())
			break
		}
	}
	return s
}

// look asks one endpoint how it is, and for one linearizable read of our own: a member without a majority answers the first.
func (c *client) look(ctx context.Context, e *endpoint) Seen {
	s := Seen{Endpoint: cluster.Endpoint{URL: e.url}}
	ctx, cancel := context.WithTimeout(ctx, 2*attemptTime)
	defer cancel()
	fail := func(err error) Seen {
		s.Fault, s.Lacks = c.explain(ctx, e.url, err), lack(err, c.cfg)
		if s.Fault == asksCertificate {
			s.Lacks = LogOn
		}
		return s
	}
	began := time.Now()
	cl, err := c.open(ctx, e)
	s.LoggedOn = err == nil && c.cfg.User != ""
	if err == nil {
		if _, err = cl.Get(ctx, c.prefix+keyCluster); err != nil && c.cfg.User != "" && isTransport(err) {
			e.forget(cl)
		}
	}
	s.Took = time.Since(began)
	if err != nil {
		return fail(err)
	}
	s.LoggedOn = true
	st, err := cl.Status(ctx, e.url)
	if err != nil {
		return fail(err)
	}
	s.Version, s.Leader, s.HasLeader = st.Version, st.Leader == st.Header.MemberId, st.Leader != 0
	s.SizeBytes, s.QuotaBytes = st.DbSize, st.DbSizeQuota
	s.Alarm = strings.Join(st.Errors, "; ")
	if st.Header.Revision >= uncompacted && c.compaction(ctx, cl, st.Header.Revision) == Never {
		s.Warning = notCompacted
	}
	if err := checkVersion(st.Version); err != nil {
		s.Fault, s.Lacks = err.Error(), Recent
	}
	return s
}

// lack is what is missing where a call has failed.
func lack(err error, cfg Config) Need {
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied) && cfg.User != "":
		return Read
	case errors.Is(err, errPassword), errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthFailed),
		errors.Is(err, rpctypes.ErrAuthNotEnabled), errors.Is(err, rpctypes.ErrInvalidAuthToken):
		return LogOn
	}
	return Majority
}

// lookAtKeys looks at what a working endpoint shows of the etcd as a whole.
func (c *client) lookAtKeys(ctx context.Context, cl *clientv3.Client) (k Keys) {
	ctx, cancel := context.WithTimeout(ctx, 3*attemptTime)
	defer cancel()
	// The condition never holds, and the right to write is asked for all the same.
	never := clientv3.Compare(clientv3.CreateRevision(c.prefix+keyCommit), "=", math.MaxInt64)
	reads := []clientv3.Op{clientv3.OpGet(c.prefix + keyCluster), clientv3.OpGet(c.prefix + keyLeader)}
	r, err := cl.Txn(ctx).If(never).Then(clientv3.OpPut(c.prefix+keyCommit, "")).Else(reads...).Commit()
	if err != nil {
		k.Fault = cmp.Or(explainAnswer(err, c.cfg), err.Error())
		if r, err = cl.Txn(ctx).If(never).Else(reads...).Commit(); err != nil { // what may not be written may be read
			k.Unread = true
			return k
		}
	}
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		k.Exist = true
		k.Fault = cmp.Or(k.Fault, c.strange(decodeValue[clusterValue](&keyValue{Value: kvs[0].Value})))
	}
	if kvs := r.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		k.Leader = decodeValue[leaderValue](&keyValue{Value: kvs[0].Value}).Node
		if left, err := cl.TimeToLive(ctx, clientv3.LeaseID(kvs[0].Lease)); err == nil {
			k.LeaseLeft = time.Duration(left.TTL) * time.Second
		}
	}
	k.Compaction = c.compaction(ctx, cl, r.Header.Revision)
	if m, err := cl.MemberList(ctx); err == nil {
		k.Members = len(m.Members)
	}
	return k
}

// strange says that the keys are another cluster's; empty: they are ours, or may be.
func (c *client) strange(v clusterValue) string {
	id, err := loadIdentity(c.cfg.DataDir, c.cfg.NodeID)
	n := &Node{cfg: c.cfg}
	switch {
	case err != nil:
		return err.Error()
	case id.ClusterID != "" && id.ClusterID != v.ID:
		return fmt.Sprintf("the keys that begin with %s belong to another cluster than this node: correct Etcd.Prefix or Etcd.Endpoints, or delete %s, if that was left from another cluster", c.cfg.Prefix, identityPath(c.cfg.DataDir))
	case id.ClusterID == "" && n.strangers(v.Members):
		return fmt.Sprintf("the keys that begin with %s belong to another cluster, whose members are %v: give this one an Etcd.Prefix of its own", c.cfg.Prefix, v.Members)
	}
	return ""
}

func (c *client) compaction(ctx context.Context, cl *clientv3.Client, revision int64) Compaction {
	_, err := cl.Get(ctx, c.prefix+keyCluster, clientv3.WithRev(2))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return Dropped
	case err == nil && revision >= uncompacted:
		return Never
	}
	return Unseen
}
