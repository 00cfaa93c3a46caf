package etcdnode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"scomconnector/cluster"
)

const (
	// attemptTime bounds one call to one endpoint, before the next one is tried: what a healthy etcd takes, many times.
	attemptTime = 1500 * time.Millisecond
	// connectTime bounds one attempt at a connection, and redialMax the pause before the next: an etcd that comes back after a night is
	// used again within a second, where gRPC would have it wait for up to two minutes.
	connectTime = 3 * time.Second
	redialMax   = time.Second
	// healthEvery is how often each endpoint is asked how it is.
	healthEvery = 3 * time.Second
)

// client is an etcd of one or more endpoints. It has a connection to each and keeps to the one that worked last: the balancer of the
// library would go on giving every third call to an endpoint whose packets vanish, and notices that after ten seconds at the earliest.
type client struct {
	cfg    Config
	log    hclog.Logger
	prefix string
	ends   []*endpoint
	first  atomic.Int32 // index of the endpoint that is tried first
	looks  bool         // it only looks, also at an etcd that is too old
	stop   context.CancelFunc
	wg     sync.WaitGroup // the watch over the endpoints' health
}

type endpoint struct {
	url string
	cl  atomic.Pointer[clientv3.Client] // nil until it could be made, which may take a log-on

	mu   sync.Mutex // guards what follows
	last cluster.Endpoint
}

func newClient(cfg Config, log hclog.Logger) *client {
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{cfg: cfg, log: log, prefix: cfg.Prefix, stop: cancel}
	for _, u := range cfg.Endpoints {
		c.ends = append(c.ends, &endpoint{url: u, last: cluster.Endpoint{URL: u, Fault: notAsked}})
	}
	for _, e := range c.ends {
		c.wg.Go(func() { c.watchHealth(ctx, e) })
	}
	return c
}

func (c *client) Close() error {
	c.stop()
	c.wg.Wait()
	var errs []error
	for _, e := range c.ends {
		if cl := e.cl.Load(); cl != nil {
			errs = append(errs, cl.Close())
		}
	}
	return errors.Join(errs...)
}

// open is the connection to an endpoint; making one logs on where there is a user, and refuses an etcd that is too old.
func (c *client) open(ctx context.Context, e *endpoint) (*clientv3.Client, error) {
	if cl := e.cl.Load(); cl != nil {
		return cl, nil
	}
	cfg := clientv3.Config{
		Endpoints: []string{e.url}, DialTimeout: attemptTime, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		MaxCallSendMsgSize: 4 << 20, Logger: zap.NewNop(), Username: c.cfg.User, Context: context.Background(),
		DialOptions: []grpc.DialOption{redial()},
	}
	if strings.HasPrefix(e.url, "https:") {
		var err error
		if cfg.TLS, err = c.tls(); err != nil {
			return nil, err
		}
	}
	if c.cfg.User != "" {
		password, err := c.cfg.Password()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errPassword, err)
		}
		cfg.Password = password
	}
	type made struct {
		cl  *clientv3.Client
		err error
	}
	done := make(chan made, 1)
	go func() { // a log-on heeds DialTimeout, and no context
		cl, err := clientv3.New(cfg)
		if err == nil && !c.looks {
			if err = refuseOld(ctx, cl, e.url); err != nil {
				cl.Close() //nolint:errcheck // it is of no use
				cl = nil
			}
		}
		done <- made{cl, err}
	}()
	select {
	case m := <-done:
		if m.err != nil {
			return nil, m.err
		}
		for !e.cl.CompareAndSwap(nil, m.cl) {
			if cl := e.cl.Load(); cl != nil { // another call was faster
				m.cl.Close() //nolint:errcheck // it was never used
				return cl, nil
			}
		}
		return m.cl, nil
	case <-ctx.Done():
		go func() {
			if m := <-done; m.cl != nil {
				m.cl.Close() //nolint:errcheck // nobody waits for it any more
			}
		}()
		return nil, ctx.Err()
	}
}

func redial() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: redialMax / 4, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialMax},
		MinConnectTimeout: connectTime,
	})
}

// forget ends the connection, so that the next one logs on anew. The library does that with the token that etcd has forgotten, is refused,
// and goes on so until the call's time is over.
func (e *endpoint) forget(cl *clientv3.Client) {
	if e.cl.CompareAndSwap(cl, nil) {
		go cl.Close() //nolint:errcheck // it is of no use any more
	}
}

func (c *client) tls() (*tls.Config, error) {
	if c.cfg.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	return c.cfg.TLS()
}

// try calls f with one endpoint after the other, each for attemptTime, until one gives an answer, if only a refusal. A write that was
// perhaps carried out must not be tried again by this: once is for those.
func try[T any](ctx context.Context, c *client, once bool, f func(context.Context, *clientv3.Client) (T, error)) (T, error) {
	var zero T
	var last error
	start := int(c.first.Load())
	for i := range c.ends {
		at := (start + i) % len(c.ends)
		e := c.ends[at]
		each := attemptTime
		if end, ok := ctx.Deadline(); ok && !once { // each has its turn
			each = min(each, time.Until(end)/time.Duration(len(c.ends)-i))
		}
		actx, cancel := context.WithTimeout(ctx, each)
		cl, err := c.open(actx, e)
		if err != nil {
			cancel()
			last = err
			c.first.CompareAndSwap(int32(at), int32((at+1)%len(c.ends)))
			continue
		}
		v, err := f(actx, cl)
		cancel()
		if err == nil || !isTransport(err) {
			return v, translate(err)
		}
		last = err
		c.first.CompareAndSwap(int32(at), int32((at+1)%len(c.ends)))
		if ctx.Err() != nil || once {
			break
		}
	}
	return zero, translate(last)
}

// isTransport reports whether another endpoint may answer where this one did not.
func isTransport(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	var ee rpctypes.EtcdError
	if errors.As(err, &ee) {
		return ee.Code() == codes.Unavailable || ee.Code() == codes.DeadlineExceeded || ee.Code() == codes.Unauthenticated
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal:
		return true
	}
	return false
}

func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrCompacted):
		return errCompacted
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return errNoLease
	}
	return err
}

func (c *client) Txn(ctx context.Context, when []cond, then, orElse []op) (outcome, error) {
	reads := len(then) == 0 || then[0].kind == opGet
	r, err := try(ctx, c, !reads, func(ctx context.Context, cl *clientv3.Client) (*clientv3.TxnResponse, error) {
		var ifs []clientv3.Cmp
		for _, w := range when {
			if w.create {
				ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(c.prefix+w.key), "=", w.revision))
			} else {
				ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(c.prefix+w.key), "=", w.revision))
			}
		}
		return cl.Txn(ctx).If(ifs...).Then(c.ops(then)...).Else(c.ops(orElse)...).Commit()
	})
	if err != nil {
		return outcome{}, err
	}
	out := outcome{OK: r.Succeeded, Revision: r.Header.Revision}
	for _, res := range r.Responses {
		rng := res.GetResponseRange()
		if rng == nil {
			continue
		}
		if len(rng.Kvs) == 0 {
			out.Found = append(out.Found, nil)
			continue
		}
		k := rng.Kvs[0]
		out.Found = append(out.Found, &keyValue{Key: strings.TrimPrefix(string(k.Key), c.prefix), Value: k.Value, Create: k.CreateRevision, Mod: k.ModRevision, Lease: k.Lease})
	}
	return out, nil
}

func (c *client) ops(list []op) []clientv3.Op {
	var out []clientv3.Op
	for _, o := range list {
		key := c.prefix + o.key
		switch o.kind {
		case opPut:
			if o.lease != 0 {
				out = append(out, clientv3.OpPut(key, string(o.value), clientv3.WithLease(clientv3.LeaseID(o.lease))))
			} else {
				out = append(out, clientv3.OpPut(key, string(o.value)))
			}
		case opGet:
			out = append(out, clientv3.OpGet(key))
		case opDelete:
			out = append(out, clientv3.OpDelete(key))
		case opDeleteAll:
			out = append(out, clientv3.OpDelete(key, clientv3.WithPrefix()))
		case opDeleteUpTo:
			out = append(out, clientv3.OpDelete(key, clientv3.WithRange(c.prefix+o.to)))
		}
	}
	return out
}

func (c *client) Page(ctx context.Context, prefix, after string, limit int, revision int64) (page, error) {
	r, err := try(ctx, c, false, func(ctx context.Context, cl *clientv3.Client) (*clientv3.GetResponse, error) {
		from := c.prefix + prefix
		opts := []clientv3.OpOption{
			clientv3.WithRange(clientv3.GetPrefixRangeEnd(c.prefix + prefix)), clientv3.WithLimit(int64(limit)), clientv3.WithRev(revision),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend),
		}
		if after != "" {
			from = c.prefix + after + "\x00"
		}
		return cl.Get(ctx, from, opts...)
	})
	if err != nil {
		return page{}, err
	}
	p := page{More: r.More, Revision: r.Header.Revision}
	for _, k := range r.Kvs {
		p.Items = append(p.Items, keyValue{Key: strings.TrimPrefix(string(k.Key), c.prefix), Value: k.Value, Create: k.CreateRevision, Mod: k.ModRevision, Lease: k.Lease})
	}
	return p, nil
}

func (c *client) Watch(ctx context.Context, prefix string, from int64) <-chan news {
	out := make(chan news)
	go func() { // ends with ctx, or with the watch
		defer close(out)
		send := func(n news) bool {
			select {
			case out <- n:
				return true
			case <-ctx.Done():
				return false
			}
		}
		at := c.first.Load()
		octx, cancel := context.WithTimeout(ctx, attemptTime)
		cl, err := c.open(octx, c.ends[at])
		cancel()
		if err != nil {
			c.first.CompareAndSwap(at, (at+1)%int32(len(c.ends)))
			send(news{Err: translate(err)})
			return
		}
		wctx, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
		defer stop()
		go c.leaveWith(wctx, at, stop)
		for r := range cl.Watch(wctx, c.prefix+prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
			if err := r.Err(); err != nil {
				send(news{Err: translate(err)})
				return
			}
			n := news{}
			for _, e := range r.Events {
				n.Events = append(n.Events, event{
					keyValue: keyValue{Key: strings.TrimPrefix(string(e.Kv.Key), c.prefix), Value: e.Kv.Value, Create: e.Kv.CreateRevision, Mod: e.Kv.ModRevision, Lease: e.Kv.Lease},
					Deleted:  e.Type == clientv3.EventTypeDelete,
				})
			}
			if !send(n) {
				return
			}
		}
		send(news{Err: errors.New("the watch has ended")})
	}()
	return out
}

// leaveWith ends a watch once calls go to another endpoint than its own: the library would wait for that one for ever, in silence.
func (c *client) leaveWith(ctx context.Context, at int32, stop func()) {
	for pause(ctx, leaveEvery) {
		if c.first.Load() != at {
			stop()
			return
		}
	}
}

// leaveEvery is how often that is looked at.
const leaveEvery = 100 * time.Millisecond

func (c *client) Grant(ctx context.Context, ttl time.Duration) (int64, time.Duration, error) {
	r, err := try(ctx, c, false, func(ctx context.Context, cl *clientv3.Client) (*clientv3.LeaseGrantResponse, error) {
		return cl.Grant(ctx, int64(ttl/time.Second))
	})
	if err != nil {
		return 0, 0, err
	}
	return int64(r.ID), time.Duration(r.TTL) * time.Second, nil
}

func (c *client) KeepAlive(ctx context.Context, id int64) (time.Duration, error) {
	r, err := try(ctx, c, false, func(ctx context.Context, cl *clientv3.Client) (*clientv3.LeaseKeepAliveResponse, error) {
		return cl.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	})
	if err != nil {
		return 0, err
	}
	if r.TTL <= 0 {
		return 0, errNoLease
	}
	return time.Duration(r.TTL) * time.Second, nil
}

func (c *client) Left(ctx context.Context, id int64) (time.Duration, error) {
	r, err := try(ctx, c, false, func(ctx context.Context, cl *clientv3.Client) (*clientv3.LeaseTimeToLiveResponse, error) {
		return cl.TimeToLive(ctx, clientv3.LeaseID(id))
	})
	if err != nil {
		return 0, err
	}
	if r.TTL < 0 { // 0: it ends within a second
		return 0, errNoLease
	}
	return time.Duration(r.TTL) * time.Second, nil
}

func (c *client) Revoke(ctx context.Context, id int64) error {
	_, err := try(ctx, c, false, func(ctx context.Context, cl *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
		return cl.Revoke(ctx, clientv3.LeaseID(id))
	})
	return err
}

// Endpoints implements kv.
func (c *client) Endpoints() []cluster.Endpoint {
	var all []cluster.Endpoint
	for _, e := range c.ends {
		e.mu.Lock()
		all = append(all, e.last)
		e.mu.Unlock()
	}
	return all
}

func (c *client) watchHealth(ctx context.Context, e *endpoint) {
	for {
		seen := c.look(ctx, e)
		now := seen.Endpoint
		if ctx.Err() != nil {
			return
		}
		e.mu.Lock()
		before := e.last
		e.last = now
		e.mu.Unlock()
		c.tell(before, now)
		wait := healthEvery
		if seen.Lacks == LogOn {
			wait = refusedPause
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// errPassword: where the password is kept, it cannot be had.
var errPassword = errors.New("the password of Etcd.User")

// tell logs what has changed for the worse with an endpoint, and when it works again.
func (c *client) tell(before, now cluster.Endpoint) {
	if now.Fault != "" && now.Fault != before.Fault {
		c.log.Warn("an endpoint of etcd cannot be used", "endpoint", now.URL, "reason", now.Fault)
	}
	if now.Fault == "" && before.Fault != "" && before.Fault != notAsked {
		c.log.Info("an endpoint of etcd can be used again", "endpoint", now.URL)
	}
	if now.Warning != "" && now.Warning != before.Warning {
		c.log.Warn("etcd wants to be looked after", "endpoint", now.URL, "reason", now.Warning)
	}
	if now.Alarm != "" && now.Alarm != before.Alarm {
		c.log.Warn("etcd complains", "endpoint", now.URL, "reason", now.Alarm)
	}
}

func hostOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return endpoint
}

// notAsked is an endpoint's fault before its first answer.
const notAsked = "not asked yet"
