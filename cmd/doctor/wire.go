package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// step bounds each of name, connection and handshake.
const step = 5 * time.Second

// route is how a server is reached.
type route struct {
	target    *url.URL
	proxy     *url.URL // nil: directly
	tls       *tls.Config
	unchecked string // why the certificate is not verified; empty: it is
	plain     string // what http means for the target
	elsewhere string // what else to do where nothing listens; may be empty
}

// wire looks at name, connection and TLS, each of which needs the one before. It reports whether all that is needed is there.
func (p *part) wire(ctx context.Context, r route) bool {
	first := r.target
	via := ""
	if r.proxy != nil {
		first, via = r.proxy, "proxy "
	}
	if !p.name(ctx, via+"name", first.Hostname()) {
		p.skip("the name does not resolve", via+"tcp", "tls")
		return false
	}
	conn := p.dial(ctx, via+"tcp", address(first), r.elsewhere)
	if conn == nil {
		p.skip("there is no connection", "tls")
		return false
	}
	defer conn.Close()
	if r.target.Scheme != "https" {
		p.add("tls", finding{Warning, "none, since the address begins with http://: " + r.plain, "use https"})
		return true
	}
	if r.proxy != nil {
		if r.proxy.Scheme != "http" {
			p.add("tls", notTried("through a proxy of the kind %s only the next step shows it", r.proxy.Scheme))
			return true
		}
		if f := tunnel(ctx, conn, r); f.result != "" {
			p.add("proxy", f)
			p.skip("the proxy does not connect us", "tls")
			return false
		}
	}
	return p.handshake(ctx, conn, r)
}

// name resolves a host; an IP address needs none.
func (p *part) name(ctx context.Context, what, host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		p.add(what, ok("%s is an address", host))
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	start := time.Now()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		p.add(what, judgeName(host, err))
		return false
	}
	shown := addresses[:min(len(addresses), 4)]
	p.timed(what, ok("%s is %s", host, joined(shown)), start)
	return true
}

func (p *part) dial(ctx context.Context, what, address, elsewhere string) net.Conn {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	start := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		f := judgeDial(address, err)
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaConnRefused) {
			f.do += elsewhere
		}
		p.add(what, f)
		return nil
	}
	p.timed(what, ok("%s answers", address), start)
	return conn
}

// tunnel asks the proxy for a connection to the target; the zero finding is success.
func tunnel(ctx context.Context, conn net.Conn, r route) finding {
	defer deadline(ctx, conn)()
	request := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", address(r.target))
	if u := r.proxy.User; u != nil {
		password, _ := u.Password()
		request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)) + "\r\n"
	}
	if _, err := conn.Write([]byte(request + "\r\n")); err != nil {
		return finding{Fail, "the proxy broke the connection: " + err.Error(), "check the proxy"}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return finding{Fail, "what listens there does not answer as a proxy: " + err.Error(), "check the proxy's address"}
	}
	res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return finding{}
	case http.StatusProxyAuthRequired:
		return finding{Fail, "the proxy refuses user and password (HTTP 407)", "check the proxy's user and password in the settings"}
	}
	return finding{Fail, fmt.Sprintf("the proxy does not connect us to %s (HTTP %d)", address(r.target), res.StatusCode), "have the proxy allow it"}
}

// handshake shows the chain also where it is not accepted.
func (p *part) handshake(ctx context.Context, conn net.Conn, r route) bool {
	defer deadline(ctx, conn)()
	conf := r.tls.Clone()
	conf.ServerName = r.target.Hostname()
	var chain []*x509.Certificate
	judge := conf.VerifyConnection
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		chain = s.PeerCertificates
		if judge != nil {
			return judge(s)
		}
		return nil
	}
	start := time.Now()
	err := tls.Client(conn, conf).HandshakeContext(ctx)
	if refused, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		chain = refused.UnverifiedCertificates
	}
	f := judgeChain(chain, err, r.unchecked, time.Now())
	p.timed("tls", f, start)
	return f.result != Fail
}

// deadline bounds the use of a connection by step and ctx.
func deadline(ctx context.Context, conn net.Conn) (end func()) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // the connection ends anyway
	if ctx.Err() == nil {
		conn.SetDeadline(time.Now().Add(step)) //nolint:errcheck // the same
	}
	return func() { stop() }
}

func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
