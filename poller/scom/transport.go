package scom

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// newTransport is one console's own: HTTP/1.1 only (IIS' log-on schemes belong to connections),
// nothing taken from the environment, redirects and cookies left to the caller.
func newTransport(cfg Config, c Console) (*http.Transport, error) {
	proxy, err := c.proxy()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case c.InsecureSkipVerify:
		tlsConfig.InsecureSkipVerify = true
	case c.CAFile != "":
		roots := &rootsFile{path: c.CAFile}
		tlsConfig.InsecureSkipVerify = true // VerifyConnection does it, with authorities that may change
		tlsConfig.VerifyConnection = func(s tls.ConnectionState) error { return roots.verify(s, u.Hostname()) }
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	t := &http.Transport{
		// A dial goes on in the background when its request is given up, hence its own deadline.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
			defer cancel()
			conn, err := dial(ctx, network, addr)
			if err != nil && ctx.Err() == context.DeadlineExceeded {
				err = &timeout{"no connection", cfg.ConnectTimeout}
			}
			return conn, err
		},
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    cfg.ConnectTimeout,
		MaxIdleConnsPerHost:    4,                // one for each pipeline that polls at the same time
		IdleConnTimeout:        90 * time.Second, // below IIS' 120 s, so that we close first
		MaxResponseHeaderBytes: 256 << 10,
		ReadBufferSize:         64 << 10,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t, nil
}

// rootsFile are the authorities of a PEM file, read again when the file has changed, so that a
// renewed authority needs no restart.
type rootsFile struct {
	path string

	mu    sync.Mutex // guards what follows
	mtime time.Time
	size  int64
	pool  *x509.CertPool
}

// verify checks the server's chain and name as crypto/tls would. host is used where the server
// was addressed by an IP, which SNI does not carry.
func (r *rootsFile) verify(s tls.ConnectionState, host string) error {
	roots, err := r.load()
	if err != nil {
		return err
	}
	if s.ServerName != "" {
		host = s.ServerName
	}
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, DNSName: host, Intermediates: x509.NewCertPool()}
	for _, cert := range s.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err = s.PeerCertificates[0].Verify(opts)
	return err
}

// load returns the newest readable state of the file: while it is being replaced, the old one.
func (r *rootsFile) load() (*x509.CertPool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if err == nil && r.pool != nil && info.ModTime().Equal(r.mtime) && info.Size() == r.size {
		return r.pool, nil
	}
	var pool *x509.CertPool
	if err == nil {
		pool, err = readRoots(r.path)
	}
	if err != nil {
		if r.pool != nil {
			return r.pool, nil
		}
		return nil, err
	}
	r.pool, r.mtime, r.size = pool, info.ModTime(), info.Size()
	return pool, nil
}

func readRoots(path string) (*x509.CertPool, error) {
	pem, err := readFileBounded(path)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s: no PEM certificate in it", path)
	}
	return pool, nil
}
