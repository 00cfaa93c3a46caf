package test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
	"scomconnector/test/freeport"
)

// scomconnector runs the real program to its end.
func scomconnector(t *testing.T, env []string, args ...string) (code int, out string) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	b, err := cmd.CombinedOutput()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		return ee.ExitCode(), string(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(b)
}

// secure serves on loopback with a certificate of its own, without a name anybody knows, as Moogsoft's
// installer makes them; it returns the address and the certificate's file.
func secure(t *testing.T, dir, name string) (net.Listener, string) {
	t.Helper()
	cert, err := publishertest.SelfSigned(publishertest.Leaf{Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, cert.CertPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert.TLS}}), path
}

const sample = "../cmd/settings/testdata/original.json"

// The manual's own sample, with what the import asks for answered, becomes a node that delivers: the console
// and the LAM over TLS, the LAM known by its pinned certificate alone.
func TestTheManualsSampleRuns(t *testing.T) {
	p := &plant{t: t, dir: t.TempDir(), lam: publishertest.New(publishertest.Options{}),
		group: scomtest.New(scomtest.Options{Accounts: []scomtest.Account{{User: "administrator", Password: "from the environment", Role: "Operator"}}})}
	p.console = p.group.Console(scomtest.ConsoleOptions{})
	scom, scomCert := secure(t, p.dir, "console.pem")
	lam, lamCert := secure(t, p.dir, "lam.pem")
	p.console.Serve(scom)
	p.lam.Serve(lam)
	t.Cleanup(p.console.Close)
	t.Cleanup(p.lam.Close)
	t.Cleanup(p.end)
	t.Setenv("TEST_SCOM_PASSWORD", "from the environment")
	t.Setenv("TEST_PROXY_PASSWORD", "unused")

	code, out := scomconnector(t, nil, "init", "--primary", "127.0.0.1", "--import", sample, "--out", p.dir,
		"--answer", "ScomServers[0].Password=env:TEST_SCOM_PASSWORD",
		"--answer", "ScomServers[0].Url=https://"+scom.Addr().String()+"/OperationsManager",
		"--answer", "ScomServers[0].CaFile="+scomCert,
		"--answer", "MoogServers[0].MoogUrl=https://"+lam.Addr().String()+"/events/scom_lam_microsoftscom1",
		"--answer", "MoogServers[0].MoogPublicKey="+lamCert,
		"--answer", "MoogServers[1].ProxyPassword=env:TEST_PROXY_PASSWORD")
	if code != 0 {
		t.Fatalf("init exits %d:\n%s", code, out)
	}
	for _, named := range []string{"MoogServers[1]: has no address", "PollCriteriaDateFormat: this date format is kept but never used"} {
		if !strings.Contains(out, named) {
			t.Errorf("init does not name %q:\n%s", named, out)
		}
	}
	node := p.ports(filepath.Join(p.dir, "primary"))
	if code, out := scomconnector(t, nil, "check", "--node", filepath.Join(node.dir, "node.json")); code != 0 {
		t.Errorf("check exits %d:\n%s", code, out)
	}

	p.group.Populate(50, time.Hour)
	node.start()
	await(t, "the node leads", 30*time.Second, node.leads)
	p.awaitAll(60 * time.Second)
	p.group.Raise(alertOf("after the start"))
	p.awaitAll(60 * time.Second)
	s, err := node.status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Cluster != "SCOMConnectorv5" || len(s.LAMs) != 1 || s.LAMs[0].State != "ok" || s.SCOM[0].State != "ok" || s.Parked.Count != 0 {
		t.Errorf("the node says %+v", s)
	}
	if err := node.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// ports gives a node made by init free ports instead of 8085 and 8086, as an operator edits them.
func (p *plant) ports(dir string) *process {
	p.t.Helper()
	path := filepath.Join(dir, "node.json")
	text, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	api, port := freeport.Take(p.t), freeport.Take(p.t)
	text = bytes.ReplaceAll(text, []byte("127.0.0.1:8085"), []byte(api))
	text = bytes.ReplaceAll(text, []byte("127.0.0.1:8086"), []byte(port))
	p.put(path, string(text))
	node := &process{plant: p, id: filepath.Base(dir), dir: dir, url: "http://" + api}
	p.procs = append(p.procs, node)
	return node
}

// A LAM that shows another certificate than the pinned one gets nothing, and the page says why.
func TestAPinnedLAMOfAnotherKeyGetsNothing(t *testing.T) {
	p := &plant{t: t, dir: t.TempDir(), group: scomtest.New(scomtest.Options{}), lam: publishertest.New(publishertest.Options{})}
	p.console = p.group.Console(scomtest.ConsoleOptions{})
	scom := listen(t)
	lam, _ := secure(t, p.dir, "lam.pem")
	_, other := secure(t, p.dir, "other.pem")
	p.console.Serve(scom)
	p.lam.Serve(lam)
	t.Cleanup(p.console.Close)
	t.Cleanup(p.lam.Close)
	t.Cleanup(p.end)
	p.write(onLoopback(t, 1), scom.Addr().String(), lam.Addr().String())
	node := p.procs[0]
	path := filepath.Join(node.dir, "SCOMConnectorConfig.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	https := strings.Replace(string(text), `"MoogUrl": "http://`, `"MoogPublicKey": "`+other+`", "MoogUrl": "https://`, 1)
	p.put(path, https)
	p.group.Raise(alertOf("not for strangers"))
	node.start()
	await(t, "the page says that the certificate is another", 30*time.Second, func() bool {
		s, err := node.status()
		return err == nil && s.Verdict.Level == "stopped" && strings.Contains(s.Verdict.Do, "MoogPublicKey")
	})
	if n := p.lam.Counts().Events; n != 0 {
		t.Errorf("the stranger got %d events", n)
	}
}
