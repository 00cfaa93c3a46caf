package publisher

import (
	"crypto/tls"
)

// TLS is how a LAM's certificate is judged, and who we are to it. The error is in plain words.
func TLS(c LAM) (*tls.Config, error) {
	target, err := parseTarget(c.URL)
	if err != nil {
		return nil, err
	}
	t := &trust{caFile: c.PublicKeyFile, certFile: c.ClientCertFile, keyFile: c.ClientKeyFile}
	if _, err := t.refresh(); err != nil {
		return nil, err
	}
	return t.config(target.Hostname()), nil
}

// ExplainTLS says in plain words why a handshake with a LAM failed.
func ExplainTLS(err error) string { return explain(err, defaultConnectTimeout).text }
