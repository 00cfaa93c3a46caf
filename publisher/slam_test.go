package publisher_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hashicorp/go-hclog"

	"scomconnector/publisher"
)

// slammer is a server that resets the connection when the announced body is larger than limit.
func slammer(t *testing.T, limit int64) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { slam(c.(*net.TCPConn), limit) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func slam(c *net.TCPConn, limit int64) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.ContentLength > limit {
			c.SetLinger(0) // a reset, not an orderly end
			return
		}
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}

// destinationWithMetrics is destination with a look at its counters.
func destinationWithMetrics(t *testing.T, cfg publisher.Config) (*publisher.Destination, func() map[string]float64) {
	t.Helper()
	cfg.Name, cfg.ProbeEvery = "default", 1<<40
	reg := prometheus.NewRegistry()
	d, err := publisher.New(cfg, hclog.NewNullLogger(), publisher.NewMetrics(reg, cfg.Name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, func() map[string]float64 { return gather(t, reg) }
}
