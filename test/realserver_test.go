package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"scomconnector/test/freeport"
)

// Real servers run on ports of loopback, with all their files in a folder of their own, and are ended by their process id.

// bench is the folder of one test's servers. Servers that drop root's rights must be able to read in it.
type bench struct {
	t   *testing.T
	dir string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "scomconnector-real-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &bench{t, dir}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) put(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

// needs skips or fails the test where a program is missing.
func (b *bench) needs(programs ...string) {
	b.t.Helper()
	for _, p := range programs {
		_, err := exec.LookPath(p)
		need(b.t, err == nil, p)
	}
}

// run runs a program to its end.
func (b *bench) run(env []string, name string, args ...string) {
	b.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// serve starts a server in the foreground and waits until it listens. It ends with the test; its log is shown if that fails.
func (b *bench) serve(env []string, address, name string, args ...string) {
	b.t.Helper()
	log, err := os.Create(b.path(filepath.Base(name) + "-" + address[strings.LastIndex(address, ":")+1:] + ".log"))
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	b.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-done
		}
		log.Close()
		if b.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			b.t.Logf("%s:\n%s", filepath.Base(log.Name()), text[max(0, len(text)-4000):])
		}
	})
	await(b.t, name+" listens on "+address, 20*time.Second, func() bool {
		select {
		case <-done:
			text, _ := os.ReadFile(log.Name())
			b.t.Fatalf("%s ended:\n%s", name, text)
		default:
		}
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// certificates makes an authority and a certificate for localhost and 127.0.0.1, for servers and clients: NAME-ca.pem, NAME.pem, NAME-key.pem.
func (b *bench) certificates(name string) (ca, cert, key string) {
	b.t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.t.Fatal(err)
		}
		return k
	}
	put := func(file, kind string, der []byte, err error) string {
		if err != nil {
			b.t.Fatal(err)
		}
		return b.put(file, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	caKey, leafKey := newKey(), newKey()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + " authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: from, NotAfter: to,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	ca = put(name+"-ca.pem", "CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, authority, &leafKey.PublicKey, caKey)
	cert = put(name+".pem", "CERTIFICATE", der, err)
	der, err = x509.MarshalECPrivateKey(leafKey)
	key = put(name+"-key.pem", "EC PRIVATE KEY", der, err)
	return ca, cert, key
}

// realm is an MIT KDC of the realm SCOM.TEST.
type realm struct {
	*bench
	env  []string
	conf string // krb5.conf
}

const realmName = "SCOM.TEST"

// newRealm starts a KDC whose tickets last as long as life says, such as "10h"; "1m" is the shortest that it gives.
func newRealm(b *bench, life string) *realm {
	b.t.Helper()
	b.needs("krb5kdc", "kdb5_util", "kadmin.local")
	address := freeport.Take(b.t)
	_, port, _ := net.SplitHostPort(address)
	r := &realm{bench: b}
	r.conf = b.put("krb5.conf", fmt.Sprintf(`[libdefaults]
default_realm = %s
dns_lookup_kdc = false
rdns = false
udp_preference_limit = 1
[realms]
%[1]s = {
  kdc = %s
}
[domain_realm]
localhost = %[1]s
`, realmName, address))
	profile := b.put("kdc.conf", fmt.Sprintf(`[kdcdefaults]
kdc_listen = 127.0.0.1:%s
kdc_tcp_listen = 127.0.0.1:%[1]s
[realms]
%s = {
  database_name = %s/principal
  key_stash_file = %[3]s/stash
  acl_file = %[3]s/acl
  max_life = %s
  max_renewable_life = 0
  supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal
}
[logging]
kdc = FILE:%[3]s/kdc.log
`, port, realmName, b.dir, life))
	r.env = []string{"KRB5_CONFIG=" + r.conf, "KRB5_KDC_PROFILE=" + profile, "KRB5CCNAME=FILE:" + b.path("ccache")}
	b.run(r.env, "kdb5_util", "-r", realmName, "-P", "master", "create", "-s")
	r.admin("addprinc -pw secret +requires_preauth alice")
	r.admin("addprinc -randkey +requires_preauth robot")
	r.admin("addprinc -randkey HTTP/localhost")
	r.admin("ktadd -k " + b.path("http.keytab") + " HTTP/localhost")
	r.admin("ktadd -k " + b.path("robot.keytab") + " robot")
	if err := os.Chmod(b.path("http.keytab"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.serve(r.env, address, "krb5kdc", "-n", "-r", realmName)
	return r
}

func (r *realm) admin(query string) {
	r.t.Helper()
	r.run(r.env, "kadmin.local", "-r", realmName, "-q", query)
}

// badLogOns counts what the KDC has refused as a wrong password.
func (r *realm) badLogOns() int {
	r.t.Helper()
	log, err := os.ReadFile(r.path("kdc.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(string(log), "PREAUTH_FAILED")
}

// tickets counts what it has given out for a service.
func (r *realm) tickets(service string) int {
	r.t.Helper()
	log, err := os.ReadFile(r.path("kdc.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for line := range strings.SplitSeq(string(log), "\n") {
		if strings.Contains(line, "ISSUE") && strings.Contains(line, " for "+service) {
			n++
		}
	}
	return n
}

// apache is a web server with Windows authentication in front of a console, as IIS would be.
type apache struct {
	*bench
	plain, secure string // host and port
	ca            string
}

const apacheModules = "/usr/lib/apache2/modules/"

// newApache starts one: /ntlm, /krb and /both ask for the one, the other, or offer both. more are further lines of its configuration.
func newApache(r *realm, console string, more string) *apache {
	b := r.bench
	b.t.Helper()
	b.needs("apache2")
	for _, module := range []string{apacheModules + "mod_auth_gssapi.so", "/etc/gss/mech.d/mech.ntlmssp.conf"} {
		_, err := os.Stat(module)
		need(b.t, err == nil, module)
	}
	a := &apache{bench: b, plain: freeport.Take(b.t), secure: freeport.Take(b.t)}
	var cert, key string
	a.ca, cert, key = b.certificates("apache")
	users := b.put("ntlm.users", "SCOM:alice:secret\n")
	var modules strings.Builder
	for _, m := range []string{"mpm_event", "authn_core", "authz_core", "authz_user", "auth_gssapi", "headers", "proxy", "proxy_http", "ssl", "socache_shmcb"} {
		fmt.Fprintf(&modules, "LoadModule %s_module %smod_%[1]s.so\n", m, apacheModules)
	}
	location := func(path string, lines ...string) string {
		return fmt.Sprintf("<Location /%s>\n%s\nAuthType GSSAPI\nAuthName scom\nRequire valid-user\nRequestHeader set X-User \"expr=%%{REMOTE_USER}\"\nProxyPass http://%s/OperationsManager\n</Location>\n",
			path, strings.Join(lines, "\n"), console)
	}
	_, plainPort, _ := net.SplitHostPort(a.plain)
	_, securePort, _ := net.SplitHostPort(a.secure)
	conf := b.put("httpd.conf", modules.String()+fmt.Sprintf(`
ServerRoot %s
PidFile %[1]s/httpd.pid
Mutex file:%[1]s
ServerName localhost
ErrorLog /dev/stderr
LogLevel warn
User www-data
Group www-data
Listen 127.0.0.1:%s
Listen 127.0.0.1:%s
StartServers 1
ServerLimit 2
ThreadsPerChild 25
MaxRequestWorkers 50
KeepAlive On
CustomLog %[1]s/access.log "%%>s %%{Authorization}i"
MaxKeepAliveRequests 0
%[4]s
<VirtualHost *:%[3]s>
SSLEngine on
SSLCertificateFile %[5]s
SSLCertificateKeyFile %[6]s
</VirtualHost>
`, b.dir, plainPort, securePort, more, cert, key))
	text, _ := os.ReadFile(conf)
	b.put("httpd.conf", string(text)+
		location("ntlm", "GssapiAllowedMech ntlmssp", "GssapiConnectionBound On")+
		location("krb", "GssapiAllowedMech krb5", "GssapiCredStore keytab:"+b.path("http.keytab"))+
		location("both", "GssapiAllowedMech krb5", "GssapiAllowedMech ntlmssp", "GssapiConnectionBound On"))
	env := slices.Concat(r.env, []string{"NTLM_USER_FILE=" + users, "KRB5_KTNAME=" + b.path("http.keytab")})
	b.serve(env, a.plain, "apache2", "-f", conf, "-D", "FOREGROUND")
	return a
}

// badLogOns counts handshakes that ended in a refusal: 401 to the last message of NTLM, which in base64 begins like this.
func (a *apache) badLogOns() int {
	a.t.Helper()
	log, err := os.ReadFile(a.path("access.log"))
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.Count(string(log), "401 NTLM TlRMTVNTUAAD") + strings.Count(string(log), "401 Negotiate TlRMTVNTUAAD")
}
