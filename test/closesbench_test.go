package test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// BenchmarkCloses is close requests at three real nodes in turn, at a pace that does not wait for the answers, while the leader
// carries them out: how long a moobot waits, from the moment its request was due.
func BenchmarkCloses(b *testing.B) {
	for _, perSecond := range []int{500, 1000} {
		b.Run(fmt.Sprintf("%d/s", perSecond), func(b *testing.B) {
			const seconds = 20
			for range b.N {
				p := newClosesPlant(b, perSecond*seconds)
				took := p.closeAll(perSecond)
				slices.Sort(took)
				b.ReportMetric(float64(len(took))/seconds, "accepted/s")
				b.ReportMetric(milliseconds(took[len(took)/2]), "median-ms")
				b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99-ms")
				b.ReportMetric(milliseconds(took[len(took)-1]), "worst-ms")
				b.ReportMetric(milliseconds(fsync(b, p.dir)), "fsync-ms")
				b.ReportMetric(0, "ns/op")
				await(b, "all are closed in SCOM", time.Minute, p.allClosed)
				p.end()
			}
		})
	}
}

// BenchmarkClosesDrained is 5,000 closes that have waited for SCOM, from its first answer until the last one is closed there and
// recorded; also after all nodes were killed meanwhile, so that the leader has inherited every one of them.
func BenchmarkClosesDrained(b *testing.B) {
	for _, c := range []struct {
		latency time.Duration
		restart bool
	}{{0, false}, {50 * time.Millisecond, false}, {0, true}, {50 * time.Millisecond, true}} {
		b.Run(fmt.Sprintf("SCOM+%v,restart=%v", c.latency, c.restart), func(b *testing.B) {
			for range b.N {
				p := newClosesPlant(b, 5000)
				p.console.Set(scomtest.Faults{Down: true})
				p.closeAll(500)
				if c.restart {
					for _, pr := range p.procs {
						pr.kill()
					}
					for _, pr := range p.procs {
						pr.start()
					}
					await(b, "a leader", time.Minute, func() bool { return slices.ContainsFunc(p.procs, (*process).leads) })
				}
				before := p.console.Counters()
				p.console.Set(scomtest.Faults{Latency: c.latency})
				await(b, "SCOM answers", time.Minute, func() bool { return p.console.Counters().Bytes > before.Bytes })
				start := time.Now()
				await(b, "all are closed in SCOM", time.Minute, p.allClosed)
				await(b, "none is left", time.Minute, func() bool {
					s, err := p.procs[0].status()
					return err == nil && s.Outbox.Pending == 0
				})
				b.ReportMetric(time.Since(start).Seconds(), "s")
				b.ReportMetric(milliseconds(fsync(b, p.dir)), "fsync-ms")
				b.ReportMetric(0, "ns/op")
				p.end()
			}
		})
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// newClosesPlant is three nodes that have delivered so many alerts.
func newClosesPlant(b *testing.B, alerts int) *plant {
	b.Helper()
	p := newPlant(b, plantOptions{
		nodes: 3, node: `"Timing": "lan",`, more: `"LowerTimeoutBound": 2, "UpperTimeoutBound": 5,`,
		scom: scomtest.Options{NoRecord: true}, lam: publishertest.Options{Light: true},
	})
	for _, pr := range p.procs {
		pr.start()
	}
	await(b, "a leader", 30*time.Second, p.procs[0].leads)
	raiseOf741(p.group, alerts)
	await(b, "all are delivered", time.Minute, func() bool { return p.lam.IDs() >= alerts })
	return p
}

// allClosed reports whether SCOM shows every alert as closed.
func (p *plant) allClosed() bool {
	return !slices.ContainsFunc(p.group.Snapshot(), func(a scomtest.Alert) bool { return a.ResolutionState != scomtest.Closed })
}

// closeAll has every alert closed, so many a second, and returns how long each answer took since the request was due.
func (p *plant) closeAll(perSecond int) []time.Duration {
	p.t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	defer client.CloseIdleConnections()
	alerts := p.group.Snapshot()
	took := make([]time.Duration, len(alerts))
	var wg sync.WaitGroup
	start := time.Now()
	for i, a := range alerts {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		<-time.After(time.Until(due))
		wg.Go(func() {
			body := strings.NewReader(fmt.Sprintf(`{"id": %q, "detail": "Closed"}`, a.ID))
			resp, err := client.Post(p.procs[i%len(p.procs)].url+"/event_post/", "application/json", body)
			if err != nil {
				p.t.Error(err)
				return
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				p.t.Errorf("request %d: %d %s, %v", i, resp.StatusCode, answer, err)
			}
			took[i] = time.Since(due)
		})
	}
	wg.Wait()
	if p.t.Failed() {
		p.t.FailNow()
	}
	return took
}
