package publisher

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Reach says why no LAM of the destination can be reached from this machine; nil: one can. It is for a node that
// delivers nothing at the moment: all LAMs are tried at once, each over a connection of its own, which goes as far as
// TLS. Nothing is posted and nobody logs on, so that it neither shows up in Moogsoft nor locks an account, and a refused
// log-on is no reason not to be reached.
func Reach(ctx context.Context, cfg Config) error {
	cfg.defaults()
	if len(cfg.LAMs) == 0 {
		return errors.New("destination " + cfg.Name + ": no LAM is configured")
	}
	w := newWires(cfg.Dial, cfg.ConnectTimeout)
	defer w.close()
	lams := make([]*lam, len(cfg.LAMs))
	for i, c := range cfg.LAMs {
		var err error
		if lams[i], err = newLAM(c, cfg, w); err != nil {
			return fmt.Errorf("destination %s: %w", cfg.Name, err)
		}
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	faults := make([]error, len(lams))
	var wg sync.WaitGroup
	for i, l := range lams {
		wg.Go(func() {
			err := l.reach(ctx)
			if err == nil {
				done() // one is enough
				return
			}
			faults[i] = fmt.Errorf("LAM %s: %s", l.name, explain(err, cfg.ConnectTimeout).words())
		})
	}
	wg.Wait()
	for _, f := range faults {
		if f == nil {
			return nil
		}
	}
	return errors.Join(faults...)
}

// reach connects to the LAM, through its proxy where there is one. A proxy that wants credentials is only connected to:
// it takes these with the request.
func (l *lam) reach(ctx context.Context) error {
	if l.proxy == nil || l.proxy.User != nil || l.target.Scheme == "http" {
		return l.connect(ctx)
	}
	if _, err := l.trust.refresh(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.connectTimeout, errNoConnection)
	defer cancel()
	c, err := l.wires.dial(ctx, "tcp", l.proxy.Host)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })() //nolint:errcheck // it is about to be closed
	err = l.tunnel(ctx, c)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// tunnel asks the proxy for a connection to the LAM and goes through TLS in it.
func (l *lam) tunnel(ctx context.Context, c net.Conn) error {
	host := address(l.target)
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", host); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusProxyAuthRequired, http.StatusUnauthorized:
		return nil // it is there, and wants credentials that the settings do not have
	default:
		return &proxyError{status: res.StatusCode}
	}
	return tls.Client(c, l.trust.config(l.target.Hostname())).HandshakeContext(ctx)
}
