package v1

import (
	"strings"
	"time"
)

// Status is what GET /api/v1/status answers: one node's view of everything.
type Status struct {
	Node      string     `json:"node"`
	Role      string     `json:"role"`
	Version   string     `json:"version"`
	LogLevel  string     `json:"logLevel"`            // how much this node logs: see LogLevel
	Cluster   string     `json:"cluster"`             // ConnectorName, else management group, else the Primary's NodeID
	ClusterID string     `json:"clusterId,omitempty"` // made with the cluster, and its own; empty: this node belongs to none yet
	Time      time.Time  `json:"time"`
	Leader    string     `json:"leader"` // empty: none is known
	Term      uint64     `json:"term"`
	Epoch     uint64     `json:"epoch"`
	Token     string     `json:"token"` // of that term, as the log writes it: "1.primary.16" is term 16 of epoch 1, begun by primary; empty: nobody has led yet
	Verdict   Verdict    `json:"verdict"`
	Totals    Totals     `json:"totals"`
	Pipelines []Pipeline `json:"pipelines"`
	SCOM      []Console  `json:"scom"`
	LAMs      []LAM      `json:"lams"`
	Members   []Member   `json:"members"`
	Outbox    OutboxList `json:"outbox"` // the oldest 20 that wait, and the newest 10 settled; GET /api/v1/outbox has more
	Parked    Parked     `json:"parked"`
	// Refused are the close requests that SCOM has refused for good: how many, and the newest 20.
	Refused     ParkedRequestList `json:"parkedRequests"`
	Maintenance []string          `json:"maintenance"`
	Config      ConfigState       `json:"config"`
	Changes     []Change          `json:"leaderChanges"` // newest first
	// Takeover is whether this node could be made leader by force, as the maintenance page offers it.
	Takeover Takeover `json:"takeover"`
	// Etcd is there where an etcd decides who leads, and not the nodes among themselves.
	Etcd *Etcd `json:"etcd,omitempty"`
	// Notes tell what was merged from a node that had gone on alone, newest first.
	Notes []Note `json:"notes"`
	// Archives are copies of its state that this node has put aside, newest first.
	Archives []Archive `json:"archives"`
	// Warnings are facts an operator should mend some day; they do not stop anything.
	Warnings []string `json:"warnings"`
	Store    Store    `json:"store"`
	// Certificates are those that this node works with and the authorities behind them, the first to end first.
	Certificates []Certificate `json:"certificates"`
}

// Level is how bad it is.
type Level string

// The levels of a verdict.
const (
	OK       Level = "ok"
	Degraded Level = "degraded"
	Stopped  Level = "stopped"
)

// Verdict is the state of affairs in one sentence.
type Verdict struct {
	Level Level     `json:"level"`
	Text  string    `json:"text"`
	Do    string    `json:"do"` // what to do; empty when there is nothing to do
	Since time.Time `json:"since,omitzero"`
}

// Sentence is all of it in one: the state, its cause, and what to do. Page and log say this and nothing else.
func (v Verdict) Sentence() string {
	if v.Do == "" {
		return v.Text
	}
	text := strings.TrimRight(v.Text, " ")
	if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "!") {
		text += "."
	}
	return text + " Do: " + v.Do
}

// Totals survive restarts and leader changes.
type Totals struct {
	Processed uint64 `json:"processed"` // alert versions accepted by a LAM, all destinations
	Parked    uint64 `json:"parked"`    // ever parked
}

// Pipeline is one stream to one destination. What only the leader knows is zero elsewhere.
type Pipeline struct {
	Name       string    `json:"name"`
	Cursor     time.Time `json:"cursor,omitzero"`
	LagSeconds float64   `json:"lagSeconds"` // age of the oldest undelivered row
	LagKnown   bool      `json:"lagKnown"`   // else LagSeconds says nothing: SCOM was never read to its end yet, or another node leads
	Sent       uint64    `json:"sent"`
	Parked     int       `json:"parked"`
	Remembered int       `json:"remembered"`        // ids in the delivered map
	LastPoll   time.Time `json:"lastPoll,omitzero"` // under this leader or one before; zero: none is known
	LastSent   time.Time `json:"lastSent,omitzero"` // so, too
	Phase      string    `json:"phase"`             // "idle", "polling", "catching up", "waiting for SCOM", ...
	Progress   string    `json:"progress,omitempty"`
	LastError  string    `json:"lastError"`
	Flow       Flow      `json:"flow"`
	// LatenessSeconds is the longest time from a change to SCOM showing it that the present term has seen.
	LatenessSeconds float64 `json:"latenessSeconds"`
}

// Flow is what has gone through a pipeline since it began, step by step: with its leader's term, or when settings, a secret or a
// cursor changed last. Zero where nobody knows.
type Flow struct {
	Since      time.Time `json:"since,omitzero"` // when it began
	RatesKnown bool      `json:"ratesKnown"`     // else perMinute says nothing: it began just now
	Polls      Step      `json:"polls"`          // completely read answers of SCOM
	Read       Step      `json:"read"`           // changes in them that were new and had to go out
	Sent       Step      `json:"sent"`           // handed to a LAM; what is tried again counts again
	Accepted   Step      `json:"accepted"`       // taken by a LAM
	Waiting    int       `json:"waiting"`        // read and not yet accepted
}

// Step is one of them.
type Step struct {
	Count     uint64  `json:"count"`
	PerMinute float64 `json:"perMinute"` // over the last minute
}

// Console is one SCOM web console.
type Console struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Priority int    `json:"priority"`
	InUse    bool   `json:"inUse"`
	// State is "ok", "failing", "unknown", or "reachable": it failed, another one is in use, and this one answers probes again.
	State     string    `json:"state"`
	LastOK    time.Time `json:"lastOk,omitzero"` // under this leader or one before; zero: none is known
	LatencyMS float64   `json:"latencyMs"`
	LastError string    `json:"lastError"`
	// Brief is LastError in a few words that follow the name, LastFailed when that was.
	Brief      string    `json:"brief,omitempty"`
	LastFailed time.Time `json:"lastFailed,omitzero"`
	Warning    string    `json:"warning,omitempty"`
	// Features are what this console has that not every SCOM has, since the answering node's last log-on there; absent before it.
	Features *ConsoleFeatures `json:"features,omitempty"`
}

// ConsoleFeatures are what differs between versions of SCOM. Each of the six is "yes", "no" or "unknown".
type ConsoleFeatures struct {
	LogOn           time.Time `json:"logOn,omitzero"`
	Version         string    `json:"version"` // as far as it shows, in words
	Role            string    `json:"role"`    // SCOM's word for what the account may do
	Group           string    `json:"group"`   // its management group; empty where it does not tell
	CSRF            string    `json:"csrf"`
	AlertColumns    string    `json:"alertColumns"`
	ManagementGroup string    `json:"managementGroup"`
	AlertDetails    string    `json:"alertDetails"`
	ResetMonitor    string    `json:"resetMonitorByAlertId"`
	UTCColumns      string    `json:"utcColumns"`
	DateForm        string    `json:"dateForm"` // iso, space
	Times           string    `json:"times"`    // what shows that times are UTC
}

// LAM is one Moogsoft LAM.
type LAM struct {
	Name        string    `json:"name"`
	URL         string    `json:"url"`
	Destination string    `json:"destination"`
	InUse       bool      `json:"inUse"`
	State       string    `json:"state"`
	LastOK      time.Time `json:"lastOk,omitzero"` // under this leader or one before; zero: none is known
	LatencyMS   float64   `json:"latencyMs"`
	LastError   string    `json:"lastError"`
	// Brief is LastError in a few words that follow the name, Do what to do about it, LastFailed when that was.
	Brief      string    `json:"brief,omitempty"`
	Do         string    `json:"do,omitempty"`
	LastFailed time.Time `json:"lastFailed,omitzero"`
	Warning    string    `json:"warning,omitempty"`
}

// What a member's Part may be.
const (
	PartReady   = "ready"
	PartWithout = "without etcd"
	PartAway    = "out of contact"
)

// Member is one node of the cluster, as seen by the node that answers.
type Member struct {
	Node        string    `json:"node"`
	Role        string    `json:"role"`
	URL         string    `json:"url"`
	Voter       bool      `json:"voter"`          // it has a vote; with an etcd: it is in contact with it, and could lead
	Part        string    `json:"part,omitempty"` // only with an etcd: what the member could do there
	Leader      bool      `json:"leader"`
	LastContact time.Time `json:"lastContact,omitzero"`
	Version     string    `json:"version"`
	Maintenance bool      `json:"maintenance"`
	Sticky      bool      `json:"sticky"` // maintenance that only an operator ends
	Behind      uint64    `json:"behind"` // log entries it has not applied that the answering node has
	Fault       string    `json:"fault"`  // why it is out of contact; empty while it is in contact
	Slow        string    `json:"slow"`   // that its machine is too slow for the cluster's Timing, as what follows "its machine"; empty: nothing is known of it
}

// Etcd is what the answering node knows of the etcd.
type Etcd struct {
	Prefix           string         `json:"prefix"`
	LeaseSeconds     float64        `json:"leaseSeconds"`     // after so long without renewal the leadership is free
	LeaseLeftSeconds float64        `json:"leaseLeftSeconds"` // until the answering node, which leads, stops unless it renews; 0 on any other node
	Endpoints        []EtcdEndpoint `json:"endpoints"`
}

// EtcdEndpoint is one of Etcd.Endpoints in node.json.
type EtcdEndpoint struct {
	URL       string  `json:"url"`
	Fault     string  `json:"fault"` // why it cannot be used, and what to do; empty while it works
	Alarm     string  `json:"alarm"` // what etcd itself complains about
	Version   string  `json:"version"`
	Leader    bool    `json:"leader"` // of that etcd
	SizeBytes int64   `json:"sizeBytes"`
	LatencyMS float64 `json:"latencyMs"`
}

// Takeover is whether the node that answers could be made leader by force.
type Takeover struct {
	Possible  bool      `json:"possible"`
	Refusal   string    `json:"refusal"`            // why not
	LastHeard time.Time `json:"lastHeard,omitzero"` // when this node last heard from a leader: its copy is as old as that
	Warnings  []string  `json:"warnings"`           // what may be lost, and what it is refused for without force
	At        time.Time `json:"at,omitzero"`        // when it takes over by itself; zero: it will not
}

// Note is a sentence about what a node did while it went on alone, and what became of it.
type Note struct {
	At   time.Time `json:"at"`
	Node string    `json:"node"`
	Text string    `json:"text"`
}

// Archive is a copy of the state that a node put aside before it took over another one's; it lies in its DataDir.
type Archive struct {
	Name  string    `json:"name"`
	At    time.Time `json:"at"`
	Epoch uint64    `json:"epoch"`
}

// Parked counts what was refused for good.
type Parked struct {
	Count  int           `json:"count"`
	Newest []ParkedEntry `json:"newest"` // at most 20, newest first
}

// ParkedEntry is one refused thing.
type ParkedEntry struct {
	Key      string    `json:"key"`
	Pipeline string    `json:"pipeline"`
	Alert    string    `json:"alert"`
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`
	LAM      string    `json:"lam"`
	Status   int       `json:"httpStatus"`
	Answer   string    `json:"answer"`
}

// ConfigState is which settings are in use.
type ConfigState struct {
	Version         uint64            `json:"version"`
	Author          string            `json:"author"`
	At              time.Time         `json:"at,omitzero"`
	DiffersFromFile bool              `json:"differsFromFile"`
	Versions        []SettingsVersion `json:"versions"` // that are kept, newest first
}

// Store is what a node knows of the disk under its DataDir.
type Store struct {
	Fault   string  `json:"fault"`   // why it was given up; empty while it works
	WriteMS float64 `json:"writeMs"` // how long the last write took
	// FreeBytes may still be written there; -1: that cannot be told.
	FreeBytes int64 `json:"freeBytes"`
}

// Certificate is one file's, or the first in it to end.
type Certificate struct {
	Name  string    `json:"name"`          // the setting that names the file, and the file
	Ends  time.Time `json:"ends,omitzero"` // zero: it cannot be read
	Fault string    `json:"fault"`
}

// Change is one change of leadership.
type Change struct {
	At     time.Time `json:"at"`
	Node   string    `json:"node"`
	Term   uint64    `json:"term"`
	Epoch  uint64    `json:"epoch"`
	Token  string    `json:"token"` // of that term, as the log writes it
	Cause  string    `json:"cause"` // formed, elected, lost, takeover, alone, transfer, maintenance, stop, failback, work, witness
	Reason string    `json:"reason"`
}

// Error is the body of every refusal.
type Error struct {
	Error string `json:"error"`
	Hint  string `json:"hint"`
}
