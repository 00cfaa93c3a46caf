package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
	"scomconnector/test/etcdrig"
)

// etcdSim answers as an etcd does whose keys one node has made.
type etcdSim struct {
	pb.UnimplementedKVServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedClusterServer
	pb.UnimplementedLeaseServer
	pb.UnimplementedAuthServer
	version, alarm string
	size, quota    int64
	members        int
	revision       int64
	oldest         int64 // what is older was dropped
	keys           map[string]string
	refusal        error // of all that has to do with keys
	writes         error // of transactions
	logOn          error
	changed        atomic.Int64
}

func healthyEtcd() *etcdSim {
	return &etcdSim{version: "3.6.4", size: 10 << 20, quota: 8 << 30, members: 3, revision: 50_000, oldest: 40_000, keys: map[string]string{
		"/scomconnector/cluster": `{"id":"c1","format":1,"members":["primary %s"]}`,
		"/scomconnector/leader":  `{"node":"primary","process":"p1"}`,
	}}
}

func (s *etcdSim) head() *pb.ResponseHeader {
	return &pb.ResponseHeader{MemberId: 7, Revision: s.revision}
}

func (s *etcdSim) found(key string) *pb.RangeResponse {
	r := &pb.RangeResponse{Header: s.head()}
	if v, is := s.keys[key]; is {
		r.Kvs = []*mvccpb.KeyValue{{Key: []byte(key), Value: []byte(v), Lease: 9}}
	}
	return r
}

func (s *etcdSim) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if s.refusal != nil {
		return nil, s.refusal
	}
	if r.Revision > 0 && r.Revision < s.oldest {
		return nil, rpctypes.ErrGRPCCompacted
	}
	return s.found(string(r.Key)), nil
}

func (s *etcdSim) Txn(_ context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if s.writes != nil && len(r.Success) > 0 {
		return nil, s.writes
	}
	if len(r.Compare) != 1 || r.Compare[0].GetCreateRevision() < s.revision {
		s.changed.Add(1) // the condition might hold
	}
	out := &pb.TxnResponse{Header: s.head()}
	for _, o := range r.Failure {
		out.Responses = append(out.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: s.found(string(o.GetRequestRange().Key))}})
	}
	return out, nil
}

func (s *etcdSim) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	r := &pb.StatusResponse{Header: s.head(), Version: s.version, Leader: 7, DbSize: s.size, DbSizeQuota: s.quota}
	if s.alarm != "" {
		r.Errors = []string{s.alarm}
	}
	return r, nil
}

func (s *etcdSim) MemberList(context.Context, *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	return &pb.MemberListResponse{Header: s.head(), Members: make([]*pb.Member, s.members)}, nil
}

func (s *etcdSim) LeaseTimeToLive(context.Context, *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	return &pb.LeaseTimeToLiveResponse{Header: s.head(), ID: 9, TTL: 4, GrantedTTL: 5}, nil
}

func (s *etcdSim) Authenticate(context.Context, *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	return &pb.AuthenticateResponse{Header: s.head(), Token: "t"}, s.logOn
}

// serveEtcd starts it on a port of its own.
func (w *ward) serveEtcd(s *etcdSim) string {
	return "http://" + w.serveEtcdWith(s)
}

func (w *ward) serveEtcdWith(s *etcdSim, opt ...grpc.ServerOption) (address string) {
	ln := w.listen()
	g := grpc.NewServer(opt...)
	pb.RegisterKVServer(g, s)
	pb.RegisterMaintenanceServer(g, s)
	pb.RegisterClusterServer(g, s)
	pb.RegisterLeaseServer(g, s)
	pb.RegisterAuthServer(g, s)
	done := make(chan struct{})
	go func() { defer close(done); g.Serve(ln) }() //nolint:errcheck // it ends with the test
	w.t.Cleanup(func() { g.Stop(); <-done })
	return ln.Addr().String()
}

// onEtcd has the ward's node coordinate by these endpoints.
func (w *ward) onEtcd(more string, urls ...string) {
	w.node = fmt.Sprintf(`{ "NodeID": "primary", "Role": "Primary", "ListenAddress": %q, "AdvertiseUrl": "http://127.0.0.1:1", "ClusterAddress": "127.0.0.1:2", "DataDir": "data",
		"Coordination": "etcd", "Etcd": {%s "Endpoints": ["%s"]},
		"Members": [{"NodeID": "primary", "Role": "Primary", "ClusterAddress": "127.0.0.1:2", "Url": "http://127.0.0.1:1"}] }`, closedPort(w.t), more, strings.Join(urls, `", "`))
}

// Each fault of an etcd shows at its own hop, and what stands behind it is not tried.
func TestEtcdFaultsShowAtTheirHops(t *testing.T) {
	const user = `"User": "scom", "Password": "plain:x",`
	for _, c := range []struct {
		name, more string
		fault      func(s *etcdSim)
		step       string // {end} is the endpoint
		want       Result
		says       string
		skips      string
		fine       bool
	}{
		{name: "quorum", step: "{end} quorum", want: OK, says: "a majority answers", fine: true},
		{name: "no TLS", step: "{end} tls", want: Warning, says: "read and change the keys", fine: true},
		{name: "no user", step: "{end} log-on", want: OK, says: "no Etcd.User", fine: true},
		{name: "rights", step: "{end} rights", want: OK, says: "/scomconnector/ may be read", fine: true},
		{name: "version", step: "{end} version", want: OK, says: "3.6.4", fine: true},
		{name: "database", step: "{end} database", want: OK, says: "10 MiB of its quota (8192 MB)", fine: true},
		{name: "keys", step: "keys", want: OK, says: "this cluster's", fine: true},
		{name: "members", step: "members", want: OK, says: "3", fine: true},
		{name: "compacts", step: "compaction", want: OK, says: "dropped old revisions", fine: true},
		{name: "lease", step: "lease", want: OK, says: "primary leads, for 4s more", fine: true},
		{name: "a user", more: user, step: "{end} log-on", want: OK, says: "as scom", fine: true},

		{name: "wrong password", more: user, fault: func(s *etcdSim) { s.logOn = rpctypes.ErrGRPCAuthFailed }, step: "{end} log-on", want: Fail, says: `refuses user "scom"`, skips: "{end} quorum"},
		{name: "user missing", fault: func(s *etcdSim) { s.refusal = rpctypes.ErrGRPCUserEmpty }, step: "{end} log-on", want: Fail, says: "asks for a user", skips: "{end} rights"},
		{name: "may not read", more: user, fault: func(s *etcdSim) { s.refusal = rpctypes.ErrGRPCPermissionDenied }, step: "{end} rights", want: Fail, says: "may not read", skips: "{end} database"},
		{name: "no majority", fault: func(s *etcdSim) { s.refusal = rpctypes.ErrGRPCNoLeader }, step: "{end} quorum", want: Fail, says: "no majority", skips: "lease"},
		{name: "may not write", more: user, fault: func(s *etcdSim) { s.writes = rpctypes.ErrGRPCPermissionDenied }, step: "keys", want: Fail, says: "may not read and write"},
		{name: "old", fault: func(s *etcdSim) { s.version = "3.3.27" }, step: "{end} version", want: Fail, says: "3.3.27", skips: "keys"},
		{name: "large", fault: func(s *etcdSim) { s.quota, s.size = 0, 3<<29 }, step: "{end} database", want: Warning, says: "1.5 GiB of its quota (2 GB unless set)", fine: true},
		{name: "full", fault: func(s *etcdSim) { s.alarm = "memberID:7 alarm:NOSPACE" }, step: "{end} database", want: Fail, says: "10 MiB: it is full, and takes no writes"},
		{name: "full, the lease", fault: func(s *etcdSim) { s.writes = rpctypes.ErrGRPCNoSpace }, step: "lease", want: OK, says: "primary leads, for 4s more"},
		{name: "full, the keys", fault: func(s *etcdSim) { s.writes = rpctypes.ErrGRPCNoSpace }, step: "keys", want: Fail, says: "takes no writes"},
		{name: "full, nobody leads", fault: func(s *etcdSim) { s.writes = rpctypes.ErrGRPCNoSpace; delete(s.keys, "/scomconnector/leader") }, step: "lease", want: Warning, says: "nobody holds"},
		{name: "one member", fault: func(s *etcdSim) { s.members = 1 }, step: "members", want: Warning, says: "when one machine is lost", fine: true},
		{name: "never compacted", fault: func(s *etcdSim) { s.oldest = 0 }, step: "compaction", want: Fail, says: "never dropped"},
		{name: "young", fault: func(s *etcdSim) { s.oldest, s.revision = 0, 40 }, step: "compaction", want: NotTried, says: "too young", fine: true},
		{name: "nobody leads", fault: func(s *etcdSim) { delete(s.keys, "/scomconnector/leader") }, step: "lease", want: Warning, says: "nobody holds", fine: true},
		{name: "new", fault: func(s *etcdSim) { s.keys = nil }, step: "lease", want: NotTried, says: "no node has run", fine: true},
		{name: "a stranger's", fault: func(s *etcdSim) { s.keys["/scomconnector/cluster"] = `{"id":"c2","members":["other 10.0.0.1:1"]}` }, step: "keys", want: Fail, says: "another cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, scomtest.Options{}, publishertest.Options{})
			s := healthyEtcd()
			if c.fault != nil {
				c.fault(s)
			}
			if v, is := s.keys["/scomconnector/cluster"]; is && strings.Contains(v, "%s") {
				s.keys["/scomconnector/cluster"] = fmt.Sprintf(v, "127.0.0.1:2")
			}
			end := w.serveEtcd(s)
			w.onEtcd(c.more, end)
			r := w.examine()
			w.must(r, "etcd "+strings.ReplaceAll(c.step, "{end}", end), c.want, c.says)
			if c.skips != "" {
				w.must(r, "etcd "+strings.ReplaceAll(c.skips, "{end}", end), NotTried, "")
			}
			if r.OK != c.fine {
				t.Errorf("it says %v: %s", r.OK, r.Text)
			}
			if n := s.changed.Load(); n > 0 {
				t.Errorf("%d transactions could have changed something", n)
			}
		})
	}
}

// The certificate is shown with its days, a stranger's is refused, and a server that asks for ours says so as the log-on.
func TestEtcdBehindTLS(t *testing.T) {
	for _, c := range []struct {
		name, more string
		asks       tls.ClientAuthType
		step       string
		want       Result
		says       string
	}{
		{"trusted", `"CaFile": "ca.crt",`, tls.NoClientCert, "tls", OK, "signed by Contoso CA, valid until"},
		{"a stranger's", "", tls.NoClientCert, "tls", Fail, "not signed by an authority"},
		{"skipped", "", tls.NoClientCert, "log-on", NotTried, "no connection that can be used"},
		{"asks for ours", `"CaFile": "ca.crt",`, tls.RequireAnyClientCert, "log-on", Fail, "asks for a certificate of this node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, scomtest.Options{}, publishertest.Options{})
			conf := &tls.Config{Certificates: []tls.Certificate{w.issue(publishertest.Leaf{}).TLS}, ClientAuth: c.asks}
			end := "https://" + w.serveEtcdWith(&etcdSim{version: "3.5.0", members: 3}, grpc.Creds(credentials.NewTLS(conf)))
			w.onEtcd(c.more, end)
			w.must(w.examine(), "etcd "+end+" "+c.step, c.want, c.says)
		})
	}
}

// Of several endpoints one that works is enough, and one that nothing listens at says so at its own hop.
func TestOneEndpointOfTwoIsDown(t *testing.T) {
	t.Parallel()
	w := newWard(t, scomtest.Options{}, publishertest.Options{})
	up, down := w.serveEtcd(&etcdSim{version: "3.5.0", members: 3}), "http://"+closedPort(t)
	w.onEtcd("", down, up)
	r := w.examine()
	w.must(r, "etcd "+down+" tcp", Fail, "refuses the connection")
	w.must(r, "etcd "+down+" log-on", NotTried, "no connection")
	w.must(r, "etcd "+up+" version", OK, "3.5.0")
	w.must(r, "etcd keys", OK, "none yet")
	if !r.OK {
		t.Errorf("it says %s", r.Text)
	}
}

// A real etcd answers as the simulated one does: three members, two of them dead, compacted, and with users.
func TestDoctorAtARealEtcd(t *testing.T) {
	if !etcdrig.Available(t) {
		t.Skip("needs etcd-server and SCOMCONNECTOR_REAL=1")
	}
	t.Parallel()
	e := etcdrig.Start(t, 3)
	w := newWard(t, scomtest.Options{}, publishertest.Options{})
	w.onEtcd("", e.URLs()...)
	r := w.examine()
	for _, u := range e.URLs() {
		for _, step := range endpointSteps {
			w.must(r, "etcd "+u+" "+step, OK, "")
		}
	}
	w.must(r, "etcd members", OK, "3")
	w.must(r, "etcd keys", OK, "none yet")
	w.must(r, "etcd compaction", NotTried, "too young")
	w.must(r, "etcd lease", NotTried, "no node has run")
	if out := e.Ctl("get", "--prefix", "", "--keys-only"); strings.TrimSpace(out) != "" {
		t.Errorf("the doctor has left %q", out)
	}

	e.Ctl("put", "a", "1")
	e.Ctl("put", "a", "2")
	e.Ctl("put", "a", "3")
	e.Ctl("compact", "4")
	e.Members[0].Kill()
	e.Members[1].Kill()
	r = w.examine()
	w.must(r, "etcd "+e.Members[0].URL+" tcp", Fail, "refuses")
	w.must(r, "etcd "+e.Members[2].URL+" quorum", Fail, "no majority")
	w.must(r, "etcd lease", NotTried, "no endpoint")
	e.Members[0].Start()
	e.Ready()
	r = w.examine()
	w.must(r, "etcd compaction", OK, "dropped")
	if !r.OK {
		t.Errorf("two of three are enough, and it says %s", r.Text)
	}

	e.Ctl("user", "add", "root", "--new-user-password", "r")
	e.Ctl("user", "grant-role", "root", "root")
	e.Ctl("user", "add", "scom", "--new-user-password", "s")
	e.Ctl("auth", "enable")
	w.onEtcd("", e.URLs()...)
	w.must(w.examine(), "etcd "+e.Members[2].URL+" log-on", Fail, "user")
	w.onEtcd(`"User": "scom", "Password": "plain:wrong",`, e.URLs()...)
	w.must(w.examine(), "etcd "+e.Members[2].URL+" log-on", Fail, "refuses user")
	w.onEtcd(`"User": "scom", "Password": "plain:s",`, e.URLs()...)
	r = w.examine()
	w.must(r, "etcd "+e.Members[2].URL+" log-on", OK, "as scom")
	w.must(r, "etcd "+e.Members[2].URL+" rights", Fail, "may not read")
}
