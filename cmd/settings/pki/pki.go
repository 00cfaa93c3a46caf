package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	authorityYears = 10
	nodeYears      = 2
	// clockSlack is how long before now a certificate begins: a machine whose clock is slow, or that takes local time for UTC,
	// is to be found by its log's times, and not by a cluster that does not form.
	clockSlack = 24 * time.Hour
)

// The names of the files in an authority's folder and in a node's.
const (
	AuthorityCert = "cluster-ca.crt" // in both
	AuthorityKey  = "cluster-ca.key"
	NodeCert      = "cluster.crt"
	NodeKey       = "cluster.key"
)

// Authority vouches for the nodes of one cluster.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes an authority that is good for ten years from now, and for nothing but nodes: it may not make other authorities.
func NewAuthority(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	now = now.UTC()
	t := &x509.Certificate{
		// The date tells two authorities apart while one replaces the other.
		Subject:   pkix.Name{CommonName: "scomconnector nodes, " + now.Format(time.DateOnly)},
		NotBefore: now.Add(-clockSlack), NotAfter: now.AddDate(authorityYears, 0, 0),
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: bothEnds(),
	}
	cert, err := sign(t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	return &Authority{cert, key}, nil
}

// bothEnds: a node calls the others and is called by them.
func bothEnds() []x509.ExtKeyUsage {
	return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
}

// sign leaves the serial number to CreateCertificate, which takes a random one.
func sign(t, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// ReadAuthority reads an authority's folder.
func ReadAuthority(dir string) (*Authority, error) {
	file := filepath.Join(dir, AuthorityCert)
	pair, err := tls.LoadX509KeyPair(file, filepath.Join(dir, AuthorityKey))
	if err != nil {
		return nil, fmt.Errorf("read the authority in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("read the authority in %s: %s is no authority's certificate", dir, AuthorityCert)
	}
	return &Authority{pair.Leaf, key}, nil
}

// Ends is when the authority, and with it each of its certificates, ends.
func (a *Authority) Ends() time.Time { return a.cert.NotAfter.UTC() }

// Files are the authority's folder.
func (a *Authority) Files() ([]File, error) {
	key, err := privatePEM(authorityKeyNote, a.key)
	if err != nil {
		return nil, err
	}
	return []File{a.certFile(), {AuthorityKey, key}}, nil
}

func (a *Authority) certFile() File {
	return File{AuthorityCert, certPEM(fmt.Sprintf(authorityCertNote, day(a.cert.NotAfter)), a.cert)}
}

// Node is what an authority made for one node.
type Node struct {
	Files []File // certificate, key, and the authority's certificate
	Ends  time.Time
}

// Issue makes a new key and a certificate for it. The certificate names the NodeID, which the other nodes ask for, and the
// host of its ClusterAddress, for tools that ask for that; host may be empty. It ends after two years, or with the authority.
func (a *Authority) Issue(nodeID, host string, now time.Time) (*Node, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of %s: %w", nodeID, err)
	}
	cert, err := a.vouch(nodeID, host, key.Public(), now)
	if err != nil {
		return nil, err
	}
	private, err := privatePEM(fmt.Sprintf(nodeKeyNote, nodeID), key)
	if err != nil {
		return nil, err
	}
	return &Node{[]File{{NodeCert, nodePEM(nodeID, cert)}, {NodeKey, private}, a.certFile()}, cert.NotAfter.UTC()}, nil
}

// idPattern is what node.json takes as a NodeID. A wildcard among the names would make one node's certificate all nodes'.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// vouch makes the certificate of a node's public key.
func (a *Authority) vouch(nodeID, host string, public crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	if !idPattern.MatchString(nodeID) {
		return nil, fmt.Errorf("%q is no NodeID: 1 to 64 of the characters A-Z a-z 0-9 . _ -", nodeID)
	}
	if host != "" && net.ParseIP(host) == nil && (!idPattern.MatchString(host) && !hostPattern.MatchString(host)) {
		return nil, fmt.Errorf("%q is no host name: give the name or the IP address alone, without port", host)
	}
	now = now.UTC()
	if now.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("the authority ended on %s: make a new one with scomconnector cert ca", day(a.cert.NotAfter))
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: nodeID},
		NotBefore: now.Add(-clockSlack), NotAfter: now.AddDate(nodeYears, 0, 0),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: bothEnds(),
	}
	if t.NotAfter.After(a.cert.NotAfter) {
		t.NotAfter = a.cert.NotAfter
	}
	addName(t, nodeID)
	if !strings.EqualFold(host, nodeID) {
		addName(t, host)
	}
	cert, err := sign(t, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of %s: %w", nodeID, err)
	}
	// Some names that pass as a NodeID pass nowhere as a host name; the other nodes would refuse the certificate.
	if err := cert.VerifyHostname(nodeID); err != nil {
		return nil, fmt.Errorf("no certificate can name the NodeID %q: %w", nodeID, err)
	}
	return cert, nil
}

// hostPattern is a DNS name of up to 253 characters.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`)

func addName(t *x509.Certificate, name string) {
	if ip := net.ParseIP(name); ip != nil {
		t.IPAddresses = append(t.IPAddresses, ip)
	} else if name != "" {
		t.DNSNames = append(t.DNSNames, name)
	}
}

// HostOf is host, for Issue and Renew, unless another of the nodes has it for its NodeID: this one could go by that name.
func HostOf(nodeID, host string, nodeIDs []string) string {
	for _, other := range nodeIDs {
		if other != nodeID && strings.EqualFold(other, host) {
			return ""
		}
	}
	return host
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
