package publisher

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"time"
)

// probe tests one LAM's address for as long as ctx lives, except while deliveries say more than a
// test could. It only connects: no request, no log-on, since a test must neither show up in
// Moogsoft nor lock an account.
func (d *Destination) probe(ctx context.Context, l *lam) {
	tick := time.NewTicker(d.cfg.ProbeEvery)
	defer tick.Stop()
	for {
		if l.wantsProbe(time.Now(), d.cfg.ProbeEvery) {
			err := l.connect(ctx)
			if ctx.Err() != nil {
				return
			}
			d.tested(l, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tested notes a connection test, and logs what deliveries have not said already.
func (d *Destination) tested(l *lam, err error) {
	text, out := "", outcome{}
	if err != nil {
		out = explain(err, l.connectTimeout)
		text = out.words()
	}
	l.mu.Lock()
	news := l.health.probeErr != text && l.health.err == ""
	returned := l.health.probeErr != "" && err == nil
	l.health.tested(time.Now(), text, out)
	l.mu.Unlock()
	if returned {
		d.cameBack()
	}
	switch {
	case news && err != nil:
		d.log.Debug("LAM cannot be reached", "lam", l.name, "error", text, "cause", err)
	case news:
		d.log.Debug("LAM can be reached", "lam", l.name)
	}
}

// comeback is closed when the next LAM that could not be reached can be.
func (d *Destination) comeback() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.back
}

func (d *Destination) cameBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.back)
	d.back = make(chan struct{})
}

func (l *lam) wantsProbe(now time.Time, every time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health.open || now.Sub(l.health.lastOK) >= every
}

// connect opens a connection as far as that needs no credentials: to the proxy if there is one, else
// through TLS.
func (l *lam) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.connectTimeout, errNoConnection)
	defer cancel()
	if l.proxy != nil {
		c, err := l.wires.dial(ctx, "tcp", l.proxy.Host)
		if err != nil {
			return err
		}
		return c.Close()
	}
	if _, err := l.trust.refresh(); err != nil {
		return err
	}
	c, err := l.wires.dial(ctx, "tcp", address(l.target))
	if err != nil {
		return err
	}
	defer c.Close()
	if l.target.Scheme == "http" {
		return nil
	}
	err = tls.Client(c, l.trust.config(l.target.Hostname())).HandshakeContext(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
