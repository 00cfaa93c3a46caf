package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "scomconnector/api/v1"
)

// A node whose certificate is of a company's own authority could be asked from its own machine only.
func TestANodeOfAPrivateAuthorityIsAskedFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	at := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
	for _, args := range [][]string{
		{"cert", "ca", "--out", at("ca")},
		{"cert", "issue", "--ca", at("ca"), "--node", "n1", "--host", "localhost", "--out", at("n1")},
		{"cert", "issue", "--ca", at("ca"), "--node", "ann", "--out", at("ann")},
	} {
		if out, errs, code := typed("", args...); code != 0 {
			t.Fatalf("%v: %d %s%s", args, code, out, errs)
		}
	}
	pair, err := tls.LoadX509KeyPair(at("n1", "cluster.crt"), at("n1", "cluster.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(at("ca", "cluster-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"node":"n1"}`))
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	url := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	ca, cert, key := "--ca="+at("ca", "cluster-ca.crt"), "--cert="+at("ann", "cluster.crt"), "--key="+at("ann", "cluster.key")
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"all that it takes", []string{"--url", url, ca, cert, key}, 0, "n1"},
		{"no authority", []string{"--url", url, cert, key}, 1, "hint: --ca FILE names the authority's certificate"},
		{"no certificate", []string{"--url", url, ca}, 1, "hint: the node asks for a certificate"},
		{"half a certificate", []string{"--url", url, ca, cert}, 2, "--cert and --key belong together"},
		{"no such authority", []string{"--url", url, "--ca", at("none")}, 1, "--ca: open"},
		{"a key for an authority", []string{"--url", url, "--ca", at("ann", "cluster.key")}, 1, "holds no certificate in PEM form"},
		{"this machine's node", []string{ca}, 2, "are for --url"},
	} {
		out, errs, code := typed("", append([]string{"status", "--json"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s%s", c.name, code, c.code, c.says, out, errs)
		}
	}
}

// A leader with such a certificate was taken for gone, and a takeover beside it was not refused.
func TestALeaderOfAPrivateAuthorityIsThere(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/leader" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	if got := leaderElsewhere(v1.Status{Node: "n2", Members: []v1.Member{{Node: "n1", URL: srv.URL}, {Node: "n2", URL: srv.URL}}}); got != "n1" {
		t.Errorf("got %q, want n1", got)
	}
}
