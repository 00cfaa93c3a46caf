package daemon

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster/port"
	"scomconnector/cmd/settings"
)

// serverTLS is the API's side of TLS. Its files are looked at with each connection, so that renewed ones are used without a
// restart. What cannot be used is an error at the start; later, while a certificate was replaced and its key not yet, those before
// stay in use, and the log says so.
func serverTLS(t settings.Tls, log hclog.Logger) (*tls.Config, error) {
	files := &tlsFiles{t: t, log: log}
	if _, err := files.config(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.config() },
	}, nil
}

// tlsFiles is the last good content of the API's files.
type tlsFiles struct {
	t   settings.Tls
	log hclog.Logger

	mu    sync.Mutex // guards what follows
	stamp string     // of the files that good was read from
	good  *tls.Config
	fault string // of what was read last; empty: none
}

// config is what the files say, or the last good they said.
func (f *tlsFiles) config() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp := stampOf(f.t.CertFile, f.t.KeyFile, f.t.CaFile)
	if f.good != nil && stamp == f.stamp {
		return f.good, nil
	}
	cfg, err := loadTLS(f.t)
	if err != nil && f.good == nil {
		return nil, err
	}
	if err != nil {
		if f.fault != err.Error() {
			f.fault = err.Error()
			f.log.Warn("the files of Tls cannot be used; those before stay in use", "error", err)
		}
		return f.good, nil
	}
	if f.good != nil {
		f.log.Info("the files of Tls have changed and are used")
	}
	f.good, f.stamp, f.fault = cfg, stamp, ""
	return cfg, nil
}

// stampOf changes whenever one of the files does.
func stampOf(paths ...string) string {
	var b strings.Builder
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "%d %d ", info.Size(), info.ModTime().UnixNano())
		} else {
			b.WriteString("none ")
		}
	}
	return b.String()
}

func loadTLS(t settings.Tls) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate of the API (Tls): %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	if t.CaFile == "" {
		if t.RequireClientCert {
			return nil, errors.New("Tls.RequireClientCert needs Tls.CaFile: the authority that signs the clients' certificates")
		}
		return cfg, nil
	}
	pem, err := os.ReadFile(t.CaFile)
	if err != nil {
		return nil, fmt.Errorf("authority of the API's clients (Tls.CaFile): %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authority of the API's clients (Tls.CaFile): %s holds no PEM certificate", t.CaFile)
	}
	cfg.ClientAuth = tls.RequestClientCert
	if t.RequireClientCert {
		cfg.ClientAuth = tls.RequireAnyClientCert
	}
	cfg.VerifyConnection = vouched(cert.Certificate[0], cfg.ClientCAs)
	return cfg, nil
}

// vouched accepts clients of the authorities, and who shows the node's own certificate: that is this machine's command line, and few
// authorities sign one certificate for both ends.
func vouched(own []byte, authorities *x509.CertPool) func(tls.ConnectionState) error {
	return func(c tls.ConnectionState) error {
		if len(c.PeerCertificates) == 0 || bytes.Equal(c.PeerCertificates[0].Raw, own) {
			return nil
		}
		return port.Vouched(c.PeerCertificates, authorities, x509.ExtKeyUsageClientAuth)
	}
}
