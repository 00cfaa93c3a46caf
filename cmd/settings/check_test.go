package settings

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"scomconnector/test/freeport"
)

// bench is a folder with both files, and ports that nobody listens on.
type bench struct {
	t             *testing.T
	dir           string
	node, cluster string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	listen, peer := portOf(freeport.Take(t)), portOf(freeport.Take(t))
	b := &bench{t: t, dir: dir}
	b.node = fmt.Sprintf(`{
	"NodeID": "primary", "Role": "Primary", "DataDir": "data",
	"ListenAddress": "127.0.0.1:%s", "ClusterAddress": "127.0.0.1:%s",
	"Members": [{"NodeID": "primary", "Role": "Primary", "ClusterAddress": "127.0.0.1:%s"}],
}`, listen, peer, peer)
	b.cluster = strings.Replace(goodCluster, "env:SCOM", "file:pw", 1)
	b.file("pw", "secret\n", 0o600)
	return b
}

func (b *bench) file(name, text string, mode os.FileMode) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *bench) nodeKeys(keys string) { b.node = strings.TrimSuffix(b.node, "}") + "\t" + keys + "\n}" }
func (b *bench) clusterKeys(old, keys string) {
	b.cluster = strings.Replace(b.cluster, old, keys, 1)
}

// check writes both files and returns the report, with the folder's name taken out.
func (b *bench) check() (Report, string) {
	b.t.Helper()
	b.file("node.json", b.node, 0o600)
	if b.cluster != "" {
		b.file(ClusterFileName, b.cluster, 0o600)
	}
	before := listing(b.t, b.dir)
	r := Check(filepath.Join(b.dir, "node.json"), "")
	if after := listing(b.t, b.dir); after != before {
		b.t.Errorf("check left something behind:\n%s\nwas:\n%s", after, before)
	}
	var out bytes.Buffer
	r.Print(&out)
	return r, strings.ReplaceAll(out.String(), b.dir+string(filepath.Separator), "")
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func TestCheckOfGoodFiles(t *testing.T) {
	r, out := newBench(t).check()
	want := `ok: node.json: primary is the Primary of 1 member
ok: SCOMConnectorConfig.json: 1 SCOM server, 1 destination
The files are good.
`
	if !r.OK() || out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestCheckFindsWhatTheFilesPointTo(t *testing.T) {
	absent := syscall.ENOENT.Error() // in the system's words
	_, noFolder := os.Stat("absent")
	for _, c := range []struct {
		name    string
		do      func(*bench)
		want    string // one line of the output
		windows string // there instead; empty: the same
	}{
		{"a secret's file is missing", func(b *bench) { os.Remove(filepath.Join(b.dir, "pw")) },
			"error: SCOMConnectorConfig.json:3: ScomServers[0].Password: read the secret: open pw: " + absent + ": write it into that file, as its only line", ""},
		{"a secret's variable is missing", func(b *bench) { b.clusterKeys("file:pw", "env:SC_TEST_ABSENT") },
			"error: SCOMConnectorConfig.json:3: ScomServers[0].Password: the environment variable SC_TEST_ABSENT is not set for this process", ""},
		{"others may read the secret", func(b *bench) { os.Chmod(filepath.Join(b.dir, "pw"), 0o644) },
			"warning: SCOMConnectorConfig.json:3: ScomServers[0].Password: other accounts of this machine can read pw: chmod 600 it", "The files are good."},
		{"a blank behind the secret", func(b *bench) { b.file("pw", "secret \r\n", 0o600) },
			"warning: SCOMConnectorConfig.json:3: ScomServers[0].Password: what pw holds begins or ends with a blank, as `echo WORD > FILE` leaves one behind in cmd.exe: take it away, unless it is part of the secret", ""},
		{"init's placeholder", func(b *bench) { b.clusterKeys(`"reader"`, `"EDIT-ME"`) },
			"error: SCOMConnectorConfig.json:3: ScomServers[0].UserId: still says EDIT-ME: name the account that reads alerts", ""},
		{"no authority", func(b *bench) { b.clusterKeys(`"reader"`, `"reader", "CaFile": "pw"`) },
			"error: SCOMConnectorConfig.json:3: ScomServers[0].CaFile: pw holds no certificate in PEM form", ""},
		{"no certificate", func(b *bench) { b.clusterKeys(`"MoogUrl"`, `"MoogPublicKey": "pw", "MoogUrl"`) },
			"error: SCOMConnectorConfig.json:6: MoogServers[0].MoogPublicKey: pw holds no certificate, neither in PEM nor in DER form", ""},
		{"an ignored LAM's secret", func(b *bench) {
			b.clusterKeys("{\"MoogUrl\"", "{\"MoogPort\": 1, \"ProxyPassword\": \"env:SC_TEST_ABSENT\"},\n{\"MoogUrl\"")
		},
			"The files are good; see the 1 warning above.", ""},
		{"a token that is too short", func(b *bench) { b.nodeKeys(`"Auth": {"OperatorTokenFile": "pw"},`) },
			"warning: node.json:5: Auth.OperatorTokenFile: pw holds fewer than 16 characters, which can be guessed", ""},
		{"a token that is missing", func(b *bench) { b.nodeKeys(`"Auth": {"ReadTokenFile": "absent"},`) },
			"error: node.json:5: Auth.ReadTokenFile: read the secret: open absent: " + absent + ": write it into that file, as its only line", ""},
		{"half a certificate", func(b *bench) { b.nodeKeys(`"Tls": {"CertFile": "pw", "KeyFile": "pw"},`) },
			"error: node.json:5: Tls.CertFile: tls: failed to find any PEM data in certificate input", ""},
		{"a data folder that is a file", func(b *bench) { b.node = strings.Replace(b.node, `"data"`, `"pw/data"`, 1) },
			"error: node.json:2: DataDir: cannot reach pw/data: stat pw/data: not a directory", "error: node.json:2: DataDir: pw is a file, not a folder"},
		{"a log folder that is a file", func(b *bench) { b.nodeKeys(`"Log": {"File": "pw/x.log"},`) },
			"error: node.json:5: Log.File: pw is a file, not a folder", ""},
		{"a claim folder that is not there", func(b *bench) {
			b.node = strings.Replace(b.node, `"}],`, `"}, {"NodeID": "secondary", "Role": "Secondary", "ClusterAddress": "127.0.0.1:1"}],`, 1)
			b.nodeKeys(`"PairTakeover": "claim", "ClaimDir": "absent",`)
		}, "error: node.json:5: ClaimDir: the folder absent is not there: mount the share, and make the folder if it is new: " + noFolder.Error(), ""},
		{"an address of another machine", func(b *bench) { b.node = strings.Replace(b.node, "127.0.0.1", "192.0.2.1", 1) },
			"bind: " + syscall.EADDRNOTAVAIL.Error(), "bind: " + syscall.Errno(10049).Error()},
		{"no cluster file", func(b *bench) { b.cluster = "" },
			"error: SCOMConnectorConfig.json: there is no such file, and the Primary's file is what a new cluster takes its settings from", ""},
		{"a broken node.json beside a broken cluster file", func(b *bench) {
			b.node, b.cluster = "{", "{"
		}, "hint: mend the 2 errors above, then check again", ""},
	} {
		if c.windows != "" && runtime.GOOS == "windows" {
			c.want = c.windows
		}
		b := newBench(t)
		c.do(b)
		r, out := b.check()
		if !strings.Contains(out, c.want+"\n") {
			t.Errorf("%s: got\n%s\nwant in it\n%s", c.name, out, c.want)
		}
		if wantOK := !strings.HasPrefix(c.want, "error") && !strings.HasPrefix(c.want, "hint") && !strings.HasPrefix(c.want, "bind"); r.OK() != wantOK {
			t.Errorf("%s: OK is %v", c.name, r.OK())
		}
	}
}

func TestCheckOfAPortInUseIsAWarning(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n, _ := ParseNode("f", []byte(b.node), "")
	b.node = strings.ReplaceAll(b.node, n.ListenAddress, l.Addr().String())
	r, out := b.check()
	if want := "warning: node.json:3: ListenAddress: something listens on " + l.Addr().String() + " already"; !r.OK() || !strings.Contains(out, want) {
		t.Errorf("got\n%s\nwant in it\n%s", out, want)
	}
}

// Beside a running node its own ports are no news; another's are.
func TestCheckKnowsTheNodeThatRunsHere(t *testing.T) {
	for answers, want := range map[string]string{
		`"primary"`:                        "ok: primary runs, and answers at http://127.0.0.1:",
		`"primary", "clusterId": "ours"`:   "ok: primary runs, and answers at http://127.0.0.1:",
		`"secondary"`:                      "warning: node.json:3: ListenAddress: the node secondary answers at http://127.0.0.1:",
		`"primary", "clusterId": "theirs"`: "warning: node.json:3: ListenAddress: a node of another cluster, which is called primary as well and of which DataDir knows nothing, answers at http://127.0.0.1:",
		"":                                 "ListenAddress: something listens on ",
	} {
		b := newBench(t)
		node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answers == "" || r.URL.Path != "/api/v1/status" {
				http.Error(w, "another program", http.StatusNotFound)
				return
			}
			fmt.Fprintf(w, `{"node": %s}`, answers)
		}))
		defer node.Close()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n, _ := ParseNode("f", []byte(b.node), "")
		b.node = strings.ReplaceAll(b.node, n.ListenAddress, node.Listener.Addr().String())
		b.node = strings.ReplaceAll(b.node, n.ClusterAddress, l.Addr().String())
		b.identity("identity.json", "primary", "ours")
		r, out := b.check()
		if !r.OK() || !strings.Contains(out, want) || strings.Contains(out, "listens on") == strings.HasPrefix(want, "ok:") {
			t.Errorf("%q answers: got\n%s\nwant in it\n%s", answers, out, want)
		}
	}
}

// identity writes what a data folder says about itself, as either backend keeps it.
func (b *bench) identity(name, node, clusterID string) {
	b.t.Helper()
	body := fmt.Sprintf(`{"NodeID":%q,"ClusterID":%q}`, node, clusterID)
	if name == "identity.json" {
		body = fmt.Sprintf(`{"Identity":%s,"Sum":%d}`, body, crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli)))
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "data"), 0o700); err != nil {
		b.t.Fatal(err)
	}
	b.file(filepath.Join("data", name), body, 0o600)
}

// A data folder that was copied from another node is found before run refuses it.
func TestCheckKnowsWhoseDataFolderItIs(t *testing.T) {
	etcd := func(b *bench) { b.nodeKeys(`"Coordination": "etcd", "Etcd": {"Endpoints": ["http://127.0.0.1:1"]},`) }
	for _, c := range []struct {
		name string
		do   func(*bench)
		want string // empty: nothing about it
	}{
		{"its own", func(b *bench) { b.identity("identity.json", "primary", "c") }, ""},
		{"another's", func(b *bench) { b.identity("identity.json", "secondary", "c") },
			`error: node.json:2: DataDir: the data folder data belongs to node "secondary", not to "primary": correct NodeID or DataDir; a node takes no other's data`},
		{"damaged", func(b *bench) {
			b.identity("identity.json", "primary", "c")
			b.file("data/identity.json", `{"Identity":{"NodeID":"primary"},"Sum":1}`, 0o600)
		}, "error: node.json:2: DataDir: whose data it holds cannot be told: " + filepath.Join("data", "identity.json") + " is damaged: its checksum is wrong; the node would not start"},
		{"its own, with an etcd", func(b *bench) { etcd(b); b.identity("etcd.json", "primary", "c") }, ""},
		{"another's, with an etcd", func(b *bench) { etcd(b); b.identity("etcd.json", "secondary", "c") }, `error: node.json:2: DataDir: the data folder data belongs to node "secondary"`},
		{"damaged, with an etcd", func(b *bench) { etcd(b); b.identity("etcd.json", "", ""); b.file("data/etcd.json", "{", 0o600) },
			"error: node.json:2: DataDir: whose data it holds cannot be told: " + filepath.Join("data", "etcd.json") + " is damaged: unexpected end of JSON input; the node would not start"},
	} {
		b := newBench(t)
		c.do(b)
		b.file("node.json", b.node, 0o600)
		b.file(ClusterFileName, b.cluster, 0o600)
		r := CheckFiles(filepath.Join(b.dir, "node.json"), "")
		var out bytes.Buffer
		r.Print(&out)
		got := strings.ReplaceAll(out.String(), b.dir+string(filepath.Separator), "")
		if !strings.Contains(got, c.want) || r.OK() != (c.want == "") || c.want == "" && strings.Contains(got, "DataDir") {
			t.Errorf("%s: got\n%s\nwant in it\n%s", c.name, got, c.want)
		}
	}
}

func TestCheckKnowsWhoNeedsTheClusterFile(t *testing.T) {
	b := newBench(t)
	b.cluster = ""
	b.file("x", "", 0o600)
	if err := os.MkdirAll(filepath.Join(b.dir, "data", "raft", "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r, out := b.check(); !r.OK() || !strings.Contains(out, "this node takes the settings that the cluster has") {
		t.Errorf("a Primary with state: got\n%s", out)
	}
	w := newBench(t)
	w.node = strings.Replace(w.node, `"Members": [`, `"Members": [{"NodeID": "p", "Role": "Primary", "ClusterAddress": "127.0.0.1:1"}, {"NodeID": "s", "Role": "Secondary", "ClusterAddress": "127.0.0.1:2"}, `, 1)
	w.node = strings.ReplaceAll(w.node, `"NodeID": "primary", "Role": "Primary"`, `"NodeID": "w", "Role": "Witness"`)
	w.cluster = ""
	if r, out := w.check(); !r.OK() || !strings.Contains(out, "ok: a witness needs no SCOMConnectorConfig.json") {
		t.Errorf("a witness: got\n%s", out)
	}
	r := Check(filepath.Join(b.dir, "node.json"), filepath.Join(b.dir, "typo.json"))
	if r.OK() || !strings.Contains(r.Faults.Error(), "typo.json: there is no such file") {
		t.Errorf("a file that was asked for: got %v", r.Faults)
	}
}

// certificates makes an authority and a certificate of it in dir.
func certificates(t *testing.T, dir, name string, authority time.Duration, until time.Time, usage ...x509.ExtKeyUsage) {
	t.Helper()
	ca, caKey := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(authority)}, nil, nil)
	leaf, key := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: until, ExtKeyUsage: usage}, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"cluster-ca.crt": {Type: "CERTIFICATE", Bytes: ca.Raw}, "cluster.crt": {Type: "CERTIFICATE", Bytes: leaf.Raw}, "cluster.key": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func sign(t *testing.T, c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = c, key
	}
	c.SerialNumber, c.NotBefore = big.NewInt(1), time.Now().Add(-2000*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestCheckLooksAtNodeCertificatesAsTheOtherNodesWill(t *testing.T) {
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	const aDay, years = 24 * time.Hour, 3 * 365 * 24 * time.Hour
	for _, c := range []struct {
		what, name string
		authority  time.Duration // left of it
		left       time.Duration
		usage      []x509.ExtKeyUsage
		want       string
	}{
		{"good", "primary", years, 61 * aDay, both, "\nThe files are good.\n"},
		{"of another node", "secondary", years, 61 * aDay, both, `ClusterTls.CertFile: the certificate must name the NodeID "primary" as DNS name`},
		{"for one end only", "primary", years, 61 * aDay, both[:1], "ClusterTls.CertFile: CaFile does not vouch for it as a client:"},
		{"ending in two months", "primary", years, 59 * aDay, both, "warning: node.json:5: ClusterTls.CertFile: the certificate ends on "},
		{"over", "primary", years, -time.Hour, both, "error: node.json:5: ClusterTls.CertFile: the certificate ended on "},
		{"of an authority that is ending", "primary", 59 * aDay, 61 * aDay, both, "warning: node.json:5: ClusterTls.CaFile: the certificate ends on "},
	} {
		b := newBench(t)
		certificates(t, b.dir, c.name, c.authority, time.Now().Add(c.left), c.usage...)
		b.nodeKeys(`"ClusterTls": {"CertFile": "cluster.crt", "KeyFile": "cluster.key", "CaFile": "cluster-ca.crt"},`)
		if _, out := b.check(); !strings.Contains(out, c.want) {
			t.Errorf("%s: got\n%s\nwant in it\n%s", c.what, out, c.want)
		}
	}
}
