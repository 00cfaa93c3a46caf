package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/test/freeport"
	"scomconnector/test/logbuf"
)

// HAProxy with the shipped configuration, names and port apart.
func haproxy(t *testing.T, p *plant, log io.Writer) (url string) {
	t.Helper()
	path, err := exec.LookPath("haproxy")
	need(t, err == nil, "haproxy")
	if out, err := exec.Command(path, "-c", "-f", "../deploy/haproxy.cfg").CombinedOutput(); err != nil {
		t.Errorf("haproxy -c: %v\n%s", err, out)
	}
	text, err := os.ReadFile("../deploy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	front := freeport.Take(t)
	cfg := string(text)
	for was, is := range map[string]string{
		"bind :8085": "bind " + front, "scomc1.contoso.com:8085": strings.TrimPrefix(p.procs[0].url, "http://"),
		"scomc2.contoso.com:8085": strings.TrimPrefix(p.procs[1].url, "http://"), "scom1.contoso.com:8085": strings.TrimPrefix(p.procs[2].url, "http://"),
	} {
		if !strings.Contains(cfg, was) {
			t.Fatalf("haproxy.cfg has no %q", was)
		}
		cfg = strings.ReplaceAll(cfg, was, is)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	p.put(file, cfg)
	cmd := exec.Command(path, "-db", "-f", file)
	cmd.Stdout = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return "http://" + front
}

// The page's events pass through a proxy at once, one by one.
func (p *plant) followed(url string) {
	t := p.t
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second}
	for range 3 { // a machine at its limits may change leaders, which ends the stream, and a browser asks again
		resp, err := client.Get(url + "/api/v1/events?as=page")
		if err != nil {
			continue
		}
		began, events := time.Now(), 0
		for lines := bufio.NewScanner(resp.Body); events < 3 && lines.Scan(); {
			if lines.Text() == "event: page" {
				events++
			}
		}
		resp.Body.Close()
		if took := time.Since(began); events == 3 && took < 15*time.Second {
			return
		}
	}
	t.Error("no stream brought three events through the proxy in some six seconds")
}

// Behind HAProxy people meet the leader, also after it has changed; a close request is taken at any moment.
func TestHAProxyFollowsTheLeader(t *testing.T) {
	t.Parallel()
	p := newPlant(t, plantOptions{nodes: 3, node: `"Timing": "lan",`, more: haste})
	var log logbuf.Buffer
	url := haproxy(t, p, &log)
	for _, pr := range p.procs {
		pr.start()
	}
	p.assembled()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answers := func() string {
		resp, err := client.Get(url + "/api/v1/status")
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		var s struct{ Node string }
		if json.NewDecoder(resp.Body).Decode(&s) != nil {
			return ""
		}
		return s.Node
	}
	closes := func(when string) {
		t.Helper()
		resp, err := client.Post(url+"//event_post", "", strings.NewReader(`{"id": "5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01"}`))
		if err != nil {
			t.Errorf("close request %s: %v", when, err)
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("close request %s: %s", when, resp.Status)
		}
	}
	await(t, "HAProxy shows the Primary's page", 30*time.Second, func() bool { return answers() == "n1" })
	p.followed(url)
	closes("to the Primary")
	if code, out := scomconnector(t, nil, "transfer", "--to", "n2", "--url", p.procs[0].url); code != 0 {
		t.Fatalf("transfer: exit code %d\n%s", code, out)
	}
	await(t, "HAProxy shows the Secondary's page", 30*time.Second, func() bool { return answers() == "n2" })
	closes("after the transfer")
	p.procs[1].kill()
	closes("after the leader was killed")
	await(t, "HAProxy shows the Primary's page again", 30*time.Second, func() bool { return answers() == "n1" })
	// Who comes by way of the proxy is not at the machine, whatever the address says.
	resp, err := client.Post(url+"/api/v1/transfer", "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a write by way of the proxy, without a token: %s, want 403", resp.Status)
	}
	// From where it came stands nowhere else. Whoever only looks is no line.
	await(t, "HAProxy tells of the write", 10*time.Second, func() bool { return strings.Contains(log.String(), `"POST /api/v1/transfer HTTP`) })
	if text := log.String(); !strings.Contains(text, "127.0.0.1:") || !strings.Contains(text, "POST //event_post") || strings.Contains(text, "GET /") {
		t.Errorf("HAProxy's log:\n%s", text)
	}
}
