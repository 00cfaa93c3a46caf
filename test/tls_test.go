package test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/cmd/settings"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
	"scomconnector/test/freeport"
)

// fromInit is three nodes on loopback in the folders that init makes, certificates included. What differs from three machines is
// the ports, which have to be free here, and a console without TLS.
func fromInit(t *testing.T) *plant {
	p := &plant{t: t, dir: t.TempDir(), group: scomtest.New(scomtest.Options{}), lam: publishertest.New(publishertest.Options{})}
	scom, lam := listen(t), listen(t)
	p.console = p.group.Console(scomtest.ConsoleOptions{})
	p.console.Serve(scom)
	p.lam.Serve(lam)
	t.Cleanup(p.console.Close)
	t.Cleanup(p.lam.Close)
	t.Cleanup(p.end)
	p.tool("init", "--primary", "127.0.0.1", "--secondary", "127.0.0.1", "--witness", "127.0.0.1",
		"--scom", scom.Addr().String(), "--scom-user", `CONTOSO\svc-moogsoft`, "--lam", "http://"+lam.Addr().String()+"/events/scom", "--out", p.path("nodes"))
	var ports []string
	for _, taken := range []string{"8085", "8086", "8087", "8088", "8089", "8090"} {
		ports = append(ports, "127.0.0.1:"+taken, freeport.Take(t))
	}
	for i, id := range []string{"primary", "secondary", "witness"} {
		pr := &process{plant: p, id: id, dir: p.path("nodes", id), url: "http://" + ports[4*i+1]}
		p.procs = append(p.procs, pr)
		p.edit(filepath.Join(pr.dir, "node.json"), ports...)
		if id != "witness" {
			p.edit(filepath.Join(pr.dir, "SCOMConnectorConfig.json"), `// "Url": "", // if`, `"Url": "http://`+scom.Addr().String()+`/OperationsManager", // if`)
			p.put(filepath.Join(pr.dir, "scom-password"), "simulated\n")
		}
		if out := p.tool("check", "--node", filepath.Join(pr.dir, "node.json")); strings.Contains(out, "ClusterTls") {
			t.Errorf("check finds something in the certificates that init made:\n%s", out)
		}
	}
	return p
}

func (p *plant) path(parts ...string) string {
	return filepath.Join(append([]string{p.dir}, parts...)...)
}

// tool runs a command of the program that has to succeed.
func (p *plant) tool(args ...string) string {
	p.t.Helper()
	code, out := scomconnector(p.t.(*testing.T), nil, args...)
	if code != 0 {
		p.t.Fatalf("scomconnector %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// edit replaces pairs of texts, each of which must be there.
func (p *plant) edit(path string, pairs ...string) {
	p.t.Helper()
	text := string(p.read(path))
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			p.t.Fatalf("%s does not hold %s", path, pairs[i])
		}
	}
	p.put(path, strings.NewReplacer(pairs...).Replace(text))
}

func (p *plant) read(path string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// together waits until the node that leads sees three voters in contact.
func (p *plant) together(leader *process) {
	p.t.Helper()
	await(p.t, leader.id+" leads three voters in contact", time.Minute, func() bool {
		s, err := leader.status()
		if err != nil || s.Leader != leader.id || len(s.Members) != 3 {
			return false
		}
		for _, m := range s.Members {
			if !m.Voter || time.Since(m.LastContact) > 2*time.Second {
				return false
			}
		}
		return true
	})
}

// shown is the certificate with which a node answers on its cluster port.
func shown(t *testing.T, address string) *x509.Certificate {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// renewAll has cert renew make new certificates under the running nodes, and sees that each answers with its own.
func (p *plant) renewAll(ca string) {
	t := p.t.(*testing.T)
	t.Helper()
	for _, pr := range p.procs {
		file := filepath.Join(pr.dir, "node.json")
		node, faults := settings.LoadNode(file)
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		before := shown(t, node.ClusterAddress)
		p.tool("cert", "renew", "--ca", ca, "--node-file", file)
		block, _ := pem.Decode(p.read(node.ClusterTls.CertFile))
		if after := shown(t, node.ClusterAddress); bytes.Equal(after.Raw, before.Raw) || !bytes.Equal(after.Raw, block.Bytes) {
			t.Errorf("%s does not answer with its renewed certificate", pr.id)
		}
	}
}

// Three processes with what init made form a cluster over mutual TLS and deliver. Their certificates are renewed under way, and
// the authority itself is replaced, without a restart; a node that is killed and comes back is taken in with what is there then.
func TestCertificatesAreRenewedUnderARunningCluster(t *testing.T) {
	p := fromInit(t)
	primary, secondary := p.procs[0], p.procs[1]
	for _, pr := range p.procs {
		pr.start()
	}
	p.together(primary)
	p.group.RaiseAll([]scomtest.Alert{alertOf("a"), alertOf("b")})
	p.awaitAll(time.Minute)

	p.renewAll(p.path("nodes", "ca"))
	secondary.kill()
	p.group.RaiseAll([]scomtest.Alert{alertOf("c")})
	secondary.start()
	p.together(primary)
	p.awaitAll(time.Minute)

	p.tool("cert", "ca", "--out", p.path("next"))
	next := p.read(p.path("next", "cluster-ca.crt"))
	for _, pr := range p.procs {
		both := filepath.Join(pr.dir, "cluster-ca.crt")
		p.put(both, string(p.read(both))+string(next))
	}
	p.renewAll(p.path("next"))
	for _, pr := range p.procs {
		p.put(filepath.Join(pr.dir, "cluster-ca.crt"), string(next))
	}
	primary.kill()
	await(t, "the Secondary leads", time.Minute, secondary.leads)
	p.group.RaiseAll([]scomtest.Alert{alertOf("d")})
	p.awaitAll(time.Minute)
	primary.start()
	p.together(secondary)
	if d := p.lam.Counts().Duplicates; d > 4 {
		t.Errorf("%d events arrived twice, want at most one batch", d)
	}
}
