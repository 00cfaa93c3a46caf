package settings

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"scomconnector/cluster"
)

// Node is node.json: what is local to one node. Its fields are named as the keys.
type Node struct {
	NodeID         string
	Role           cluster.Role
	ListenAddress  string // HOST:PORT
	AdvertiseUrl   string // no trailing slash; derived when the file has none
	ClusterAddress string // HOST:PORT
	DataDir        string // absolute if the file's folder is known
	Coordination   string // "raft"
	Members        []cluster.Member
	Timing         string // "lan", "fast", "relaxed"
	PairTakeover   string // "availability", "claim", "operator"
	TakeoverAfter  time.Duration
	ClaimDir       string
	Etcd           Etcd
	Tls            Tls
	ClusterTls     ClusterTls
	Auth           Auth
	Log            Log

	// Path and Dir are the file and its folder, at which relative paths start; they are no keys.
	Path, Dir string
	Warnings  Warnings
}

// Etcd is the user's own etcd, for Coordination "etcd".
type Etcd struct {
	Endpoints  []string
	Prefix     string
	TTLSeconds time.Duration //nolint:staticcheck // named as the key
	CaFile     string
	CertFile   string
	KeyFile    string
	User       string
	Password   Secret
}

// Tls is for the API. It is off while CertFile is empty.
type Tls struct {
	CertFile          string
	KeyFile           string
	CaFile            string
	RequireClientCert bool
}

// ClusterTls is for the nodes among themselves, always mutual.
type ClusterTls struct {
	CertFile string
	KeyFile  string
	CaFile   string
}

// Auth names files with one token each; an empty name means that no such token is asked for.
type Auth struct {
	OperatorTokenFile string
	CallbackTokenFile string
	ReadTokenFile     string
}

// Log says where the log goes and how much of it is kept.
type Log struct {
	Level      string // OFF, FATAL, ERROR, WARN, INFO, DEBUG, ALL, as the original
	Format     string // text, json
	File       string // empty: standard error; as a service: a file in DataDir/logs
	MaxSizeMB  int
	MaxBackups int
	EventLog   bool // Windows
}

// NodeDefaults is the one place where node.json's defaults stand.
func NodeDefaults() Node {
	return Node{
		Coordination:  "raft",
		Timing:        "lan",
		PairTakeover:  "availability",
		TakeoverAfter: 15 * time.Second,
		Etcd:          Etcd{Prefix: "/scomconnector/", TTLSeconds: 5 * time.Second},
		Log:           Log{Level: "INFO", Format: "text", MaxSizeMB: 50, MaxBackups: 5},
	}
}

// table has one row for each key of node.json.
func (n *Node) table() []key {
	return []key{
		name("NodeID", &n.NodeID).must(),
		choice("Role", &n.Role, cluster.Primary, cluster.Secondary, cluster.Witness).must(),
		address("ListenAddress", "0.0.0.0:8085", &n.ListenAddress).must(),
		link("AdvertiseUrl", &n.AdvertiseUrl),
		address("ClusterAddress", "scomc1.contoso.com:8086", &n.ClusterAddress).must(),
		file("DataDir", &n.DataDir).must(),
		choice("Coordination", &n.Coordination, "raft", "etcd"),
		list("Members", &n.Members, 1, 3, memberTable).must(),
		choice("Timing", &n.Timing, "lan", "fast", "relaxed"),
		choice("PairTakeover", &n.PairTakeover, "availability", "claim", "operator"),
		span("TakeoverAfter", &n.TakeoverAfter, time.Second, 5*time.Second, time.Hour),
		file("ClaimDir", &n.ClaimDir),
		object("Etcd", []key{
			links("Endpoints", &n.Etcd.Endpoints, 9),
			text("Prefix", &n.Etcd.Prefix, 200),
			span("TTLSeconds", &n.Etcd.TTLSeconds, time.Second, 3*time.Second, time.Minute),
			file("CaFile", &n.Etcd.CaFile),
			file("CertFile", &n.Etcd.CertFile),
			file("KeyFile", &n.Etcd.KeyFile),
			text("User", &n.Etcd.User, 256),
			secret("Password", &n.Etcd.Password),
		}),
		object("Tls", []key{
			file("CertFile", &n.Tls.CertFile),
			file("KeyFile", &n.Tls.KeyFile),
			file("CaFile", &n.Tls.CaFile),
			yesNo("RequireClientCert", &n.Tls.RequireClientCert),
		}),
		object("ClusterTls", []key{
			file("CertFile", &n.ClusterTls.CertFile),
			file("KeyFile", &n.ClusterTls.KeyFile),
			file("CaFile", &n.ClusterTls.CaFile),
		}),
		object("Auth", []key{
			file("OperatorTokenFile", &n.Auth.OperatorTokenFile),
			file("CallbackTokenFile", &n.Auth.CallbackTokenFile),
			file("ReadTokenFile", &n.Auth.ReadTokenFile),
		}),
		object("Log", []key{
			choice("Level", &n.Log.Level, "OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "ALL"),
			choice("Format", &n.Log.Format, "text", "json"),
			file("File", &n.Log.File),
			whole("MaxSizeMB", &n.Log.MaxSizeMB, 1, 1000),
			// Zero is refused: the rotating writer takes it for "keep all", and fills the disk.
			whole("MaxBackups", &n.Log.MaxBackups, 1, 100),
			yesNo("EventLog", &n.Log.EventLog),
		}),
	}
}

func memberTable(m *cluster.Member) []key {
	return []key{
		name("NodeID", &m.NodeID).must(),
		choice("Role", &m.Role, cluster.Primary, cluster.Secondary, cluster.Witness).must(),
		address("ClusterAddress", "scomc1.contoso.com:8086", &m.ClusterAddress).must(),
		link("Url", &m.Url),
	}
}

// LoadNode reads node.json. The Node is never nil; it is usable only if there are no faults.
func LoadNode(path string) (*Node, Faults) {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	text, faults := readFile(path)
	if len(faults) > 0 {
		n := NodeDefaults()
		n.Path, n.Dir = path, filepath.Dir(path)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			faults[0].Message += ": --node FILE names another one, scomconnector init makes one"
		}
		return &n, faults
	}
	n, faults := ParseNode(path, text, filepath.Dir(path))
	return n, faults
}

// ParseNode reads the text of a node.json. The name is for messages; relative paths start at dir.
func ParseNode(name string, text []byte, dir string) (*Node, Faults) {
	n := NodeDefaults()
	n.Path, n.Dir = name, dir
	r := newReader(name, text, dir)
	if r.read(n.table(), clusterKeys()) {
		n.check(r)
	}
	n.Warnings = r.sortedWarnings()
	return &n, r.sortedFaults()
}
