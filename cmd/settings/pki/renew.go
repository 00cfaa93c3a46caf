package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// ErrNotVouched is about a certificate that the node's authorities do not vouch for.
var ErrNotVouched = errors.New("is not vouched for")

// Renewed tells what a renewal did.
type Renewed struct{ Before, Ends time.Time }

// Renew puts a new certificate for the same key in place of certFile's. A running node uses it from its next connection on.
// caFile is what the nodes believe: it must vouch for the old certificate, so that no stranger's key gets a new one, and for the new
// one, since the node would else be cut off from the others. The old one may have ended.
func (a *Authority) Renew(certFile, caFile, nodeID, host string, now time.Time) (Renewed, error) {
	all, err := read(certFile)
	if err != nil {
		return Renewed{}, err
	}
	old := all[0]
	if err := old.VerifyHostname(nodeID); err != nil {
		return Renewed{}, fmt.Errorf("%s is not of node %s: %w", certFile, nodeID, err)
	}
	believed, err := read(caFile)
	if err != nil {
		return Renewed{}, err
	}
	then := now
	if then.After(old.NotAfter) {
		then = old.NotAfter
	}
	if err := vouched(old, believed, then); err != nil {
		return Renewed{}, fmt.Errorf("%s %w by %s: %w", certFile, ErrNotVouched, caFile, err)
	}
	cert, err := a.vouch(nodeID, host, old.PublicKey, now)
	if err != nil {
		return Renewed{}, err
	}
	if err := vouched(cert, believed, now); err != nil {
		return Renewed{}, fmt.Errorf("a certificate of this authority %w by %s, so the other nodes would refuse it: %w", ErrNotVouched, caFile, err)
	}
	if err := replace(certFile, nodePEM(nodeID, cert)); err != nil {
		return Renewed{}, fmt.Errorf("replace %s: %w", certFile, err)
	}
	return Renewed{old.NotAfter.UTC(), cert.NotAfter.UTC()}, nil
}

// vouched looks at the certificate as the other nodes will, at the time then.
func vouched(cert *x509.Certificate, believed []*x509.Certificate, then time.Time) error {
	roots := x509.NewCertPool()
	for _, c := range believed {
		roots.AddCert(c)
	}
	for _, end := range bothEnds() {
		o := x509.VerifyOptions{Roots: roots, CurrentTime: then, KeyUsages: []x509.ExtKeyUsage{end}}
		if _, err := cert.Verify(o); err != nil {
			return err
		}
	}
	return nil
}

// maxPEM bounds a file of certificates; one has about a kilobyte.
const maxPEM = 1 << 20

// read returns the certificates of a PEM file, at least one.
func read(file string) ([]*x509.Certificate, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read the certificate in %s: %w", file, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return all, nil
}

// Show prints what a file of certificates holds, for a person.
func Show(w io.Writer, file string, now time.Time) error {
	all, err := read(file)
	if err != nil {
		return err
	}
	for _, c := range all {
		what := "a node's certificate"
		if c.IsCA {
			what = "an authority"
		}
		fmt.Fprintf(w, "%s: %s\n", c.Subject.CommonName, what)
		if n := names(c); len(n) > 0 {
			fmt.Fprintf(w, "  names      %s\n", strings.Join(n, ", "))
		}
		fmt.Fprintf(w, "  valid      %s to %s, %s\n", day(c.NotBefore), day(c.NotAfter), left(c, now))
		fmt.Fprintf(w, "  signed by  %s\n", c.Issuer.CommonName)
		fmt.Fprintf(w, "  serial     %x\n", c.SerialNumber)
		fmt.Fprintf(w, "  SHA-256    %x\n", sha256.Sum256(c.Raw))
	}
	return nil
}

// Described is a certificate as programs read it.
type Described struct {
	Subject   string    `json:"subject"`
	Authority bool      `json:"authority"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"` // hexadecimal
	SHA256    string    `json:"sha256"` // of the whole certificate, hexadecimal
}

// Describe is what Show prints.
func Describe(file string) ([]Described, error) {
	all, err := read(file)
	if err != nil {
		return nil, err
	}
	out := make([]Described, 0, len(all))
	for _, c := range all {
		out = append(out, Described{
			Subject: c.Subject.CommonName, Authority: c.IsCA, Names: append([]string{}, names(c)...), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
			Issuer: c.Issuer.CommonName, Serial: fmt.Sprintf("%x", c.SerialNumber), SHA256: fmt.Sprintf("%x", sha256.Sum256(c.Raw)),
		})
	}
	return out, nil
}

func left(c *x509.Certificate, now time.Time) string {
	const aDay = 24 * time.Hour
	switch d := c.NotAfter.Sub(now); {
	case d < 0:
		return "which is over"
	case now.Before(c.NotBefore):
		return "which has not begun"
	case d < 2*aDay:
		return fmt.Sprintf("%d hours left", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days left", int(d/aDay))
	}
}
