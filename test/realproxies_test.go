package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/test/freeport"
)

// openFolder is a folder that servers without root's rights may write in.
func (b *bench) openFolder(name string) string {
	b.t.Helper()
	if err := os.Mkdir(b.path(name), 0o777); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(b.path(name), 0o777); err != nil { // whatever the umask
		b.t.Fatal(err)
	}
	return b.path(name)
}

// newNginx starts one with TLS in front of two servers and returns where each is reached: a console, and a LAM that asks for
// client certificates. All else is as nginx comes, its limit of 1 MB for a request's body too.
func newNginx(b *bench, console, lam, clientCA, cert, key string) (forConsole, forLAM string) {
	b.t.Helper()
	b.needs("nginx")
	logs := b.openFolder("nginx")
	forConsole, forLAM = freeport.Take(b.t), freeport.Take(b.t)
	server := func(address, to, more string) string {
		return fmt.Sprintf("server {\nlisten %s ssl;\nserver_name localhost;\nssl_certificate %s;\nssl_certificate_key %s;\n%s\nlocation / { proxy_pass http://%s; }\n}\n",
			address, cert, key, more, to)
	}
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s/%[1]s;\n", kind, logs)
	}
	conf := b.put("nginx.conf", fmt.Sprintf("pid %s/pid;\nworker_processes 1;\nerror_log stderr warn;\nevents {}\nhttp {\nlog_format short '$server_port $status $ssl_client_verify $request_length';\naccess_log %[1]s/access.log short;\n%s%s%s}\n",
		logs, temp.String(), server(forConsole, console, ""), server(forLAM, lam, "ssl_client_certificate "+clientCA+";\nssl_verify_client on;")))
	b.serve(nil, forLAM, "nginx", "-p", b.dir, "-e", "stderr", "-c", conf, "-g", "daemon off;")
	return forConsole, forLAM
}

// newSquid starts a proxy that asks for user and password, and returns its address.
func newSquid(b *bench, user, password string) string {
	b.t.Helper()
	b.needs("squid")
	logs := b.openFolder("squid")
	asker := b.put("asker", fmt.Sprintf("#!/bin/sh\nwhile read -r user password; do\n  if [ \"$user $password\" = '%s %s' ]; then echo OK; else echo ERR; fi\ndone\n", user, password))
	if err := os.Chmod(asker, 0o755); err != nil {
		b.t.Fatal(err)
	}
	address := freeport.Take(b.t)
	conf := b.put("squid.conf", fmt.Sprintf(`http_port %s
pid_filename %s/pid
cache_log %[2]s/cache.log
access_log stdio:%[2]s/access.log
auth_param basic program %s
auth_param basic children 2
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
coredump_dir %[2]s
shutdown_lifetime 0 seconds
`, address, logs, asker))
	b.serve(nil, address, "squid", "-N", "-f", conf)
	return address
}

// lines counts those of a log that hold all the words.
func (b *bench) lines(name string, words ...string) (n int) {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
next:
	for line := range strings.SplitSeq(string(text), "\n") {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

// A node that reaches SCOM and the LAM only through a real squid with a password, both over TLS, and the LAM behind a real nginx
// with its own limit of a body and client certificates: what is too large for it is halved, and all of it arrives.
func TestRealNginxAndSquid(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.needs("nginx", "squid")
	p := newPlant(t, plantOptions{more: `"MaxPayloadSizeInMB": 10, "MaxBatchEvents": 5000, "LowerTimeoutBound": 1, "UpperTimeoutBound": 2,`})
	config := filepath.Join(p.procs[0].dir, "SCOMConnectorConfig.json")
	console, lam := between(t, p, config, `"Url": "http://`, `/`), between(t, p, config, `"MoogUrl": "http://`, `/`)

	ca, cert, key := b.certificates("server")
	clientCA, clientCert, clientKey := b.certificates("client")
	tlsConsole, tlsLAM := newNginx(b, console, lam, clientCA, cert, key)
	squid := newSquid(b, "connector", "geheim")
	host, port, _ := net.SplitHostPort(squid)
	https := func(address string) string { return "https://localhost:" + portOf(address) }
	p.edit(config,
		`"Url": "http://`+console, fmt.Sprintf(`"ProxyUrl": "plain:http://connector:geheim@%s", "CaFile": %q, "Url": "%s`, squid, ca, https(tlsConsole)),
		`"MoogUrl": "http://`+lam, fmt.Sprintf(`"IsProxyRequired": true, "MoogProxyIP": %q, "MoogProxyPort": %s, "ProxyUsername": "connector", "ProxyPassword": "plain:geheim",
			"MoogPublicKey": %q, "ClientCertFile": %q, "ClientKeyFile": %q, "MoogUrl": "%s`, host, port, ca, clientCert, clientKey, https(tlsLAM)))
	p.tool("check", "--node", filepath.Join(p.procs[0].dir, "node.json"))

	long := strings.Repeat("The System Center Management Health Service failed to heartbeat. ", 12)
	for range 4000 { // some 4 MB in one batch
		p.group.Raise(scomtest.Alert{Name: "large", Description: long, Severity: scomtest.Error, PrincipalName: "srv.contoso.com"})
	}
	p.procs[0].start()
	p.awaitAll(time.Minute)
	if err := p.procs[0].stop(); err != nil { // squid's log names a tunnel when it ends
		t.Error(err)
	}

	if n := b.lines("nginx/access.log", portOf(tlsLAM)+" 413"); n == 0 {
		t.Error("nginx has refused nothing as too large: this proves nothing")
	}
	if n := b.lines("nginx/access.log", portOf(tlsLAM)+" 200 SUCCESS"); n < 4 {
		t.Errorf("%d requests to the LAM with a client certificate", n)
	}
	for what, address := range map[string]string{"SCOM": tlsConsole, "the LAM": tlsLAM} {
		await(t, what+" was reached through the proxy", 10*time.Second, func() bool {
			return b.lines("squid/access.log", "CONNECT localhost:"+portOf(address), "connector") > 0
		})
	}
	if n := p.lam.Counts().Duplicates; n != 0 {
		t.Errorf("%d events arrived twice", n)
	}
}

// between is the text of a file between two others.
func between(t *testing.T, p *plant, path, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(p.read(path)), from)
	text, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s does not hold %s", path, from)
	}
	return text
}
