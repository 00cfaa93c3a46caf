package scom

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/test/logbuf"
)

// These tests need real sockets: TLS and proxies belong to net/http's own connections.

func newClient(t *testing.T, c Console) (*Client, *logbuf.Buffer) {
	t.Helper()
	log := &logbuf.Buffer{}
	c.Domain, c.User, c.Password = "CONTOSO", "svc-moogsoft", "simulated"
	client, err := New(Config{Consoles: []Console{c}}, hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, log
}

func pollOnce(t *testing.T, c *Client) error {
	t.Helper()
	_, err := c.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil })
	return err
}

func caFile(t *testing.T, path string, srv *httptest.Server) {
	t.Helper()
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesAreVerifiedByTheCAFileWhichMayChange(t *testing.T) {
	console := scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{})
	srv := httptest.NewTLSServer(console)
	t.Cleanup(srv.Close)
	u := srv.URL + "/OperationsManager"

	system, _ := newClient(t, Console{URL: u})
	err := pollOnce(t, system)
	if f, ok := alert.FaultOf(err); !ok || f.Class != alert.FaultTransport || !strings.Contains(err.Error(), "certificate") || !strings.Contains(err.Error(), "set CaFile") {
		t.Errorf("unknown authority: got %v", err)
	}
	if n := console.Counters(); len(n.Requests) != 0 {
		t.Errorf("requests were sent to an unverified server: %v", n.Requests)
	}

	path := filepath.Join(t.TempDir(), "ca.pem")
	caFile(t, path, srv)
	pinned, _ := newClient(t, Console{URL: u, CAFile: path})
	if err := pollOnce(t, pinned); err != nil {
		t.Errorf("with its CA file: %v", err)
	}

	// The name is checked, too: the test certificate is for 127.0.0.1 and example.com.
	wrong, _ := newClient(t, Console{URL: strings.Replace(u, "127.0.0.1", "localhost", 1), CAFile: path})
	if err := pollOnce(t, wrong); err == nil || !strings.Contains(err.Error(), "localhost") {
		t.Errorf("wrong name: got %v", err)
	}
}

func TestCAFileIsReadAgainWhenItChanges(t *testing.T) {
	srv := httptest.NewTLSServer(scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{}))
	t.Cleanup(srv.Close)
	roots := &rootsFile{path: filepath.Join(t.TempDir(), "ca.pem")}
	if _, err := roots.load(); err == nil {
		t.Error("a missing file: got no error")
	}
	caFile(t, roots.path, srv)
	first, err := roots.load()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := roots.load(); again != first {
		t.Error("an unchanged file is read again")
	}
	if err := os.WriteFile(roots.path, []byte("-----BEGIN CERTIFICATE-----\nMIIB"), 0o600); err != nil { // half written
		t.Fatal(err)
	}
	if kept, err := roots.load(); err != nil || kept != first {
		t.Errorf("while the file is broken, the old authorities hold: got %v", err)
	}
	caFile(t, roots.path, srv)
	if err := os.Chtimes(roots.path, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if renewed, err := roots.load(); err != nil || renewed == first {
		t.Errorf("a changed file is not read: %v", err)
	}
}

func TestUnverifiedTLSIsLoud(t *testing.T) {
	srv := httptest.NewTLSServer(scomtest.New(scomtest.Options{}).Console(scomtest.ConsoleOptions{}))
	t.Cleanup(srv.Close)
	c, log := newClient(t, Console{URL: srv.URL + "/OperationsManager", InsecureSkipVerify: true})
	if err := pollOnce(t, c); err != nil {
		t.Fatal(err)
	}
	if w := c.Status()[0].Warning; !strings.Contains(w, "not verified") || !strings.Contains(log.String(), "[WARN]") {
		t.Errorf("warning is %q, log:\n%s", w, log)
	}
}

// newProxy is an HTTP proxy that asks for user:pa:ss, for plain and tunnelled requests.
func newProxy(t *testing.T) (*httptest.Server, *int) {
	t.Helper()
	served := new(int)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:pa:ss"))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != want {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		*served++
		if r.Method == http.MethodConnect {
			tunnel(w, r)
			return
		}
		r.RequestURI = ""
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}))
	t.Cleanup(srv.Close)
	return srv, served
}

func tunnel(w http.ResponseWriter, r *http.Request) {
	far, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		return
	}
	fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { io.Copy(far, near); far.Close() }()
	io.Copy(near, far)
	near.Close()
}

func TestProxyWithPassword(t *testing.T) {
	group := scomtest.New(scomtest.Options{})
	plain := httptest.NewServer(group.Console(scomtest.ConsoleOptions{}))
	secure := httptest.NewTLSServer(group.Console(scomtest.ConsoleOptions{}))
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	caFile(t, ca, secure)
	for _, c := range []Console{{URL: plain.URL + "/OperationsManager"}, {URL: secure.URL + "/OperationsManager", CAFile: ca}} {
		proxy, served := newProxy(t)
		u, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.ProxyURL = "http://user:pa%3Ass@" + u.Host
		client, _ := newClient(t, c)
		if err := pollOnce(t, client); err != nil {
			t.Errorf("%s: %v", c.URL, err)
		}
		client.Close()
		if *served == 0 {
			t.Errorf("%s: the proxy was passed by", c.URL)
		}
		c.ProxyURL = "http://user:secret%3Aword@" + u.Host
		client, log := newClient(t, c)
		err = pollOnce(t, client)
		if err == nil || strings.Contains(err.Error()+log.String(), "secret") {
			t.Errorf("%s: wrong proxy password: got %v, log:\n%s", c.URL, err, log)
		}
	}
}

func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://192.0.2.1:1")
	}
	c, _ := newClient(t, Console{URL: "http://192.0.2.2/OperationsManager"})
	tr := c.consoles[0].transport
	if tr.Proxy != nil {
		t.Error("the transport asks for a proxy")
	}
}

func TestSettingsAreCheckedAtOnce(t *testing.T) {
	good := Console{URL: "https://h/OperationsManager/", User: "u"}
	missing := filepath.Join(t.TempDir(), "none.pem")
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{}, "no web console is configured"},
		{Config{Consoles: []Console{{Name: "a", User: "u"}}}, "must look like https://HOST/OperationsManager"},
		{Config{Consoles: []Console{{URL: "ftp://h/", User: "u"}}}, "must look like https://HOST/OperationsManager"},
		{Config{Consoles: []Console{{URL: "https://u:p@h/x", User: "u"}}}, "host and path only"},
		{Config{Consoles: []Console{{URL: "https://h/x"}}}, "no user is set"},
		{Config{Consoles: []Console{{URL: "https://h/x", User: "u", LoginForm: "a:b"}}}, "colon"},
		{Config{Consoles: []Console{{URL: "https://h/x", User: "u", ProxyURL: "http://u:secret@"}}}, "the proxy's URL"},
		{Config{Consoles: []Console{{URL: "https://h/x", User: "u", CAFile: missing}}}, "CA file"},
		{Config{Consoles: []Console{good}, DateForm: "us"}, "date form"},
		{Config{Consoles: []Console{good}, MaxPollRetryAttempt: -1}, "1 or more"},
		{Config{Consoles: []Console{good}, Stall: -time.Second}, "must be positive"},
	} {
		_, err := New(c.cfg, hclog.NewNullLogger())
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: got %v, want an error that says %q", c.cfg, err, c.says)
		}
	}
	client, err := New(Config{Consoles: []Console{{URL: "https://b/x", User: "u", Priority: 2}, {URL: "https://a:444/x/", User: "u", Priority: 1}}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := client.Status()
	if len(s) != 2 || s[0].Name != "a:444" || s[0].URL != "https://a:444/x" || !s[0].InUse || s[0].State != StateUnknown || s[1].InUse {
		t.Errorf("got %+v", s)
	}
}

// An answer of 40 MB must not be held: only one row is in memory at a time.
func TestLargeAnswerIsNotHeld(t *testing.T) {
	const chunks, rowsPerChunk = 54, 1000
	var chunk []byte
	for i := range rowsPerChunk {
		chunk = append(benchRow(chunk, i), ',')
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/authenticate":
			http.SetCookie(w, &http.Cookie{Name: "SCOMSessionId", Value: "x"})
			io.WriteString(w, `{}`)
		case "/data/alert":
			io.WriteString(w, `{"rows":[`)
			for range chunks {
				w.Write(chunk)
			}
			w.Write(bytes.TrimSuffix(chunk, []byte(",")))
			io.WriteString(w, `]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	c, _ := newClient(t, Console{URL: srv.URL})
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, peak, n := live(), uint64(0), 0
	answer, err := c.Poll(t.Context(), alert.Query{Slow: true}, func(r alert.Row) error {
		if n++; n%10000 == 0 {
			peak = max(peak, live())
		}
		return r.Err
	})
	if err != nil || answer.Rows != (chunks+1)*rowsPerChunk || answer.Bytes < 40_000_000 {
		t.Fatalf("got %+v, %v", answer, err)
	}
	if peak > before+8<<20 {
		t.Errorf("the heap grew from %d to %d MB while reading %d MB", before>>20, peak>>20, answer.Bytes>>20)
	}
}
