package publisher

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// trust decides which server is the LAM, and who we are to it, from files that may change at any
// time.
//
// A certificate in caFile is a pin: a server that proves to hold its key is the LAM, whatever its
// name, chain and dates say, because the certificates that Moogsoft installs for itself are
// self-signed, often without the host's name, and nobody renews them. One that is a CA also
// vouches for others, and then name, chain and dates count. (A self-signed certificate made by
// openssl says that it is a CA, so the pin holds for those, too.)
type trust struct {
	caFile            string      // "": the system's roots
	certFile, keyFile string      // "": no client certificate
	asked             atomic.Bool // the server demanded a client certificate

	mu     sync.Mutex // guards all below
	loaded bool
	marks  [3]mark
	certs  []*x509.Certificate
	client *tls.Certificate
}

// mark tells whether a file has changed.
type mark struct {
	at   time.Time
	size int64
}

// fileError is what is wrong with a file, in plain words.
type fileError struct{ error }

func (e *fileError) Unwrap() error { return e.error }

// refresh reads the files again if they have changed, which a stat tells; changed reports it. The
// error is in plain words.
func (t *trust) refresh() (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	marks, err := t.stat()
	if err != nil {
		t.loaded = false
		return false, err
	}
	if t.loaded && marks == t.marks {
		return false, nil
	}
	was := t.loaded || t.marks != [3]mark{}
	t.loaded = false
	if t.caFile != "" {
		if t.certs, err = readCertificates(t.caFile); err != nil {
			return false, &fileError{fmt.Errorf("MoogPublicKey %s: %w", t.caFile, err)}
		}
	}
	if t.certFile != "" {
		pair, err := tls.LoadX509KeyPair(t.certFile, t.keyFile)
		if err != nil {
			return false, &fileError{fmt.Errorf("ClientCertFile %s with ClientKeyFile %s cannot be used: %w", t.certFile, t.keyFile, err)}
		}
		t.client = &pair
	}
	t.loaded, t.marks = true, marks
	return was, nil
}

func (t *trust) stat() (marks [3]mark, err error) {
	for i, f := range []struct{ key, path string }{
		{"MoogPublicKey", t.caFile}, {"ClientCertFile", t.certFile}, {"ClientKeyFile", t.keyFile},
	} {
		if f.path == "" {
			continue
		}
		info, err := os.Stat(f.path)
		if err != nil {
			return marks, &fileError{fmt.Errorf("%s cannot be read: %w", f.key, err)}
		}
		marks[i] = mark{info.ModTime(), info.Size()}
	}
	return marks, nil
}

// maxCertificates bounds the size of a certificate file: a bundle of all public CAs is 250 KiB.
const maxCertificates = 1 << 20

func readCertificates(path string) ([]*x509.Certificate, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxCertificates {
		return nil, fmt.Errorf("is no certificate: it has %d bytes", info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	var certs []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a broken certificate: %w", err)
		}
		certs = append(certs, c)
	}
	if len(certs) > 0 {
		return certs, nil
	}
	if certs, err = x509.ParseCertificates(data); err != nil || len(certs) == 0 {
		return nil, errors.New("holds no certificate, neither as PEM nor as DER")
	}
	return certs, nil
}

// config verifies by itself, in VerifyConnection, which sees every handshake; the standard check
// knows no pins and would keep the roots of the moment the transport was made.
func (t *trust) config(host string) *tls.Config {
	return &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // verified below
		VerifyConnection:   func(s tls.ConnectionState) error { return t.verify(host, s, time.Now()) },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			t.asked.Store(true)
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.client == nil {
				return &tls.Certificate{}, nil // none: the LAM decides whether it needs one
			}
			return t.client, nil
		},
	}
}

var errNotPinned = errors.New("the server's certificate is not the one in MoogPublicKey")

func (t *trust) verify(host string, s tls.ConnectionState, now time.Time) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	leaf := s.PeerCertificates[0]
	o := x509.VerifyOptions{DNSName: host, CurrentTime: now, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if t.caFile != "" {
		t.mu.Lock()
		certs := t.certs
		t.mu.Unlock()
		o.Roots = x509.NewCertPool()
		authority := false
		for _, c := range certs {
			if bytes.Equal(c.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
				return nil
			}
			if c.IsCA {
				authority = true
				o.Roots.AddCert(c)
			}
		}
		if !authority {
			return errNotPinned
		}
	}
	_, err := leaf.Verify(o)
	return err
}

// expiry is the earliest end of the configured certificates; zero without any, or before they were read.
func (t *trust) expiry() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var end time.Time
	for _, c := range t.certs {
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end.UTC()
}
