package settings

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
)

const (
	ownDial   = 5 * time.Second // bounds the connection to the node of this machine
	ownAnswer = 2 * time.Second // and this its answer to check: it comes from memory, and another program may never give one
)

// OwnURL is where this machine reaches its own node.
func (n *Node) OwnURL() string {
	scheme := "http"
	if n.Tls.CertFile != "" {
		scheme = "https"
	}
	host, p, err := net.SplitHostPort(n.ListenAddress)
	if err != nil {
		return n.AdvertiseUrl
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, p)
}

// OwnTransport believes the node's own certificate, whatever name it is for, and no other: the file is ours.
func (n *Node) OwnTransport() *http.Transport {
	tr := &http.Transport{DialContext: (&net.Dialer{Timeout: ownDial}).DialContext, DisableKeepAlives: true}
	if n.Tls.CertFile == "" {
		return tr
	}
	own, err := tls.LoadX509KeyPair(n.Tls.CertFile, n.Tls.KeyFile)
	if err != nil || own.Leaf == nil {
		return tr
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // compared below
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) > 0 && s.PeerCertificates[0].Equal(own.Leaf) {
			return nil
		}
		return errors.New("what answers shows another certificate than the one in Tls.CertFile")
	}
	if n.Tls.RequireClientCert {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	tr.TLSClientConfig = conf
	return tr
}

// answering is what the node that answers at ListenAddress says of itself. What may not be asked is not known to be one.
func (n *Node) answering() (s v1.Status, is bool) {
	token := ""
	if n.Auth.ReadTokenFile != "" {
		if b, err := os.ReadFile(n.Auth.ReadTokenFile); err == nil {
			token = string(b)
		}
	}
	c := client.New(n.OwnURL(), token)
	c.HTTP.Transport = n.OwnTransport()
	ctx, cancel := context.WithTimeout(context.Background(), ownAnswer)
	defer cancel()
	s, err := c.Status(ctx)
	return s, err == nil && s.Node != ""
}
