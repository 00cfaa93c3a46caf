package pki_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/port"
	"scomconnector/cmd/settings/pki"
	"scomconnector/test/pipenet"
)

// A replaced authority is mostly one whose key was stolen. What had come with it went on for as long as the connection held.
func TestConnectionsEndOnceNobodyVouchesForTheOtherSide(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *pair, ours, next *pki.Authority)
		ends   bool
	}{
		"the called one's authority is replaced": {func(p *pair, _, next *pki.Authority) { p.certify("primary", next, "primary", time.Now()) }, true},
		"the caller's authority is replaced":     {func(p *pair, _, next *pki.Authority) { p.certify("secondary", next, "secondary", time.Now()) }, true},
		"certificates are renewed": {func(p *pair, ours, _ *pki.Authority) {
			p.certify("primary", ours, "primary", time.Now())
			p.certify("secondary", ours, "secondary", time.Now())
		}, false},
		"an authority is added": {func(p *pair, _, next *pki.Authority) {
			file := p.file("primary", pki.AuthorityCert)
			before, err := os.ReadFile(file)
			p.certify("primary", next, "primary", time.Now())
			after, err2 := os.ReadFile(file)
			if err := errors.Join(err, err2, os.WriteFile(file, append(before, after...), 0o600)); err != nil {
				p.t.Error(err)
			}
		}, false},
		"the file is half copied": {func(p *pair, _, _ *pki.Authority) {
			if err := os.Truncate(p.file("primary", pki.AuthorityCert), 100); err != nil {
				p.t.Error(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, next := authority(t, time.Now()), authority(t, time.Now())
				p := &pair{t: t, shape: clustertest.Pair, dir: t.TempDir()}
				network, taken := pipenet.New(), make(chan net.Conn, 1)
				open := func(m cluster.Member) *port.Port {
					p.certify(m.NodeID, ours, m.NodeID, time.Now())
					ln, err := network.Listen(m.ClusterAddress)
					if err != nil {
						t.Fatal(err)
					}
					q := &port.Port{
						Listener: ln, Dial: network.Dialer(m.NodeID),
						TLS:   port.FileTLS(p.file(m.NodeID, pki.NodeCert), p.file(m.NodeID, pki.NodeKey), p.file(m.NodeID, pki.AuthorityCert)),
						Greet: func() port.Greeting { return port.Greeting{Protocol: port.Protocol, NodeID: m.NodeID} },
						Judge: func(byte, port.Greeting) string { return "" },
						Take:  func(_ byte, _ port.Greeting, conn net.Conn) { taken <- conn },
					}
					q.Serve(t.Context())
					t.Cleanup(q.Close)
					return q
				}
				open(p.shape[0])
				conn, _, err := open(p.shape[1]).Call(t.Context(), port.KindRaft, p.shape[0])
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				far := <-taken
				defer far.Close()
				time.Sleep(time.Minute + time.Second) // the file is looked at in between, not while it is written
				c.change(p, ours, next)
				ended := make(chan error, 1)
				go func() {
					_, err := far.Read(make([]byte, 1))
					ended <- err
				}()
				select {
				case err := <-ended:
					if !c.ends {
						t.Errorf("it has ended: %v", err)
					}
				case <-time.After(15 * time.Second):
					if c.ends {
						t.Error("the connection goes on")
					}
				}
			})
		})
	}
}
