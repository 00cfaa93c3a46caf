package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// TLS gives the settings for each handshake anew, so that renewed certificates are picked up. The
// node adds that the other side's certificate must name its NodeID. The zero value is no TLS.
type TLS struct {
	Server func() (*tls.Config, error)
	Client func() (*tls.Config, error)
}

// Enabled reports whether there is TLS at all.
func (t TLS) Enabled() bool { return t.Server != nil && t.Client != nil }

// FileTLS is mutual TLS from PEM files that are read anew at each handshake. caFile holds the authorities that may vouch for a member,
// and no others are believed. While what is there cannot be used, such as a certificate that is half copied, the last good ones are.
func FileTLS(certFile, keyFile, caFile string) TLS {
	f := &tlsFiles{cert: certFile, key: keyFile, ca: caFile}
	return TLS{
		Server: func() (*tls.Config, error) {
			cert, pool, err := f.load()
			return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: pool}, err
		},
		Client: func() (*tls.Config, error) {
			cert, pool, err := f.load()
			return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: pool}, err
		},
	}
}

// tlsFiles are a node's files, and what they held when they could last be used.
type tlsFiles struct {
	cert, key, ca string

	mu       sync.Mutex // guards what follows
	goodCert tls.Certificate
	goodPool *x509.CertPool // nil: never yet
}

func (f *tlsFiles) load() (tls.Certificate, *x509.CertPool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cert, pool, err := f.read()
	switch {
	case err == nil:
		f.goodCert, f.goodPool = cert, pool
	case f.goodPool == nil:
		return cert, nil, err
	}
	return f.goodCert, f.goodPool, nil
}

func (f *tlsFiles) read() (tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return cert, nil, fmt.Errorf("read the node-to-node certificate: %w", err)
	}
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return cert, nil, fmt.Errorf("read the node-to-node authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return cert, nil, fmt.Errorf("read the node-to-node authorities: %s holds no certificate", f.ca)
	}
	return cert, pool, nil
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
