package settings

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"
)

// expirySoon is when a certificate is worth a warning: a month is time to have a new one signed.
const expirySoon = 30 * 24 * time.Hour

func (c *checker) pair(key, cert, private string) {
	if cert == "" || private == "" {
		return
	}
	p, err := tls.LoadX509KeyPair(cert, private)
	if err != nil {
		c.fault(key, "%v", err)
		return
	}
	c.expiry(key, p.Leaf)
	c.private(key, private)
}

func (c *checker) authority(key, path string) {
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		c.fault(key, "%v", err)
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		c.fault(key, "%s holds no certificate in PEM form", path)
	}
}

// peer looks at the node-to-node certificate as the other nodes will: it must name the NodeID, be of the one authority,
// and serve both ends of a connection.
func (c *checker) peer(n *Node) {
	pair, err := tls.LoadX509KeyPair(n.ClusterTls.CertFile, n.ClusterTls.KeyFile)
	if err != nil || pair.Leaf == nil {
		return // named already, or there is none
	}
	const key = "ClusterTls.CertFile"
	if pair.Leaf.VerifyHostname(n.NodeID) != nil {
		c.fault(key, "the certificate must name the NodeID %q as DNS name", n.NodeID)
	}
	authority, err := os.ReadFile(n.ClusterTls.CaFile)
	if err != nil {
		return
	}
	roots, chain := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	for _, der := range pair.Certificate[1:] {
		if between, err := x509.ParseCertificate(der); err == nil {
			chain.AddCert(between)
		}
	}
	ends := []struct {
		use  x509.ExtKeyUsage
		word string
	}{{x509.ExtKeyUsageServerAuth, "server"}, {x509.ExtKeyUsageClientAuth, "client"}}
	for _, end := range ends {
		o := x509.VerifyOptions{Roots: roots, Intermediates: chain, KeyUsages: []x509.ExtKeyUsage{end.use}}
		if _, err := pair.Leaf.Verify(o); err != nil {
			c.fault(key, "CaFile does not vouch for it as a %s: %v", end.word, err)
		}
	}
}

// certificate is one that may be PEM or DER.
func (c *checker) certificate(key, path string) {
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		c.fault(key, "%v", err)
		return
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	cert, err := x509.ParseCertificate(b)
	if err != nil {
		c.fault(key, "%s holds no certificate, neither in PEM nor in DER form", path)
		return
	}
	c.expiry(key, cert)
}

func (c *checker) expiry(key string, cert *x509.Certificate) {
	if cert == nil {
		return
	}
	until := cert.NotAfter.UTC().Format(time.DateOnly)
	switch left := time.Until(cert.NotAfter); {
	case left < 0:
		c.fault(key, "the certificate ended on %s", until)
	case left < expirySoon:
		c.warn(key, "the certificate ends on %s", until)
	}
}
