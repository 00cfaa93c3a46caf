package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"scomconnector/cmd/settings"
)

// readToken reads a token's file; an empty name is no token.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("read token: %s is empty", path)
	}
	return token, nil
}

// serverTLS reads certificate and key anew for each connection, so that a renewed file is used
// without a restart. A file that cannot be read is an error at the start, and later a failed
// handshake.
func serverTLS(t settings.Tls) (*tls.Config, error) {
	load := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		return &c, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("certificate of the API (Tls): %w", err)
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
	}
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
	cfg.ClientAuth = tls.VerifyClientCertIfGiven
	if t.RequireClientCert {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}
