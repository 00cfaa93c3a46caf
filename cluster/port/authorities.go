package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"
)

// authoritiesEvery is how often the file of the authorities is looked at.
const authoritiesEvery = 10 * time.Second

// watchAuthorities ends the connections of members for whom nobody vouches any more once the file of the authorities has changed: an
// authority is mostly replaced since a key was stolen, and a connection may last for months. A certificate that was merely renewed ends
// none.
func (p *Port) watchAuthorities(ctx context.Context) {
	ticker := time.NewTicker(authoritiesEvery)
	defer ticker.Stop()
	var known *x509.CertPool
	for {
		if cfg, err := p.TLS.Server(); err == nil && (known == nil || !known.Equal(cfg.ClientCAs)) {
			known = cfg.ClientCAs
			p.closeUnless(known)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// closeUnless ends each connection whose other side has shown what the authorities do not vouch for.
func (p *Port) closeUnless(vouch *x509.CertPool) {
	p.mu.Lock()
	var strange []*trackedConn
	for c := range p.conns {
		if len(c.certs) > 0 && Vouched(c.certs, vouch, c.shown) != nil {
			strange = append(strange, c)
		}
	}
	p.mu.Unlock()
	for _, c := range strange {
		c.Close() //nolint:errcheck // it is gone either way
	}
}

// Vouched says why none of the authorities vouches for the first of the certificates, as that end of a connection; the others may stand
// between the two, as they come from a handshake.
func Vouched(certs []*x509.Certificate, authorities *x509.CertPool, as x509.ExtKeyUsage) error {
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{Roots: authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{as}})
	return err
}

// markShown keeps what the other side has shown in the handshake.
func (p *Port) markShown(t, secured net.Conn, as x509.ExtKeyUsage) {
	sec, ok := secured.(*tls.Conn)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := t.(*trackedConn); ok {
		t.certs, t.shown = sec.ConnectionState().PeerCertificates, as
	}
}
