package settings

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/datadir"
	"scomconnector/cluster/etcdnode"
	"scomconnector/cluster/raftnode"
)

// ClusterFileName is the name of the cluster's file, beside node.json unless --config says otherwise.
const ClusterFileName = "SCOMConnectorConfig.json"

// Placeholder is what init writes where only the operator knows the value.
const Placeholder = "EDIT-ME"

// Report is what Check found.
type Report struct {
	Faults   Faults
	Warnings Warnings
	Notes    []string // what was looked at and is well
	Ends     []End    // of the certificates in files
}

// End is when a certificate ends, by the key that names its file.
type End struct {
	Key  string
	Path string
	At   time.Time
	Soon bool // or past: there is a warning or a fault about it
}

// OK reports whether the node can be started with these files.
func (r *Report) OK() bool { return len(r.Faults) == 0 }

// Print writes the report for a person, the worst last, where the eye is.
func (r *Report) Print(w io.Writer) {
	for _, n := range r.Notes {
		fmt.Fprintln(w, "ok:", n)
	}
	for _, f := range r.Warnings {
		fmt.Fprintln(w, "warning:", f)
	}
	for _, f := range r.Faults {
		fmt.Fprintln(w, "error:", f)
	}
	switch {
	case !r.OK():
		fmt.Fprintf(w, "hint: mend the %s above, then check again\n", plural(len(r.Faults), "error"))
	case len(r.Warnings) > 0:
		fmt.Fprintf(w, "The files are good; see the %s above.\n", plural(len(r.Warnings), "warning"))
	default:
		fmt.Fprintln(w, "The files are good.")
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// checker collects what is found about one file.
type checker struct {
	report  *Report
	file    string
	line    func(key string) int
	dataDir string // empty: not known
}

func (c *checker) fault(key, format string, args ...any) {
	c.report.Faults = append(c.report.Faults, Fault{c.file, c.line(key), key, fmt.Sprintf(format, args...), ""})
}

func (c *checker) warn(key, format string, args ...any) {
	c.report.Warnings = append(c.report.Warnings, Fault{c.file, c.line(key), key, fmt.Sprintf(format, args...), ""})
}

func (c *checker) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

// Check reads both files and looks at what they point to on this machine: secrets, certificates, tokens, ports, folders. It starts
// nothing, logs on to nothing but an etcd, and leaves nothing behind. An empty clusterPath means the file beside node.json.
func Check(nodePath, clusterPath string) Report { return check(nodePath, clusterPath, true) }

// CheckFiles is Check for who asks the etcd himself.
func CheckFiles(nodePath, clusterPath string) Report { return check(nodePath, clusterPath, false) }

func check(nodePath, clusterPath string, askEtcd bool) Report {
	var report Report
	n, faults := LoadNode(nodePath)
	report.Faults = append(report.Faults, faults...)
	report.Warnings = append(report.Warnings, n.Warnings...)
	if len(faults) == 0 {
		c := &checker{&report, n.Path, linesOf(n.Path), n.DataDir}
		c.node(n)
		if askEtcd && n.Coordination == "etcd" {
			c.etcd(n)
		}
	}
	sortByLine(report.Faults)
	sortByLine(report.Warnings)
	ofNode, warnedOfNode := len(report.Faults), len(report.Warnings)
	beside := filepath.Join(n.Dir, ClusterFileName)
	if clusterPath == "" {
		clusterPath = beside
	}
	asked := filepath.Clean(clusterPath) != beside
	if n.Role == cluster.Witness {
		report.Notes = append(report.Notes, "a witness needs no "+ClusterFileName+": it polls and posts nothing")
		return report
	}
	if _, err := os.Stat(clusterPath); errors.Is(err, os.ErrNotExist) && !asked && len(faults) == 0 {
		missingClusterFile(&report, n, clusterPath)
		return report
	}
	s, faults := LoadCluster(clusterPath, Options{Dir: n.Dir})
	report.Faults = append(report.Faults, faults...)
	report.Warnings = append(report.Warnings, s.Warnings...)
	if len(faults) == 0 {
		c := &checker{&report, clusterPath, linesOf(clusterPath), n.DataDir}
		c.cluster(s)
	}
	sortByLine(report.Faults[ofNode:])
	sortByLine(report.Warnings[warnedOfNode:])
	return report
}

// Examine looks at what usable settings point to on this machine: secrets and certificates. What is missing here would keep
// this node from delivering as soon as it led.
func (c *Cluster) Examine(name string) Faults {
	var report Report
	ch := &checker{&report, name, linesOfText(name, c.Text), ""}
	ch.cluster(c)
	sortByLine(report.Faults)
	return report.Faults
}

// missingClusterFile: only a cluster that has no settings yet needs the file, and it takes the Primary's first.
func missingClusterFile(report *Report, n *Node, path string) {
	f := Fault{File: path, Message: "there is no such file: this node takes the settings that the cluster has"}
	if n.Role == cluster.Primary && !hasState(n.DataDir) {
		f.Message = "there is no such file, and the Primary's file is what a new cluster takes its settings from"
		report.Faults = append(report.Faults, f)
		return
	}
	report.Warnings = append(report.Warnings, f)
}

func hasState(dataDir string) bool {
	entries, err := os.ReadDir(filepath.Join(dataDir, "raft"))
	return err == nil && len(entries) > 0
}

// linesOf finds lines of keys again, for faults that show only outside the file.
func linesOf(path string) func(string) int {
	text, _ := readFile(path)
	return linesOfText(path, text)
}

func linesOfText(path string, text []byte) func(string) int {
	r := newReader(path, text, "")
	v, fault := parse(path, text)
	if fault != nil {
		return func(string) int { return 0 }
	}
	r.root = &v
	im := &importer{root: &v, at: map[string]place{}}
	im.index("", &v)
	for k, p := range im.at {
		r.at[k] = p.head.StartOffset
	}
	return func(key string) int { return r.line(r.offset(key)) }
}

func (c *checker) node(n *Node) {
	c.note("node.json: %s is the %s of %s", n.NodeID, n.Role, plural(len(n.Members), "member"))
	c.pair("Tls.CertFile", n.Tls.CertFile, n.Tls.KeyFile)
	c.authority("Tls.CaFile", n.Tls.CaFile)
	c.pairUntil("ClusterTls.CertFile", n.ClusterTls.CertFile, n.ClusterTls.KeyFile, peerExpirySoon)
	c.authority("ClusterTls.CaFile", n.ClusterTls.CaFile)
	c.peer(n)
	c.token("Auth.OperatorTokenFile", n.Auth.OperatorTokenFile)
	c.token("Auth.CallbackTokenFile", n.Auth.CallbackTokenFile)
	c.token("Auth.ReadTokenFile", n.Auth.ReadTokenFile)
	c.ports(n, c.owner(n))
	c.folder("DataDir", n.DataDir)
	if p := n.Etcd.Password; !p.IsZero() {
		c.reference(Ref{Key: "Etcd.Password", Secret: p})
	}
	if n.Coordination == "etcd" {
		c.authority("Etcd.CaFile", n.Etcd.CaFile)
		c.pair("Etcd.CertFile", n.Etcd.CertFile, n.Etcd.KeyFile)
	}
	if n.PairTakeover == "claim" && n.strictPair() {
		c.claimDir(n.ClaimDir)
	}
	if n.Log.File != "" {
		c.folder("Log.File", filepath.Dir(n.Log.File))
	}
}

func (c *checker) cluster(s *Cluster) {
	c.note("%s: %s, %s", ClusterFileName, plural(len(s.ScomServers), "SCOM server"), plural(len(s.Destinations()), "destination"))
	for _, ref := range s.Refs() {
		c.secret(s, ref)
	}
	for _, scom := range s.ScomServers {
		path := fmt.Sprintf("ScomServers[%d]", scom.index)
		if scom.UserId == Placeholder {
			c.fault(path+".UserId", "still says %s: name the account that reads alerts", Placeholder)
		}
		c.authority(path+".CaFile", scom.CaFile)
		c.kerberos(path, scom)
	}
	for i, m := range s.MoogServers {
		if m.Address == "" {
			continue
		}
		path := fmt.Sprintf("MoogServers[%d]", i)
		c.certificate(path+".MoogPublicKey", m.MoogPublicKey)
		c.pair(path+".ClientCertFile", m.ClientCertFile, m.ClientKeyFile)
	}
}

// secret resolves one reference, unless it belongs to a LAM that is ignored.
func (c *checker) secret(s *Cluster, ref Ref) {
	for i, m := range s.MoogServers {
		if m.Address == "" && strings.HasPrefix(ref.Key, fmt.Sprintf("MoogServers[%d].", i)) {
			return
		}
	}
	c.reference(ref)
}

// reference resolves a secret, and looks at who else can read where it is kept.
func (c *checker) reference(ref Ref) {
	text, err := ref.Secret.Resolve()
	if err != nil {
		c.fault(ref.Key, "%v", err)
		return
	}
	if path, ok := ref.Secret.file(); ok {
		c.private(ref.Key, path)
		if strings.TrimSpace(text) != text {
			c.warn(ref.Key, "what %s holds begins or ends with a blank, as `echo WORD > FILE` leaves one behind in cmd.exe: take it away, unless it is part of the secret", path)
		}
	}
	if keyFile, ok := ref.Secret.sealed(); ok {
		c.private(ref.Key, keyFile)
		if c.dataDir != "" && within(keyFile, c.dataDir) {
			c.warn(ref.Key, "its key %s lies in DataDir, where a backup takes both: move node.json and %s elsewhere", keyFile, SecretKeyName)
		}
	}
	if ref.Secret.plain() {
		c.private(ref.Key, c.file)
	}
}

// private warns about a secret's file that other accounts can read. Windows has no such bits.
func (c *checker) private(key, path string) {
	if runtime.GOOS == "windows" {
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		c.warn(key, "other accounts of this machine can read %s: chmod 600 it", path)
	}
}

// minToken is what a token needs so that nobody guesses it.
const minToken = 16

func (c *checker) token(key, path string) {
	if path == "" {
		return
	}
	token, err := readSecretFile(path)
	switch {
	case err != nil:
		c.fault(key, "%v", err)
	case len(token) < minToken:
		c.warn(key, "%s holds fewer than %d characters, which can be guessed", path, minToken)
	default:
		c.private(key, path)
	}
}

// owner looks whose data DataDir holds; nil: that cannot be told.
func (c *checker) owner(n *Node) *datadir.Owner {
	read := raftnode.Owner
	if n.Coordination == "etcd" {
		read = etcdnode.Owner
	}
	o, err := read(n.DataDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.warn("DataDir", "whose data it holds was not looked at, since this account may not read it: check as the account that runs the node, or with sudo")
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return nil // said of the folder
	case err != nil:
		c.fault("DataDir", "whose data it holds cannot be told: %v; the node would not start", err)
		return nil
	case o.NodeID != "" && o.NodeID != n.NodeID:
		c.fault("DataDir", "%v; a node takes no other's data: its own empty folder is filled by the others", &datadir.Foreign{Dir: n.DataDir, Owner: o.NodeID, NodeID: n.NodeID})
	}
	return &o
}

// wsaAddrInUse is what Windows says where others say EADDRINUSE.
const wsaAddrInUse = syscall.Errno(10048)

// ports tries whether the node's addresses can be listened on. One in use is no fault: it may be this very node, running.
func (c *checker) ports(n *Node, owner *datadir.Owner) {
	// The cluster's address is the name others call; what is bound is its port.
	bind := ":" + portOf(n.ClusterAddress)
	if isLoopback(n.ClusterAddress) {
		bind = n.ClusterAddress
	}
	api, peers := c.taken("ListenAddress", n.ListenAddress), c.taken("ClusterAddress", bind)
	if api {
		s, answers := n.answering()
		other := ""
		switch {
		case answers && s.Node != n.NodeID:
			other = "the node " + s.Node
		case answers && owner != nil && s.ClusterID != "" && s.ClusterID != owner.ClusterID:
			other = "a node of another cluster, which is called " + s.Node + " as well and of which DataDir knows nothing,"
		case answers:
			c.note("%s runs, and answers at %s", n.NodeID, n.OwnURL())
			return // its other address is then its own, too
		}
		if other != "" {
			c.warn("ListenAddress", "%s answers at %s: this node cannot start while it does; stop it, or take another port", other, n.OwnURL())
			api = false
		}
	}
	const text = "something listens on %s already: fine if it is this node, else take another port"
	if api {
		c.warn("ListenAddress", text, n.ListenAddress)
	}
	if peers {
		c.warn("ClusterAddress", text, bind)
	}
}

// taken reports whether somebody listens on the address.
func (c *checker) taken(key, address string) bool {
	l, err := net.Listen("tcp", address) //nolint:noctx // returns at once
	switch {
	case err == nil:
		l.Close()
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, wsaAddrInUse):
		return true
	default:
		c.fault(key, "cannot listen on %s: %v", address, errors.Unwrap(err))
	}
	return false
}

// shareTimeout is how long a share may take to answer.
const shareTimeout = 10 * time.Second

// claimDir tries whether claims can be made in the folder. Unlike others it is not made at the start.
func (c *checker) claimDir(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), shareTimeout)
	defer cancel()
	if err := raftnode.CheckClaimDir(ctx, dir); err != nil {
		c.fault("ClaimDir", "%v", err)
	}
}

// folder tries whether a folder can be written, or made where it is not there yet.
func (c *checker) folder(key, path string) {
	dir := path
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			c.fault(key, "%s is a file, not a folder", dir)
			return
		}
		if err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, os.ErrNotExist) || parent == dir {
			c.fault(key, "cannot reach %s: %v", dir, err)
			return
		}
		dir = parent
	}
	probe, err := os.MkdirTemp(dir, ".scomconnector-check-")
	if err != nil {
		c.fault(key, "this account may not write in %s", dir)
		return
	}
	os.Remove(probe)
}
