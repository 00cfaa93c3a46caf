package etcdnode

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"scomconnector/cluster"
)

// explain says what is wrong with an endpoint, in an operator's words. gRPC hides what happened below it, so where a call came to no
// answer the endpoint is dialled once more, by hand.
func (c *client) explain(ctx context.Context, endpoint string, err error) string {
	if words := explainAnswer(err, c.cfg); words != "" {
		return words
	}
	if errors.Is(err, errPassword) {
		return err.Error()
	}
	if t, ok := errors.AsType[*trouble](err); ok {
		return t.text
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTime)
	defer cancel()
	if words := c.explainDial(ctx, endpoint); words != "" {
		return words
	}
	if isTransport(err) {
		return "it takes connections and gives no answer in time, since its etcd has no majority or is overloaded: start the members that are down, and look at their logs"
	}
	return err.Error()
}

// explainAnswer is for what etcd itself said.
func explainAnswer(err error, cfg Config) string {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(rpctypes.ErrNoLeader, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrLeaderChanged, rpctypes.ErrGRPCNoLeader):
		return "its etcd has no majority: more than half of its members must run and reach each other"
	case is(rpctypes.ErrPermissionDenied, rpctypes.ErrGRPCPermissionDenied) && cfg.User == "":
		return fmt.Sprintf("it allows nothing without a user: set Etcd.User and Etcd.Password, for a user with the right to read and write all keys that begin with %s", cfg.Prefix)
	case is(rpctypes.ErrPermissionDenied, rpctypes.ErrGRPCPermissionDenied):
		return fmt.Sprintf("user %q may not read and write the keys that begin with %s: correct Etcd.Prefix or Etcd.User, or allow it with etcdctl role grant-permission ROLE --prefix=true readwrite %s", cfg.User, cfg.Prefix, cfg.Prefix)
	case is(rpctypes.ErrUserEmpty, rpctypes.ErrGRPCUserEmpty):
		return "it asks for a user: set Etcd.User and Etcd.Password"
	case is(rpctypes.ErrAuthFailed, rpctypes.ErrGRPCAuthFailed):
		return fmt.Sprintf("it refuses user %q with this password: correct Etcd.User or Etcd.Password", cfg.User)
	case is(rpctypes.ErrAuthNotEnabled, rpctypes.ErrGRPCAuthNotEnabled):
		return "it knows no users, since authentication is off there: remove Etcd.User and Etcd.Password, or turn it on with etcdctl auth enable"
	case is(rpctypes.ErrNoSpace, rpctypes.ErrGRPCNoSpace):
		return "its database is full, and it takes no writes: " + cluster.FreeEtcd
	case is(rpctypes.ErrInvalidAuthToken, rpctypes.ErrGRPCInvalidAuthToken):
		return "its etcd has forgotten this log-on; logging on again"
	case is(rpctypes.ErrRequestTooLarge, rpctypes.ErrGRPCRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrGRPCTooManyOps):
		return "it allows only smaller requests than etcd's own defaults: --max-request-bytes 1572864 and --max-txn-ops 128 at least"
	case status.Code(err) == codes.Unimplemented:
		return "it answers, and is no etcd of version 3.4 or later"
	}
	return ""
}

// explainDial is for what lies below gRPC; empty: a connection can be had.
func (c *client) explainDial(ctx context.Context, endpoint string) string {
	host := hostOf(endpoint)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return explainTCP(err, host)
	}
	defer conn.Close()
	if !strings.HasPrefix(endpoint, "https:") {
		if speaksTLS(ctx, conn) {
			return "it speaks TLS there: write https:// in Etcd.Endpoints"
		}
		if speaksHTTP1(ctx, host) {
			return "a web server answers there, and no etcd: correct Etcd.Endpoints"
		}
		return ""
	}
	cfg, err := c.tls()
	if err != nil {
		return err.Error()
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = strings.Cut(host, ":")
		if h, _, err := net.SplitHostPort(host); err == nil {
			cfg.ServerName = h
		}
	}
	sec := tls.Client(conn, cfg)
	if err := sec.HandshakeContext(ctx); err != nil {
		return explainTLS(err)
	}
	// A server that wants a certificate says so only in answer to the first bytes.
	sec.SetDeadline(time.Now().Add(300 * time.Millisecond)) //nolint:errcheck // the read says what happened
	if _, err := sec.Read(make([]byte, 1)); err != nil {
		if a, ok := errors.AsType[tls.AlertError](err); ok {
			return explainTLS(a)
		}
		if strings.Contains(err.Error(), "certificate") {
			return explainTLS(err)
		}
	}
	return ""
}

// speaksTLS reports whether a TLS handshake gets as far as the server's certificate.
func speaksTLS(ctx context.Context, conn net.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, attemptTime/2) // who speaks no TLS may wait for more
	defer cancel()
	shown := errors.New("a certificate was shown")
	err := tls.Client(conn, &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // nothing is sent: whoever shows a certificate is refused
		VerifyConnection: func(tls.ConnectionState) error { return shown },
	}).HandshakeContext(ctx)
	return errors.Is(err, shown)
}

// speaksHTTP1 reports whether the first bytes of HTTP/2, which etcd speaks, are answered in the older version.
func speaksHTTP1(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, attemptTime/2)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end) //nolint:errcheck // the read says what happened
	}
	// The preface of RFC 9113, 3.4: made to be refused by whoever does not know it; then SETTINGS without any.
	io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00") //nolint:errcheck // as above
	answer := make([]byte, len("HTTP/1."))
	_, err = io.ReadFull(conn, answer)
	return err == nil && string(answer) == "HTTP/1."
}

// What Windows says where others say ECONNREFUSED and ECONNRESET.
const (
	wsaConnRefused = syscall.Errno(10061)
	wsaConnReset   = syscall.Errno(10054)
)

func explainTCP(err error, host string) string {
	dns, _ := errors.AsType[*net.DNSError](err)
	switch {
	case dns != nil:
		return fmt.Sprintf("the name %s cannot be resolved: correct Etcd.Endpoints, or the name service", host)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, wsaConnRefused):
		return fmt.Sprintf("nothing listens at %s: start etcd, or correct Etcd.Endpoints", host)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return fmt.Sprintf("%s does not answer at all: its machine is away, or a firewall drops the packets", host)
	}
	return err.Error()
}

func explainTLS(err error) string {
	unknown, _ := errors.AsType[x509.UnknownAuthorityError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	wrongName, isWrongName := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isUnknown:
		who := ""
		if unknown.Cert != nil {
			who = fmt.Sprintf(" (it was issued by %q)", unknown.Cert.Issuer.CommonName)
		}
		return "its certificate comes from an authority that is not in Etcd.CaFile" + who + ": set Etcd.CaFile to a file with that authority's certificate"
	case isWrongName:
		return fmt.Sprintf("its certificate is for %s and not for %s: write one of its names in Etcd.Endpoints, or have a certificate issued with this one", namesOf(wrongName.Certificate), wrongName.Host)
	case isInvalid:
		return fmt.Sprintf("its certificate cannot be used: %v", invalid)
	case plain:
		return "it speaks without TLS there: write http:// in Etcd.Endpoints, or turn TLS on in etcd"
	case strings.Contains(err.Error(), "certificate required"), strings.Contains(err.Error(), "bad certificate"), strings.Contains(err.Error(), "unknown certificate authority"):
		return asksCertificate
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, wsaConnReset) {
		return "it ends the connection at the first bytes of TLS, as an etcd without TLS does: write http:// in Etcd.Endpoints, or turn TLS on in etcd"
	}
	return "TLS failed: " + err.Error()
}

const asksCertificate = "it asks for a certificate of this node, from its own authority: set Etcd.CertFile and Etcd.KeyFile"

func namesOf(cert *x509.Certificate) string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	return strings.Join(names, ", ")
}

// refuseOld asks an endpoint for its version; one that gives no answer will show in other ways what is wrong with it.
func refuseOld(ctx context.Context, cl *clientv3.Client, url string) error {
	st, err := cl.Status(ctx, url)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return checkVersion(st.Version)
}

func checkVersion(version string) error {
	if !tooOld(version) {
		return nil
	}
	return &trouble{text: fmt.Sprintf("it runs etcd %s, and 3.4 is the oldest that will do: upgrade it", version)}
}

// tooOld: what this program needs came with 3.4.
func tooOld(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false // it does not say
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major < 3 || major == 3 && minor < 4)
}
