package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// TLS gives the settings for each handshake anew, so that renewed certificates are picked up. The
// node adds that the other side's certificate must name its NodeID. The zero value is no TLS.
type TLS struct {
	Server func() (*tls.Config, error)
	Client func() (*tls.Config, error)
}

// Enabled reports whether there is TLS at all.
func (t TLS) Enabled() bool { return t.Server != nil && t.Client != nil }

// FileTLS is mutual TLS from PEM files that are read anew at each handshake. caFile holds the
// authorities that may vouch for a member, and no others are believed.
func FileTLS(certFile, keyFile, caFile string) TLS {
	load := func() (tls.Certificate, *x509.CertPool, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return cert, nil, fmt.Errorf("read the node-to-node certificate: %w", err)
		}
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return cert, nil, fmt.Errorf("read the node-to-node authorities: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return cert, nil, fmt.Errorf("read the node-to-node authorities: %s holds no certificate", caFile)
		}
		return cert, pool, nil
	}
	return TLS{
		Server: func() (*tls.Config, error) {
			cert, pool, err := load()
			return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: pool}, err
		},
		Client: func() (*tls.Config, error) {
			cert, pool, err := load()
			return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: pool}, err
		},
	}
}

// secureIn is the server's half of TLS; without TLS it is conn itself.
func (t TLS) secureIn(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if !t.Enabled() {
		return conn, nil
	}
	cfg, err := t.Server()
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	sec := tls.Server(conn, cfg)
	return sec, sec.HandshakeContext(ctx)
}

// secureOut is the client's half: the other side must show a certificate that names nodeID.
func (t TLS) secureOut(ctx context.Context, conn net.Conn, nodeID string) (net.Conn, error) {
	if !t.Enabled() {
		return conn, nil
	}
	cfg, err := t.Client()
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	cfg.ServerName = nodeID
	sec := tls.Client(conn, cfg)
	return sec, sec.HandshakeContext(ctx)
}

// checkName holds a caller to the certificate it came with: a member may only speak for itself.
func (t TLS) checkName(conn net.Conn, nodeID string) error {
	if !t.Enabled() {
		return nil
	}
	sec, ok := conn.(*tls.Conn)
	if !ok || len(sec.ConnectionState().PeerCertificates) == 0 {
		return errors.New("no certificate was shown")
	}
	if err := sec.ConnectionState().PeerCertificates[0].VerifyHostname(nodeID); err != nil {
		return fmt.Errorf("the certificate is not of %s: %w", nodeID, err)
	}
	return nil
}
