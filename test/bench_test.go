package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"scomconnector/cmd/daemon"
	"scomconnector/cmd/journal"
	"scomconnector/cmd/settings"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// slowDisk makes this test binary a node whose every write to the store takes so much longer; see
// TestSlowDiskNode. The product has no switch for that.
const slowDisk = "SCOMCONNECTOR_TEST_SLOW_DISK"

// TestSlowDiskNode is no test: it is the body of a process that BenchmarkThroughput starts.
func TestSlowDiskNode(t *testing.T) {
	delay, err := time.ParseDuration(os.Getenv(slowDisk))
	if err != nil {
		return // an ordinary run of the tests
	}
	dir := os.Getenv(slowDisk + "_DIR")
	node, faults := settings.LoadNode(filepath.Join(dir, "node.json"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, settings.ClusterFileName))
	if err != nil {
		t.Fatal(err)
	}
	log, err := journal.Open(journal.Config{Level: "WARN"}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	err = daemon.Run(context.Background(), daemon.Options{
		Node: node, ClusterText: text, Version: "bench", Log: log.Logger(), Audit: log.Audit(), Levels: log,
		BeforeWrite: func(string) error { <-time.After(delay); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fsync measures the disk under the benchmark: the median of small synced writes. It is fdatasync and a little
// more, and the same on every platform.
func fsync(b testing.TB, dir string) time.Duration {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for range 100 {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// BenchmarkThroughput is an outage's backlog drained by real processes, SCOM and the LAM on the same machine: one
// answer with so many alerts, of about 741 bytes each as SCOM sends them, until the last is committed.
func BenchmarkThroughput(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
			b.Run(fmt.Sprintf("nodes=%d/disk+%v", nodes, delay), func(b *testing.B) { benchThroughput(b, nodes, 200_000, delay) })
		}
	}
}

func benchThroughput(b *testing.B, nodes, alerts int, delay time.Duration) {
	benchThroughputOf(b, nodes, "", alerts, delay)
}

// benchThroughputOf takes further keys of each node.json.
func benchThroughputOf(b *testing.B, nodes int, node string, alerts int, delay time.Duration) {
	var rate, perCPU, rss float64
	var sync time.Duration
	for range b.N {
		p := newPlant(b, plantOptions{
			nodes: nodes, node: node, scom: scomtest.Options{NoRecord: true, DuplicateEvery: -1, CacheBytes: 512 << 20}, lam: publishertest.Options{Light: true},
		})
		sync = fsync(b, p.dir)
		raiseOf741(p.group, alerts)
		p.console.Set(scomtest.Faults{Down: true}) // nothing is read before the clock runs
		for _, pr := range p.procs {
			if delay == 0 {
				pr.start()
				continue
			}
			cmd := exec.Command(os.Args[0], "-test.run", "^TestSlowDiskNode$", "-test.timeout", "10m")
			cmd.Env = append(os.Environ(), slowDisk+"="+delay.String(), slowDisk+"_DIR="+pr.dir)
			pr.begin(cmd)
		}
		await(b, "a leader", 30*time.Second, p.procs[0].leads)
		before := cpuOf(b, p.procs[0])
		p.console.Heal()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		first := p.lam.WaitFor(ctx, 1)
		begun := time.Now()
		err := p.lam.WaitUntil(ctx, func(_ publishertest.Counts, ids int) bool { return ids >= alerts })
		took := time.Since(begun)
		cancel()
		if first != nil || err != nil {
			b.Fatal(first, err)
		}
		rate += float64(alerts) / took.Seconds()
		perCPU += float64(alerts) / (cpuOf(b, p.procs[0]) - before).Seconds()
		rss = max(rss, rssOf(b, p.procs[0]))
		if d := p.lam.Counts().Duplicates; d > 0 {
			b.Errorf("%d duplicates", d)
		}
		p.end()
	}
	b.ReportMetric(rate/float64(b.N), "alerts/s")
	b.ReportMetric(perCPU/float64(b.N), "alerts/cpu-s")
	b.ReportMetric(rss, "MB")
	b.ReportMetric(float64(sync.Microseconds())/1000, "fsync-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSteady is a thousand new alerts a second for half a minute: what the node costs, and how long an alert takes.
func BenchmarkSteady(b *testing.B) {
	const perSecond, seconds = 1000, 30
	for range b.N {
		p := newPlant(b, plantOptions{scom: scomtest.Options{NoRecord: true}})
		p.procs[0].start()
		await(b, "a leader", 30*time.Second, p.procs[0].leads)
		before := cpuOf(b, p.procs[0])
		tick := time.NewTicker(100 * time.Millisecond)
		for range seconds * 10 {
			<-tick.C
			raiseOf741(p.group, perSecond/10)
		}
		tick.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := p.lam.WaitUntil(ctx, func(_ publishertest.Counts, ids int) bool { return ids >= perSecond*seconds })
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		var took []time.Duration
		for _, e := range p.lam.Received() {
			if at, err := time.Parse(time.RFC3339Nano, e.LastModified); err == nil {
				took = append(took, e.At.Sub(at))
			}
		}
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2].Seconds(), "median-s")
		b.ReportMetric(took[len(took)*99/100].Seconds(), "p99-s")
		b.ReportMetric(rssOf(b, p.procs[0]), "MB")
		b.ReportMetric(100*(cpuOf(b, p.procs[0])-before).Seconds()/seconds, "%core")
		b.ReportMetric(0, "ns/op")
		p.end()
	}
}

// BenchmarkAnswerOf15000 is a storm in one answer, on a node that idles: from the moment the alerts are there.
func BenchmarkAnswerOf15000(b *testing.B) {
	const alerts = 15_000
	for range b.N {
		p := newPlant(b, plantOptions{scom: scomtest.Options{NoRecord: true}, lam: publishertest.Options{Light: true}})
		p.procs[0].start()
		await(b, "a leader", 30*time.Second, p.procs[0].leads)
		raiseOf741(p.group, 1)
		p.awaitAll(30 * time.Second)
		start := time.Now()
		raiseOf741(p.group, alerts)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := p.lam.WaitUntil(ctx, func(_ publishertest.Counts, ids int) bool { return ids > alerts })
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s")
		b.ReportMetric(rssOf(b, p.procs[0]), "MB")
		b.ReportMetric(0, "ns/op")
		p.end()
	}
}

// BenchmarkIdle is what a node costs that has nothing to do but poll an empty SCOM.
func BenchmarkIdle(b *testing.B) {
	for _, nodes := range []int{1, 2, 3} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			for range b.N {
				p := newPlant(b, plantOptions{nodes: nodes, node: `"Timing": "lan",`})
				for _, pr := range p.procs {
					pr.start()
				}
				await(b, "a leader", 30*time.Second, p.procs[0].leads)
				<-time.After(5 * time.Second) // what a start costs is not meant
				before := make([]time.Duration, nodes)
				for i, pr := range p.procs {
					before[i] = cpuOf(b, pr)
				}
				start := time.Now()
				<-time.After(30 * time.Second)
				for i, pr := range p.procs {
					b.ReportMetric(100*(cpuOf(b, pr)-before[i]).Seconds()/time.Since(start).Seconds(), fmt.Sprintf("%%core-n%d", i+1))
					b.ReportMetric(rssOf(b, pr), fmt.Sprintf("MB-n%d", i+1))
				}
				b.ReportMetric(0, "ns/op")
				p.end()
			}
		})
	}
}

// raiseOf741 raises alerts whose rows have about 741 bytes on the wire.
func raiseOf741(g *scomtest.Group, n int) {
	const part = 10_000
	for done := 0; done < n; done += part {
		alerts := make([]scomtest.Alert, min(part, n-done))
		for i := range alerts {
			host := fmt.Sprintf("srv%06d.emea.contoso.com", done+i)
			alerts[i] = scomtest.Alert{
				Name: "Health Service Heartbeat Failure", Severity: scomtest.Error, Priority: 1, Category: "StateCollection", IsMonitorAlert: true,
				Description:   "The System Center Management Health Service on computer " + host + " failed to heartbeat.",
				PrincipalName: host, NetbiosComputer: host[:9], NetbiosDomain: "EMEA", ObjectDisplayName: host, ObjectPath: host,
				MonitorName: "Health Service Heartbeat Failure", AlertSource: host,
			}
		}
		g.RaiseAll(alerts)
	}
}

func cpuOf(b testing.TB, pr *process) time.Duration {
	b.Helper()
	var ticks, system int64
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pr.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := stat[slices.Index(stat, ')')+2:]
	var skip string
	if _, err := fmt.Sscan(string(fields), &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &ticks, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ticks+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}

func rssOf(b testing.TB, pr *process) float64 {
	b.Helper()
	var size, resident int64
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pr.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return float64(resident*int64(syscall.Getpagesize())) / (1 << 20)
}
