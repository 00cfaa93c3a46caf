package publishertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Proxy is a forward proxy that may demand credentials: CONNECT for https, absolute addresses for http.
type Proxy struct {
	User, Password string // "" demands none
	server         *http.Server
	onward         http.Transport // direct, whatever the environment says
	addr           string
	wg             sync.WaitGroup

	mu       sync.Mutex // guards all below
	requests []string   // "METHOD target"
	refused  int
}

// ListenProxy starts a proxy on a TCP address, such as "127.0.0.1:0".
func ListenProxy(addr, user, password string) (*Proxy, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy: %w", err)
	}
	p := &Proxy{User: user, Password: password, addr: ln.Addr().String()}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	p.wg.Go(func() { p.server.Serve(ln) })
	return p, nil
}

// Addr is its host:port.
func (p *Proxy) Addr() string { return p.addr }

// Close ends it; tunnels end with the first of their two connections.
func (p *Proxy) Close() {
	p.server.Close()
	p.wg.Wait()
	p.onward.CloseIdleConnections()
}

// Requests lists what was let through, as "METHOD target".
func (p *Proxy) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

// Refused counts requests without the right credentials.
func (p *Proxy) Refused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.admits(r) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	r.Header.Del("Proxy-Authorization")
	if r.Method == http.MethodConnect {
		p.tunnel(w, r)
		return
	}
	r.RequestURI = ""
	res, err := p.onward.RoundTrip(r)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	for k, v := range res.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	io.Copy(w, res.Body)
}

func (p *Proxy) admits(r *http.Request) bool {
	ok := p.User == ""
	if !ok {
		probe := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		user, password, has := probe.BasicAuth()
		ok = has && user == p.User && password == p.Password
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok {
		p.refused++
		return false
	}
	p.requests = append(p.requests, strings.TrimSpace(r.Method+" "+r.RequestURI))
	return true
}

func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	far, err := d.DialContext(ctx, "tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	near, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		return
	}
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	var both sync.WaitGroup
	pipe := func(dst net.Conn, src io.Reader) {
		io.Copy(dst, src)
		dst.Close()
	}
	both.Go(func() { pipe(far, rw) })
	both.Go(func() { pipe(near, far) })
	both.Wait()
	near.Close()
	far.Close()
}
