package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cmd/daemon"
	"scomconnector/cmd/settings"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

const helpDemo = `Shows the whole program at work on this machine: a simulated SCOM that keeps raising, repeating and
closing alerts, a cluster of three nodes (Primary, Secondary, witness), and a simulated LAM. The nodes are
ordinary ones with ordinary files, in a temporary folder that is removed at the end. Ctrl-C ends it.

  --storm N   also raise N alerts at once, and show how they drain
  --for TIME  end by itself after so long, such as 30s
  --simulators IP
              only the simulators, at ports 8080 (SCOM) and 8081 (LAM) of that address, for nodes that run elsewhere, such
              as in deploy/compose.yaml; port 8082 tells what has arrived and what is missing

example: scomconnector demo --storm 20000
`

// demoPort is the port people expect; a free one is taken if it is in use.
const demoPort = 8085

// maxStorm is an hour of the worst storm that was ever told of; the simulators hold it all in memory.
const maxStorm = 200_000

func runDemo(t terminal, args []string) error {
	var storm int
	var length time.Duration
	var only string
	fs := flags("demo")
	fs.Func("simulators", "", func(s string) error {
		if only = s; net.ParseIP(s) == nil {
			return errors.New("accepted is an IP address of this machine, such as 127.0.0.1 or 0.0.0.0")
		}
		return nil
	})
	fs.Func("storm", "", func(s string) (err error) {
		if storm, err = strconv.Atoi(s); err != nil || storm < 0 || storm > maxStorm {
			return fmt.Errorf("accepted are 0 to %d", maxStorm)
		}
		return nil
	})
	fs.Func("for", "", func(s string) (err error) {
		if length, err = time.ParseDuration(s); err != nil || length <= 0 {
			return errors.New("accepted is a time such as 30s, 5m or 1h")
		}
		return nil
	})
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	ctx, stop := untilSignal(context.Background(), hclog.NewNullLogger())
	defer stop()
	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	if only != "" {
		if storm > 0 {
			return usageError{errors.New("--storm is for the whole demo, not for --simulators")}
		}
		return simulators(ctx, t.out, only)
	}
	return demo(ctx, t.out, storm)
}

// demo runs until ctx ends or something fails.
func demo(ctx context.Context, out io.Writer, storm int) (err error) {
	dir, err := os.MkdirTemp("", "scomconnector-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stage, err := newStage(dir)
	if err != nil {
		return err
	}
	defer stage.Close()
	fmt.Fprintf(out, "starting a simulated SCOM, a simulated LAM and three nodes; files and logs are in %s\n", dir)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	faults := make(chan error, len(stage.nodes))
	for _, n := range stage.nodes {
		wg.Go(func() {
			if err := n.run(ctx); err != nil {
				faults <- fmt.Errorf("node %s: %w", n.id, err)
			}
		})
	}
	done := make(chan error, 1)
	wg.Go(func() { done <- stage.show(ctx, out, storm) })
	select {
	case err = <-faults:
	case err = <-done:
	}
	cancel()
	fmt.Fprintln(out, "stopping")
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return err
}

// stage is the demo's scenery: the simulators and the nodes' files.
type stage struct {
	group   *scomtest.Group
	console *scomtest.Console
	lam     *publishertest.LAM
	nodes   []*demoNode
}

type demoNode struct {
	id       string
	role     cluster.Role
	dir      string
	url      string
	api, raw net.Listener // given to the daemon, so that no other program takes the ports meanwhile
}

func newStage(dir string) (*stage, error) {
	s := &stage{group: scomtest.New(scomtest.Options{Name: "DEMO-MG", Seed: uint64(time.Now().UnixNano()), NoRecord: true})}
	s.console = s.group.Console(scomtest.ConsoleOptions{})
	s.lam = publishertest.New(publishertest.Options{})
	scom, err := loopback(0)
	if err != nil {
		return nil, err
	}
	s.console.Serve(scom)
	lam, err := loopback(0)
	if err != nil {
		return nil, err
	}
	s.lam.Serve(lam)
	for i, m := range []demoNode{{id: "primary", role: cluster.Primary}, {id: "secondary", role: cluster.Secondary}, {id: "witness", role: cluster.Witness}} {
		port := 0
		if i == 0 {
			port = demoPort
		}
		m.dir = filepath.Join(dir, m.id)
		if m.api, err = loopback(port); err != nil {
			return nil, err
		}
		if m.raw, err = loopback(0); err != nil {
			return nil, err
		}
		m.url = "http://" + m.api.Addr().String()
		s.nodes = append(s.nodes, &m)
	}
	for _, n := range s.nodes {
		if err := s.write(n, scom.Addr().String(), lam.Addr().String()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close ends the simulators.
func (s *stage) Close() {
	s.console.Close()
	s.lam.Close()
}

// loopback listens on the port, or on a free one if that is taken or 0.
func loopback(port int) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil && port != 0 {
		return loopback(0)
	}
	return ln, err
}

// write makes the node's two files as an operator would.
func (s *stage) write(n *demoNode, scom, lam string) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	members := ""
	for _, m := range s.nodes {
		members += fmt.Sprintf("    {\"NodeID\": %q, \"Role\": %q, \"ClusterAddress\": %q, \"Url\": %q},\n", m.id, m.role, m.raw.Addr(), m.url)
	}
	node := fmt.Sprintf(`{
  "NodeID": %q, "Role": %q,
  "ListenAddress": %q, "AdvertiseUrl": %q,
  "ClusterAddress": %q,
  "DataDir": "data",
  "Log": {"File": "log/scomconnector.log"},
  "Members": [
%s  ],
}
`, n.id, n.role, n.api.Addr(), n.url, n.raw.Addr(), members)
	if err := writeNew(filepath.Join(n.dir, "node.json"), []byte(node)); err != nil {
		return err
	}
	if n.role != cluster.Primary {
		return nil
	}
	return writeNew(filepath.Join(n.dir, settings.ClusterFileName), fmt.Appendf(nil, `{
  "ScomServers": [{"ScomAddressHost": %q, "Url": %q, "Domain": "CONTOSO", "UserId": "svc-moogsoft", "Password": "plain:simulated", "Priority": 1}],
  "MoogServers": [{"MoogUrl": %q, "MoogAddressDisplay": "simulated LAM"}],
  "ConnectorName": "demo",
}
`, scom, "http://"+scom+"/OperationsManager", "http://"+lam+"/events/scom_lam"))
}

func (n *demoNode) run(ctx context.Context) error {
	opts, err := loadOptions(files{filepath.Join(n.dir, "node.json"), filepath.Join(n.dir, settings.ClusterFileName)})
	if err != nil {
		return err
	}
	log, err := openLog(opts.Node, io.Discard)
	if err != nil {
		return err
	}
	opts.Log, opts.Audit, opts.Levels = log.Logger(), log.Audit(), log
	opts.Listener, opts.ClusterListener = n.api, n.raw
	return errors.Join(daemon.Run(ctx, opts), log.Close())
}
