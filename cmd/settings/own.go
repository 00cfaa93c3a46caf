package settings

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
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

// OwnTLS believes the node's own certificate, whatever name it is for, and no other: the file is ours, and compared byte by byte. Where the
// node asks clients for a certificate it shows the same one. nil: the node has no TLS.
func (n *Node) OwnTLS() (*tls.Config, error) {
	t := n.Tls
	if t.CertFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(t.CertFile)
	if err != nil {
		return nil, fmt.Errorf("read the node's certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read the node's certificate: %s is not PEM", t.CertFile)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // replaced by the comparison
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
			return errors.New("it shows another certificate than the one in Tls.CertFile: is it another program, or has the file just been renewed?")
		}
		return nil
	}
	if t.RequireClientCert {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("the node asks for a certificate, and its own cannot be read: %w", err)
		}
		// Whoever signed it: the node knows its own.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return conf, nil
}

// OwnTransport connects to this machine's own node. Files that cannot be used are told of by others.
func (n *Node) OwnTransport() *http.Transport {
	tr := &http.Transport{DialContext: (&net.Dialer{Timeout: ownDial}).DialContext, DisableKeepAlives: true}
	if conf, err := n.OwnTLS(); err == nil {
		tr.TLSClientConfig = conf
	}
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
