package publisher_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/publisher"
	"scomconnector/publisher/publishertest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	// The next write may fall into the same tick of the file system's clock.
	clock++
	at := time.Unix(1_700_000_000+clock, 0)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

var clock int64

func server(c *publishertest.Cert) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.TLS}}
}

func TestWhoIsTrusted(t *testing.T) {
	ca, otherCA := must(publishertest.NewCA("CA")), must(publishertest.NewCA("other CA"))
	good := must(ca.Issue(publishertest.Leaf{}))
	expired := must(ca.Issue(publishertest.Leaf{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}))
	elsewhere := must(ca.Issue(publishertest.Leaf{Hosts: []string{"elsewhere.contoso.com"}}))
	self := must(publishertest.SelfSigned(publishertest.Leaf{Hosts: []string{"moog.contoso.com"}}))
	selfExpired := must(publishertest.SelfSigned(publishertest.Leaf{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}))
	for _, c := range []struct {
		what   string
		server *publishertest.Cert
		file   []byte // MoogPublicKey; nil: none
		want   string // in the error; "": accepted
	}{
		{"CA", good, ca.PEM(), ""},
		{"CA, wrong host", elsewhere, ca.PEM(), "is not for 127.0.0.1"},
		{"CA, expired", expired, ca.PEM(), "shows a certificate that is valid from"},
		{"another CA", good, otherCA.PEM(), "shows a certificate that is not trusted here"},
		{"two CAs", good, append(otherCA.PEM(), ca.PEM()...), ""},
		{"the system's roots", good, nil, "set MoogPublicKey"},
		{"pinned leaf", good, good.CertPEM, ""},
		{"pinned leaf as DER", good, good.DER, ""},
		{"pinned self-signed, wrong name", self, self.CertPEM, ""},
		{"pinned, expired", selfExpired, selfExpired.CertPEM, ""},
		{"pinned, another certificate of the same CA", must(ca.Issue(publishertest.Leaf{})), good.CertPEM, "shows another certificate"},
		{"a leaf is no CA", must(publishertest.SelfSigned(publishertest.Leaf{})), self.CertPEM, "shows another certificate"},
		{"no certificate in the file", good, []byte("secret"), "holds no certificate"},
		{"broken PEM", good, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "broken certificate"},
		{"a key in the file", good, good.KeyPEM, "holds no certificate"},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := lam(t, publishertest.Options{TLS: server(c.server)})
			cfg := to(l)
			if c.file != nil {
				cfg.LAMs[0].PublicKeyFile = filepath.Join(t.TempDir(), "server.crt")
				write(t, cfg.LAMs[0].PublicKeyFile, c.file)
			}
			got := destination(t, cfg).Publish(t.Context(), events(2))
			if c.want == "" {
				check(t, got, 2, 0, 0)
				return
			}
			check(t, got, 0, 0, 2)
			if got.Err != nil && !strings.Contains(got.Err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", got.Err, c.want)
			}
		})
	}
}

func TestAChangedPublicKeyFileIsUsedAtOnce(t *testing.T) {
	a, b := must(publishertest.SelfSigned(publishertest.Leaf{})), must(publishertest.SelfSigned(publishertest.Leaf{NotAfter: time.Now().Add(100 * 24 * time.Hour)}))
	current := a
	l := lam(t, publishertest.Options{TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &current.TLS, nil }}})
	cfg := to(l)
	file := filepath.Join(t.TempDir(), "server.crt")
	cfg.LAMs[0].PublicKeyFile = file
	d := destination(t, cfg)
	away := func(want string) {
		t.Helper()
		got := d.Publish(t.Context(), events(1))
		check(t, got, 0, 0, 1)
		if got.Err != nil && !strings.Contains(got.Err.Error(), want) {
			t.Errorf("got %q, want %q in it", got.Err, want)
		}
	}
	away("MoogPublicKey cannot be read")
	write(t, file, a.CertPEM)
	check(t, d.Publish(t.Context(), events(1)), 1, 0, 0)
	if w := d.Status()[0].Warning; !strings.Contains(w, "expires on") {
		t.Errorf("no warning a day before the end: %q", w)
	}
	write(t, file, b.CertPEM) // also the kept connection must not be used any more
	away("shows another certificate")
	current = b
	check(t, d.Publish(t.Context(), events(1)), 1, 0, 0)
	s := d.Status()[0]
	if s.Warning != "" || time.Until(s.PublicKeyExpiry) < 99*24*time.Hour {
		t.Errorf("got warning %q, expiry %v", s.Warning, s.PublicKeyExpiry)
	}
	os.Remove(file)
	away("MoogPublicKey cannot be read")
}

func TestClientCertificates(t *testing.T) {
	ca := must(publishertest.NewCA("CA"))
	srv := must(ca.Issue(publishertest.Leaf{}))
	tlsConf := server(srv)
	tlsConf.ClientAuth, tlsConf.ClientCAs = tls.RequireAndVerifyClientCert, publishertest.ClientCAs(ca)
	l := lam(t, publishertest.Options{TLS: tlsConf})
	dir := t.TempDir()
	cfg := to(l)
	cfg.LAMs[0].PublicKeyFile = filepath.Join(dir, "ca.crt")
	write(t, cfg.LAMs[0].PublicKeyFile, ca.PEM())

	got := destination(t, cfg).Publish(t.Context(), events(1))
	check(t, got, 0, 0, 1)
	if got.Err != nil && !strings.Contains(got.Err.Error(), "check ClientCertFile") {
		t.Errorf("without a client certificate: got %q", got.Err)
	}

	cfg.LAMs[0].ClientCertFile, cfg.LAMs[0].ClientKeyFile = filepath.Join(dir, "c.crt"), filepath.Join(dir, "c.key")
	d := destination(t, cfg)
	stranger, friend := must(publishertest.SelfSigned(publishertest.Leaf{Client: true})), must(ca.Issue(publishertest.Leaf{Client: true}))
	for _, c := range []struct {
		what      string
		cert, key []byte
		want      string
	}{
		{"no file", nil, nil, "ClientCertFile cannot be read"},
		{"a stranger's", stranger.CertPEM, stranger.KeyPEM, "check ClientCertFile"},
		{"a key of another certificate", friend.CertPEM, stranger.KeyPEM, "cannot be used"},
		{"the right one", friend.CertPEM, friend.KeyPEM, ""},
	} {
		if c.cert != nil {
			write(t, cfg.LAMs[0].ClientCertFile, c.cert)
			write(t, cfg.LAMs[0].ClientKeyFile, c.key)
		}
		got := d.Publish(t.Context(), events(1))
		if c.want == "" {
			check(t, got, 1, 0, 0)
		} else if got.Err == nil || !strings.Contains(got.Err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, got.Err, c.want)
		}
	}
}

func TestPlainHTTPOnATLSAddressAndTheOtherWayRound(t *testing.T) {
	plain := lam(t, publishertest.Options{})
	cfg := to(plain)
	cfg.LAMs[0].URL = strings.Replace(plain.URL(), "http:", "https:", 1)
	got := destination(t, cfg).Publish(t.Context(), events(1))
	check(t, got, 0, 0, 1)
	if !strings.Contains(got.Err.Error(), "does not speak TLS") {
		t.Errorf("got %q", got.Err)
	}

	secure := lam(t, publishertest.Options{TLS: server(must(publishertest.SelfSigned(publishertest.Leaf{})))})
	cfg = to(secure)
	cfg.LAMs[0].URL = strings.Replace(secure.URL(), "https:", "http:", 1)
	got = destination(t, cfg).Publish(t.Context(), events(1))
	_, refused, _ := count(got)
	if refused > 1 || len(secure.Received()) > 0 {
		t.Errorf("got %+v", got)
	}
}

func TestBasicCredentials(t *testing.T) {
	l := lam(t, publishertest.Options{User: "graze", Password: "hunter2"})
	for _, c := range []struct {
		what, user, password, inURL string
		ok                          bool
	}{
		{"right", "graze", "hunter2", "", true},
		{"wrong", "graze", "hunter3", "", false},
		{"none", "", "", "", false},
		{"in the address", "", "", "graze:hunter2@", true},
		{"the keys come before the address", "graze", "hunter2", "a:b@", true},
	} {
		cfg := to(l)
		cfg.LAMs[0].Username, cfg.LAMs[0].Password = c.user, c.password
		cfg.LAMs[0].URL = strings.Replace(cfg.LAMs[0].URL, "http://", "http://"+c.inURL, 1) + "?key=hunter2"
		cfg.LAMs[0].Name = ""
		d := destination(t, cfg)
		got := d.Publish(t.Context(), events(1))
		if (got.Err == nil) != c.ok {
			t.Errorf("%s: got %v", c.what, got.Err)
		}
		for _, s := range d.Status() {
			if strings.Contains(s.URL+s.Name+s.LastError, "hunter") {
				t.Errorf("%s: the status shows a secret: %+v", c.what, s)
			}
		}
	}
}

func TestProxies(t *testing.T) {
	ca := must(publishertest.NewCA("CA"))
	plain := lam(t, publishertest.Options{})
	secure := lam(t, publishertest.Options{TLS: server(must(ca.Issue(publishertest.Leaf{})))})
	file := filepath.Join(t.TempDir(), "ca.crt")
	write(t, file, ca.PEM())
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	for _, l := range []*publishertest.LAM{plain, secure} {
		proxy := must(publishertest.ListenProxy("127.0.0.1:0", "scott", "ti:ger hunter2"))
		cfg := to(l)
		cfg.LAMs[0].PublicKeyFile = file
		check(t, destination(t, cfg).Publish(t.Context(), events(1)), 1, 0, 0) // the environment does not count

		cfg.LAMs[0].ProxyURL = proxy.Addr()
		cfg.LAMs[0].ProxyUsername, cfg.LAMs[0].ProxyPassword = "scott", "ti:ger hunter2"
		check(t, destination(t, cfg).Publish(t.Context(), events(1)), 1, 0, 0)
		if r := proxy.Requests(); len(r) != 1 || !strings.Contains(r[0], strings.TrimPrefix(strings.TrimPrefix(l.URL(), "http://"), "https://")[:14]) {
			t.Errorf("%s: the proxy saw %q", l.URL(), r)
		}

		cfg.LAMs[0].ProxyPassword = "wrong"
		got := destination(t, cfg).Publish(t.Context(), events(1))
		check(t, got, 0, 0, 1)
		if got.Err == nil || !strings.Contains(got.Err.Error(), "ProxyUsername") || strings.Contains(got.Err.Error(), "hunter") {
			t.Errorf("%s: got %v", l.URL(), got.Err)
		}
		proxy.Close()
		got = destination(t, cfg).Publish(t.Context(), events(1))
		check(t, got, 0, 0, 1)
	}
}

// TestConnectionTestsDoNotLogOnToAProxy: trying a wrong password every ten seconds locks accounts.
func TestConnectionTestsDoNotLogOnToAProxy(t *testing.T) {
	l := lam(t, publishertest.Options{TLS: server(must(publishertest.SelfSigned(publishertest.Leaf{})))})
	proxy := must(publishertest.ListenProxy("127.0.0.1:0", "scott", "tiger"))
	defer proxy.Close()
	cfg := to(l)
	cfg.LAMs[0].ProxyURL = proxy.Addr()
	cfg.LAMs[0].ProxyUsername, cfg.LAMs[0].ProxyPassword = "scott", "wrong"
	d := destination(t, cfg)
	for d.Status()[0].State == "unknown" {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("no connection test")
		}
	}
	if n := proxy.Refused() + len(proxy.Requests()); n != 0 {
		t.Errorf("the test sent %d requests to the proxy", n)
	}
	if s := d.Status()[0]; s.State != "ok" {
		t.Errorf("got %+v", s)
	}
}

func TestTwoLAMsOfOneNameAreToldApart(t *testing.T) {
	a, b := lam(t, publishertest.Options{}), lam(t, publishertest.Options{})
	cfg := publisher.Config{LAMs: []publisher.LAM{{Name: "moog", URL: a.URL()}, {Name: "moog", URL: b.URL()}}}
	s := destination(t, cfg).Status()
	if s[0].Name != "moog" || s[1].Name != "moog (2)" {
		t.Errorf("got %q and %q", s[0].Name, s[1].Name)
	}
}
