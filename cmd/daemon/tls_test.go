package daemon

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cmd/settings"
)

// issuer makes certificates that it vouches for.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T, name string) *issuer {
	i := &issuer{t: t}
	i.cert, i.key = i.make(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return i
}

func (i *issuer) make(tmpl, parent *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer := i.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		i.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return cert, key
}

// leaf is a certificate for both ends of a connection, and its key, as PEM.
func (i *issuer) leaf(name string) (cert, key []byte) {
	return i.leafFor(name, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
}

func (i *issuer) leafFor(name string, uses ...x509.ExtKeyUsage) (cert, key []byte) {
	c, k := i.make(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, ExtKeyUsage: uses}, i.cert)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		i.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (i *issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

// tlsDesk is a TLS server on files.
type tlsDesk struct {
	t   *testing.T
	dir string
	cfg *tls.Config
	log bytes.Buffer
	age time.Time // of the files, always a new one
}

func (d *tlsDesk) put(name string, text []byte) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	d.age = d.age.Add(time.Second)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Chtimes(path, d.age, d.age); err != nil {
		d.t.Fatal(err)
	}
}

// greet connects and returns the name the server shows; err is what the client meets.
func (d *tlsDesk) greet(client *tls.Config) (name string, err error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, d.cfg)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		done <- err
		b.Close()
	}()
	client = client.Clone()
	client.InsecureSkipVerify = true
	c := tls.Client(a, client)
	if err := c.Handshake(); err != nil {
		return "", err
	}
	if _, err := c.Read(make([]byte, 1)); err != nil { // TLS 1.3 refuses a client after its own handshake
		return "", err
	}
	state := c.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, <-done
}

// Renewed files are used with the next connection, half of them are not, and an authority of clients is renewed as well.
func TestTheAPIsCertificatesAreRenewedWithoutARestart(t *testing.T) {
	ca, other := newIssuer(t, "clients"), newIssuer(t, "others")
	d := &tlsDesk{t: t, dir: t.TempDir(), age: time.Now().Add(-time.Hour)}
	one, oneKey := ca.leaf("one")
	two, twoKey := ca.leaf("two")
	d.put("crt", one)
	d.put("key", oneKey)
	d.put("ca", ca.pem())
	var err error
	at := func(name string) string { return filepath.Join(d.dir, name) }
	d.cfg, err = serverTLS(settings.Tls{CertFile: at("crt"), KeyFile: at("key"), CaFile: at("ca"), RequireClientCert: true}, hclog.New(&hclog.LoggerOptions{Output: &d.log}))
	if err != nil {
		t.Fatal(err)
	}
	with := func(i *issuer) *tls.Config {
		c, k := i.leaf("client")
		pair, err := tls.X509KeyPair(c, k)
		if err != nil {
			t.Fatal(err)
		}
		// Shown whatever authorities the server names.
		return &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}
	}
	shows := func(step, want string) {
		t.Helper()
		if got, err := d.greet(with(ca)); got != want || err != nil {
			t.Errorf("%s: shown is %q, %v, want %s", step, got, err, want)
		}
	}
	shows("at first", "one")
	if _, err := d.greet(&tls.Config{}); err == nil {
		t.Error("a client without a certificate is let in")
	}
	if _, err := d.greet(with(other)); err == nil {
		t.Error("a client of another authority is let in")
	}
	d.put("crt", two)
	for range 3 {
		shows("with half of it renewed", "one")
	}
	d.put("key", twoKey)
	shows("renewed", "two")
	d.put("ca", []byte("nothing"))
	shows("with a broken authority", "two")
	d.put("ca", other.pem())
	if got, err := d.greet(with(other)); got != "two" || err != nil {
		t.Errorf("a client of the new authority: %q, %v", got, err)
	}
	if _, err := d.greet(with(ca)); err == nil {
		t.Error("a client of the authority before is let in")
	}
	for want, times := range map[string]int{"[WARN]": 2, "have changed and are used": 2} {
		if got := strings.Count(d.log.String(), want); got != times {
			t.Errorf("the log has %q %d times, want %d:\n%s", want, got, times, &d.log)
		}
	}
}

// An authority's server certificate is no client's, and the command line of the node's own machine has no other to show: it was refused.
func TestTheNodesOwnCertificateOpensItsPage(t *testing.T) {
	servers, clients := newIssuer(t, "servers"), newIssuer(t, "clients")
	d := &tlsDesk{t: t, dir: t.TempDir(), age: time.Now().Add(-time.Hour)}
	at := func(name string) string { return filepath.Join(d.dir, name) }
	own, ownKey := servers.leafFor("node", x509.ExtKeyUsageServerAuth)
	d.put("crt", own)
	d.put("key", ownKey)
	d.put("ca", clients.pem())
	files := settings.Tls{CertFile: at("crt"), KeyFile: at("key"), CaFile: at("ca"), RequireClientCert: true}
	var err error
	if d.cfg, err = serverTLS(files, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if got, err := d.greet((&settings.Node{Tls: files}).OwnTransport().TLSClientConfig); got != "node" || err != nil {
		t.Errorf("with its own certificate: %q, %v", got, err)
	}
	for name, i := range map[string]*issuer{"of the same authority": servers, "for servers, of the clients' authority": clients} {
		c, k := i.leafFor("other", x509.ExtKeyUsageServerAuth)
		pair, err := tls.X509KeyPair(c, k)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.greet(&tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}); err == nil {
			t.Errorf("another certificate %s opens it", name)
		}
	}
}

// Without its own certificate a node would take all others for lost.
func TestANodeDoesNotStartWithoutItsClusterCertificate(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, coordination := range []string{"raft", "etcd"} {
		n := newNode(Options{Node: &settings.Node{NodeID: "primary", Coordination: coordination, ClusterTls: settings.ClusterTls{CertFile: none, KeyFile: none, CaFile: none}}, Log: hclog.NewNullLogger()})
		_, err := n.openBackend()
		if err == nil || !strings.HasPrefix(err.Error(), "ClusterTls: read the node-to-node certificate") || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", coordination, err)
		}
	}
}

func TestTheAPIDoesNotStartWithoutItsFiles(t *testing.T) {
	ca := newIssuer(t, "clients")
	d := &tlsDesk{t: t, dir: t.TempDir(), age: time.Now()}
	crt, key := ca.leaf("one")
	d.put("crt", crt)
	d.put("key", key)
	at := func(name string) string { return filepath.Join(d.dir, name) }
	for want, files := range map[string]settings.Tls{
		"certificate of the API": {CertFile: at("none"), KeyFile: at("key")},
		"needs Tls.CaFile":       {CertFile: at("crt"), KeyFile: at("key"), RequireClientCert: true},
		"authority of the API's": {CertFile: at("crt"), KeyFile: at("key"), CaFile: at("none")},
		"holds no PEM":           {CertFile: at("crt"), KeyFile: at("key"), CaFile: at("key")},
	} {
		if _, err := serverTLS(files, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
