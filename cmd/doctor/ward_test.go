package doctor

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// ward is a node's folder, with simulators on both sides, all of it in good health at first.
type ward struct {
	t        *testing.T
	dir      string
	group    *scomtest.Group
	consoles []*scomtest.Console
	lam      *publishertest.LAM
	ca       *publishertest.CA
	opt      Options

	scom []string // the servers' objects in the settings
	moog []string
	more string // further keys of the settings, each with a comma behind it
	node string // node.json
}

func newWard(t *testing.T, opt scomtest.Options, lam publishertest.Options) *ward {
	t.Helper()
	ca, err := publishertest.NewCA("Contoso CA")
	if err != nil {
		t.Fatal(err)
	}
	w := &ward{t: t, dir: t.TempDir(), group: scomtest.New(opt), ca: ca}
	w.put("ca.crt", string(ca.PEM()))
	w.put("scom-password", "simulated")
	w.serve("scom1", w.group, publishertest.Leaf{})
	w.lam = w.serveLAM("lam1", lam, publishertest.Leaf{})
	if err := os.Mkdir(filepath.Join(w.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.put("data/kept", "by the node")
	w.node = fmt.Sprintf(`{ "NodeID": "primary", "Role": "Primary", "ListenAddress": %q, "AdvertiseUrl": "http://127.0.0.1:1", "ClusterAddress": %q, "DataDir": "data",
		"Members": [{"NodeID": "primary", "Role": "Primary", "ClusterAddress": %[2]q, "Url": "http://127.0.0.1:1"}] }`, closedPort(t), closedPort(t))
	return w
}

// serve adds a console with TLS; its certificate is as leaf says.
func (w *ward) serve(name string, group *scomtest.Group, leaf publishertest.Leaf) *scomtest.Console {
	w.t.Helper()
	return w.serveAs(name, group, leaf, scomtest.ConsoleOptions{})
}

func (w *ward) serveAs(name string, group *scomtest.Group, leaf publishertest.Leaf, opt scomtest.ConsoleOptions) *scomtest.Console {
	w.t.Helper()
	ln := w.listen()
	c := group.Console(opt)
	c.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{w.issue(leaf).TLS}}))
	w.t.Cleanup(c.Close)
	w.consoles = append(w.consoles, c)
	w.scom = append(w.scom, fmt.Sprintf(`{"ScomAddressHost": %q, "Url": "https://%s/OperationsManager", "Domain": "CONTOSO", "UserId": "svc-moogsoft", "Password": "file:scom-password", "CaFile": "ca.crt", "Priority": %d}`,
		name, ln.Addr(), len(w.consoles)))
	return c
}

func (w *ward) serveLAM(name string, opt publishertest.Options, leaf publishertest.Leaf) *publishertest.LAM {
	w.t.Helper()
	opt.TLS = &tls.Config{Certificates: []tls.Certificate{w.issue(leaf).TLS}}
	l, err := publishertest.Listen("127.0.0.1:0", opt)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(l.Close)
	w.moog = append(w.moog, fmt.Sprintf(`{"MoogUrl": %q, "MoogAddressDisplay": %q, "MoogPublicKey": "ca.crt"}`, l.URL(), name))
	return l
}

func (w *ward) issue(leaf publishertest.Leaf) *publishertest.Cert {
	w.t.Helper()
	if leaf.NotAfter.IsZero() {
		leaf.NotAfter = time.Now().Add(400 * 24 * time.Hour)
	}
	cert, err := w.ca.Issue(leaf)
	if err != nil {
		w.t.Fatal(err)
	}
	return cert
}

func (w *ward) listen() net.Listener {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	return ln
}

// closedPort is an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (w *ward) put(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// examine writes both files and looks.
func (w *ward) examine() Report {
	w.t.Helper()
	w.put("node.json", w.node)
	w.put("SCOMConnectorConfig.json", fmt.Sprintf(`{"ScomServers": [%s], %s "MoogServers": [%s]}`, strings.Join(w.scom, ","), w.more, strings.Join(w.moog, ",")))
	opt := w.opt
	opt.NodeFile = filepath.Join(w.dir, "node.json")
	return Run(w.t.Context(), opt)
}

// hop finds a hop by "part name step".
func hop(r Report, where string) (Hop, bool) {
	for _, h := range r.Hops {
		if h.where() == where {
			return h, true
		}
	}
	return Hop{}, false
}

func (w *ward) must(r Report, where string, result Result, says string) {
	w.t.Helper()
	h, found := hop(r, where)
	if !found || h.Result != result || !strings.Contains(h.Seen, says) {
		w.t.Errorf("%s: got %q %q (found: %v), want %q that says %q", where, h.Result, h.Seen, found, result, says)
	}
	if h.Result == Fail && h.Do == "" {
		w.t.Errorf("%s fails with %q and does not say what to do", where, h.Seen)
	}
}

// folder is what lies in the node's folder: names, contents, times.
func (w *ward) folder() string {
	w.t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %v %v %q\n", path, info.Mode(), info.ModTime(), b)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.String()
}
