package doctor

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster/port"
	"scomconnector/cmd/settings"
	"scomconnector/cmd/settings/pki"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// withPeer makes the ward's node one of a pair, whose other one listens with a certificate for the given name.
func (w *ward) withPeer(named string, takes bool) {
	w.t.Helper()
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	issue := func(name string) string {
		node, err := authority.Issue(name, "127.0.0.1", time.Now())
		if err != nil {
			w.t.Fatal(err)
		}
		dir := filepath.Join(w.dir, name)
		if err := pki.Write(dir, node.Files); err != nil {
			w.t.Fatal(err)
		}
		return dir
	}
	own := issue("primary")
	address := closedPort(w.t)
	page := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w.t.Cleanup(page.Close)
	if takes {
		other := issue(named)
		conf, err := port.FileTLS(filepath.Join(other, "cluster.crt"), filepath.Join(other, "cluster.key"), filepath.Join(other, "cluster-ca.crt")).Server()
		if err != nil {
			w.t.Fatal(err)
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
		ln := tls.NewListener(w.listen(), conf)
		address = ln.Addr().String()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				conn.(*tls.Conn).Handshake() //nolint:errcheck // the other side says what came of it
				conn.Close()
			}
		}()
		w.t.Cleanup(func() { ln.Close(); <-done })
	}
	w.node = fmt.Sprintf(`{ "NodeID": "primary", "Role": "Primary", "ListenAddress": %q, "AdvertiseUrl": "http://127.0.0.1:1", "ClusterAddress": %q, "DataDir": "data",
		"ClusterTls": {"CertFile": "%[5]s/cluster.crt", "KeyFile": "%[5]s/cluster.key", "CaFile": "%[5]s/cluster-ca.crt"},
		"Members": [{"NodeID": "primary", "Role": "Primary", "ClusterAddress": %[2]q, "Url": "http://127.0.0.1:1"},
			{"NodeID": "secondary", "Role": "Secondary", "ClusterAddress": %[3]q, "Url": %[4]q}] }`, closedPort(w.t), closedPort(w.t), address, page.URL, filepath.ToSlash(own))
}

func TestAnotherNode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, named string
		takes       bool
		where       string
		want        Result
		says        string
	}{
		{"as it should be", "secondary", true, "peer secondary tls", OK, "days left"},
		{"another node's certificate", "witness", true, "peer secondary tls", Fail, `not for "secondary"`},
		{"nothing listens", "", false, "peer secondary tcp", Warning, "refuses"},
		{"its page", "secondary", true, "peer secondary page", OK, "answers"},
		{"what only the cluster knows", "secondary", true, "peer secondary cluster", NotTried, "only a running node knows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard(t, scomtest.Options{}, publishertest.Options{})
			w.withPeer(c.named, c.takes)
			r := w.examine()
			w.must(r, c.where, c.want, c.says)
			if !r.OK { // a node that is alone does its work
				t.Errorf("it says %s", r.Text)
				for _, h := range r.Hops {
					t.Logf("%s %s: %s", h.Result, h.where(), h.Seen)
				}
			}
		})
	}
}

// What the running node says of the others is taken over, and a member that it does not know is named.
func TestWhatTheClusterSaysOfAMember(t *testing.T) {
	now := time.Now()
	r := &running{v1.Status{Time: now, Members: []v1.Member{
		{Node: "well", Voter: true, LastContact: now.Add(-2 * time.Second), Version: "v2"},
		{Node: "new", LastContact: now},
		{Node: "gone", Voter: true, Fault: "dial tcp: no route to host"},
	}}}
	for _, c := range []struct {
		r    *running
		id   string
		want Result
		says string
	}{
		{r, "well", OK, "in contact 2s ago, version v2"},
		{r, "new", Warning, "no vote yet"},
		{r, "gone", Fail, "no route to host"},
		{r, "other", Warning, "does not know it"},
		{nil, "well", NotTried, "only a running node knows"},
	} {
		if f := c.r.member(c.id); f.result != c.want || !strings.Contains(f.seen, c.says) {
			t.Errorf("%s: got %q %q, want %q that says %q", c.id, f.result, f.seen, c.want, c.says)
		}
	}
}

// The address of this machine's own node, as node.json has it.
func TestOwnAddress(t *testing.T) {
	for listen, want := range map[string]string{"0.0.0.0:8085": "http://127.0.0.1:8085", "[::]:8085": "http://127.0.0.1:8085", "10.0.0.5:8085": "http://10.0.0.5:8085", ":9": "http://127.0.0.1:9"} {
		if got := (&settings.Node{ListenAddress: listen}).OwnURL(); got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
	}
}

// A cluster is set up one machine after the other: while no node runs here, an absent peer is nobody's failure, and the way is shown.
func TestTheFirstMachineOfAPairPasses(t *testing.T) {
	t.Parallel()
	w := newWard(t, scomtest.Options{}, publishertest.Options{})
	w.withPeer("", false)
	w.node = pageURL.ReplaceAllString(w.node, `"Secondary",$1"http://`+closedPort(t)+`"`)
	r := w.examine()
	w.must(r, "peer secondary tcp", Warning, "refuses")
	w.must(r, "peer secondary page", Warning, "refuses")
	for _, h := range r.Hops {
		switch {
		case h.Part != "peer":
		case h.Result == Fail:
			t.Errorf("%s fails with %q", h.where(), h.Seen)
		case h.Result == Warning && !strings.Contains(h.Do, "does not run yet, or port "):
			t.Errorf("%s: it says %q to do", h.where(), h.Do)
		}
	}
	if !r.OK || strings.Contains(r.Text, "failure") {
		t.Errorf("it concludes %v, %s", r.OK, r.Text)
	}
}

// While the node runs here, a peer that does not answer is a failure like any other.
func TestAnAbsentPeerOfARunningNodeFails(t *testing.T) {
	p := &part{exam: &exam{live: &running{}}}
	p.add("tcp", judgeDial("127.0.0.1:8086", syscall.ECONNREFUSED))
	p.absent("127.0.0.1:8086")
	if h := p.hops[0]; h.Result != Fail || strings.Contains(h.Do, "not run yet") {
		t.Errorf("got %q, %q", h.Result, h.Do)
	}
}

var pageURL = regexp.MustCompile(`"Secondary",([^}]*"Url": )"[^"]*"`)
