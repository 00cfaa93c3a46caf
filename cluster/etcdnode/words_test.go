package etcdnode

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/test/etcdrig"
	"scomconnector/test/logbuf"
)

// lone is the settings of a cluster of one.
func lone(t *testing.T, endpoints ...string) Config {
	return Config{NodeID: "primary", Role: cluster.Primary, Members: clustertest.One, DataDir: t.TempDir(), Version: "test", Endpoints: endpoints, TTL: 3 * time.Second}
}

func password(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// checked is everything that check says.
func checked(t *testing.T, cfg Config) (text string, fatal bool) {
	t.Helper()
	findings, _ := Look(t.Context(), cfg).Findings()
	for _, f := range findings {
		text += f.Endpoint + ": " + f.Text + "\n"
		fatal = fatal || f.Fatal
	}
	return text, fatal
}

// started runs a node until cond holds of it and what it logs for operators.
func started(t *testing.T, cfg Config, what string, cond func(n *Node, log string) bool) {
	t.Helper()
	log := &logbuf.Buffer{}
	n, err := Open(cfg, hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: log}), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx, func(ctx context.Context, _ cluster.Term) error { <-ctx.Done(); return nil }) //nolint:errcheck // View says what is wrong
	}()
	defer func() {
		stop()
		<-done
		n.Close() //nolint:errcheck // the test is over
	}()
	for end := time.Now().Add(time.Minute); !cond(n, log.String()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			v := n.View()
			t.Fatalf("not within a minute: %s\nwaiting: %s\nalarm: %s\n%s", what, v.Waiting, v.Alarm, log)
		}
	}
	t.Logf("log:\n%s", log)
}

// works holds that the node leads, and that check finds nothing that must be mended first.
func works(t *testing.T, cfg Config) {
	t.Helper()
	if text, fatal := checked(t, cfg); fatal {
		t.Errorf("check says:\n%s", text)
	}
	started(t, cfg, "it leads", func(n *Node, _ string) bool { return n.View().Leading })
}

// refused holds that check says it and must have it mended, and that a node that runs says it to whoever looks and in its log.
func refused(t *testing.T, cfg Config, words ...string) {
	t.Helper()
	all := func(s string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s, w) })
	}
	text, fatal := checked(t, cfg)
	t.Logf("check:\n%s", text)
	if !fatal || !all(text) {
		t.Errorf("check says, fatal %v:\n%s\nwant: %q", fatal, text, words)
	}
	started(t, cfg, fmt.Sprintf("it says %q", words), func(n *Node, log string) bool {
		if n.View().Leading {
			t.Fatal("it leads")
		}
		return all(n.View().Waiting) && all(strings.ReplaceAll(log, `\"`, `"`))
	})
}

func TestWordsForTLS(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	ca, other := etcdrig.NewAuthority(t, "The Company's CA"), etcdrig.NewAuthority(t, "Another CA")
	cert, key := ca.Issue("node")
	foreignCert, foreignKey := other.Issue("node")
	secure, plain := etcdrig.StartTLS(t, ca), etcdrig.Start(t, 1)
	at := secure.URLs()[0]
	for name, c := range map[string]struct {
		endpoint, ca, cert, key string
		words                   []string
	}{
		"works":                      {at, ca.CAFile, cert, key, nil},
		"authority of the machine":   {at, "", cert, key, []string{"set Etcd.CaFile", `"The Company's CA"`}},
		"wrong authority":            {at, other.CAFile, cert, key, []string{"set Etcd.CaFile", `"The Company's CA"`}},
		"no certificate":             {at, ca.CAFile, "", "", []string{"set Etcd.CertFile and Etcd.KeyFile"}},
		"certificate of another":     {at, ca.CAFile, foreignCert, foreignKey, []string{"set Etcd.CertFile and Etcd.KeyFile"}},
		"another name":               {strings.Replace(at, "127.0.0.1", "localhost", 1), ca.CAFile, cert, key, []string{"Etcd.Endpoints", "localhost", "127.0.0.1"}},
		"TLS where there is none":    {strings.Replace(plain.URLs()[0], "http:", "https:", 1), ca.CAFile, "", "", []string{"write http:// in Etcd.Endpoints"}},
		"no TLS where it is wanted":  {strings.Replace(at, "https:", "http:", 1), "", "", "", []string{"write https:// in Etcd.Endpoints"}},
		"nobody there":               {strings.Replace(plain.Members[0].URL, "127.0.0.1", "127.0.0.2", 1), "", "", "", []string{"nothing listens", "start etcd, or correct Etcd.Endpoints"}},
		"file of the authority gone": {at, ca.CAFile + ".old", cert, key, []string{"read Etcd.CaFile", "no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := lone(t, c.endpoint)
			cfg.TLS = FileTLS(c.ca, c.cert, c.key)
			if c.words == nil {
				works(t, cfg)
				return
			}
			refused(t, cfg, c.words...)
		})
	}
}

func TestWordsForUsers(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 1)
	for _, args := range [][]string{
		{"user", "add", "root:root"}, {"user", "grant-role", "root", "root"},
		{"role", "add", "ours"}, {"role", "grant-permission", "ours", "--prefix=true", "readwrite", "/ours/"}, {"user", "add", "node:right"}, {"user", "grant-role", "node", "ours"},
		{"role", "add", "reader"}, {"role", "grant-permission", "reader", "--prefix=true", "read", "/ours/"}, {"user", "add", "looker:right"}, {"user", "grant-role", "looker", "reader"},
		{"auth", "enable"},
	} {
		e.Ctl(args...)
	}
	for name, c := range map[string]struct {
		user, password, prefix string
		words                  []string
	}{
		"no user":        {"", "", "/ours/", []string{"set Etcd.User and Etcd.Password"}},
		"wrong password": {"node", "wrong", "/ours/", []string{`it refuses user "node" with this password`, "correct Etcd.User or Etcd.Password"}},
		"another prefix": {"node", "right", "/theirs/", []string{`user "node"`, "/theirs/", "etcdctl role grant-permission ROLE --prefix=true readwrite /theirs/"}},
		"may only read":  {"looker", "right", "/ours/", []string{`user "looker"`, "etcdctl role grant-permission ROLE --prefix=true readwrite /ours/"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := lone(t, e.URLs()...)
			cfg.User, cfg.Password, cfg.Prefix = c.user, password(c.password), c.prefix
			refused(t, cfg, c.words...)
		})
	}
	t.Run("works", func(t *testing.T) {
		cfg := lone(t, e.URLs()...)
		cfg.User, cfg.Password, cfg.Prefix = "node", password("right"), "/ours/"
		works(t, cfg)
		killed, back := false, false
		started(t, cfg, "it leads again after etcd has forgotten its log-on", func(n *Node, _ string) bool {
			leading := n.View().Leading
			switch {
			case leading && !killed:
				killed = true
				e.Members[0].Kill()
			case !leading && killed && !back:
				back = true
				e.Members[0].Start()
			}
			return leading && back
		})
	})
}

func TestWordsForAPrefixOfAnotherCluster(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 1)
	works(t, lone(t, e.URLs()...))
	cfg := lone(t, e.URLs()...)
	cfg.Members = []cluster.Member{{NodeID: "primary", Role: cluster.Primary, ClusterAddress: "another:8086"}}
	refused(t, cfg, "/scomconnector/ belong to another cluster", "primary primary:8086", "give this one an Etcd.Prefix of its own")
	left := lone(t, e.URLs()...)
	if err := (identity{NodeID: "primary", Incarnation: "1", ClusterID: "of another time"}).save(left.DataDir); err != nil {
		t.Fatal(err)
	}
	refused(t, left, "belong to another cluster", "delete "+identityPath(left.DataDir))
}

func TestWordsForAWebServer(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	refused(t, lone(t, web.URL), "a web server answers there, and no etcd: correct Etcd.Endpoints")
}

func TestWordsForNoMajority(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 3)
	e.Members[0].Kill()
	e.Members[1].Kill()
	refused(t, lone(t, e.URLs()...), e.Members[0].URL+": nothing listens", e.Members[2].URL+": ", "no majority", "start the members that are down")
}

func TestWordsForAnEtcdThatKeepsEverything(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 1)
	cl, err := clientv3.New(clientv3.Config{Endpoints: e.URLs()})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			for range uncompacted / 200 {
				if _, err := cl.Put(t.Context(), "filler", ""); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	cfg := lone(t, e.URLs()...)
	text, fatal := checked(t, cfg)
	if !fatal || !strings.Contains(text, "--auto-compaction-retention") {
		t.Errorf("check says, fatal %v:\n%s", fatal, text)
	}
	started(t, cfg, "it leads, and warns", func(n *Node, log string) bool {
		return n.View().Leading && strings.Contains(log, "--auto-compaction-retention")
	})
	e.Ctl("compact", "5000")
	if text, fatal := checked(t, cfg); fatal {
		t.Errorf("check says after a compaction:\n%s", text)
	}
}

// oldEtcd answers as etcd 3.3 does.
type oldEtcd struct {
	pb.UnimplementedKVServer
	pb.UnimplementedMaintenanceServer
}

func (oldEtcd) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: 1}}, nil
}

func (oldEtcd) Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error) {
	return &pb.TxnResponse{Header: &pb.ResponseHeader{Revision: 1}}, nil
}

func (oldEtcd) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{Revision: 1}, Version: "3.3.27"}, nil
}

func TestWordsForAnOldEtcd(t *testing.T) {
	t.Parallel()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterKVServer(s, oldEtcd{})
	pb.RegisterMaintenanceServer(s, oldEtcd{})
	go s.Serve(ln) //nolint:errcheck // ended by Stop
	defer s.Stop()
	refused(t, lone(t, "http://"+ln.Addr().String()), "it runs etcd 3.3.27, and 3.4 is the oldest that will do: upgrade it")
}

// Windows numbers the failures of sockets in its own way.
func TestWhatWindowsSaysOfASocketIsKnown(t *testing.T) {
	if got := explainTCP(os.NewSyscallError("connectex", syscall.Errno(10061)), "etcd1:2379"); !strings.Contains(got, "nothing listens at etcd1:2379") {
		t.Errorf("refused: got %q", got)
	}
	if got := explainTLS(os.NewSyscallError("wsarecv", syscall.Errno(10054))); !strings.Contains(got, "as an etcd without TLS does") {
		t.Errorf("reset: got %q", got)
	}
}
