package settings

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"time"
)

const (
	// expirySoon is when a certificate is worth a warning: a month is time to have a new one signed.
	expirySoon = 30 * 24 * time.Hour
	// peerExpirySoon is the same for the nodes' own. Nobody else looks after these, and when they end the nodes are cut off from
	// each other, all on one day: there has to be time for a yearly look at the warnings and a change freeze.
	peerExpirySoon = 60 * 24 * time.Hour
)

func (c *checker) pair(key, cert, private string) { c.pairUntil(key, cert, private, expirySoon) }

// pairUntil looks at a certificate and its key, and warns when so little time is left.
func (c *checker) pairUntil(key, cert, private string, soon time.Duration) {
	if cert == "" || private == "" {
		return
	}
	p, err := tls.LoadX509KeyPair(cert, private)
	if err != nil {
		c.fault(key, "%v", err)
		return
	}
	c.expiry(key, cert, p.Leaf, soon)
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
	c.authorityEnds(n.ClusterTls.CaFile, pair.Leaf, roots, chain)
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

// authorityEnds warns early of the end of the authority: with it, every certificate of it ends.
func (c *checker) authorityEnds(path string, leaf *x509.Certificate, roots, chain *x509.CertPool) {
	// Of the two that CaFile may hold while one replaces the other, only the one that signed matters.
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: chain, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return // said for each end
	}
	c.expiry("ClusterTls.CaFile", path, chains[0][len(chains[0])-1], peerExpirySoon)
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
	c.expiry(key, path, cert, expirySoon)
}

func (c *checker) expiry(key, path string, cert *x509.Certificate, soon time.Duration) {
	if cert == nil {
		return
	}
	c.report.Ends = append(c.report.Ends, End{key, path, cert.NotAfter.UTC(), time.Until(cert.NotAfter) < soon})
	cure := map[string]string{
		"ClusterTls.CertFile": ": scomconnector cert renew makes the next one",
		"ClusterTls.CaFile":   ": scomconnector cert ca makes the next authority",
	}[key]
	until := cert.NotAfter.UTC().Format(time.DateOnly)
	switch left := time.Until(cert.NotAfter); {
	case left < 0 && strings.HasSuffix(key, ".MoogPublicKey"): // a pin is a key, which does not end
		c.warn(key, "the certificate ended on %s: as the LAM's own it is still believed, as an authority it is not", until)
	case left < 0:
		c.fault(key, "the certificate ended on %s%s", until, cure)
	case left < soon:
		c.warn(key, "the certificate ends on %s%s", until, cure)
	}
}
