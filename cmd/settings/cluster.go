package settings

import (
	"maps"
	"path/filepath"
	"runtime"
	"time"

	"scomconnector/poller/normalise"
)

// Cluster is SCOMConnectorConfig.json: what all nodes share. Its fields are named as the keys, the original connector's among
// them.
type Cluster struct {
	ScomServers []ScomServer // by priority, the first first
	MoogServers []MoogServer // in the file's order, those without an address among them

	IsActiveAlertPolling bool
	AlertPollCycleTime   time.Duration
	MinPollCycleTime     time.Duration
	IsActiveEventPolling bool
	EventPollCycleTime   time.Duration
	LowerTimeoutBound    time.Duration
	UpperTimeoutBound    time.Duration
	AmountOfTimeouts     int // -1: no limit
	OutageAlertAfter     time.Duration
	MaxPollRetryAttempt  int
	WinAuthOverride      bool
	AuthTokenRequired    bool
	AuthTokenCode        Secret
	MaxPayloadSizeInMB   float64 // see MaxPayloadBytes

	PollCriteriaDateFormat string // shown, never used
	CriteriaDateForm       string // "iso", "space"

	// Shown, never used but for ConnectorName, which names the cluster in our own events.
	ConnectorName        string
	ConnectorDescription string
	ConnectorDisplayName string
	HAServiceName        string
	Version              string
	IsPrimary            bool
	SCOMConnectorRestUrl string
	SiblingConnectorUrl  string

	ConnectorUrl          string        // no trailing slash; empty: the leader's AdvertiseUrl
	ManagementGroup       string        // empty: asked of SCOM
	OverlapSeconds        time.Duration //nolint:staticcheck // named as the key
	SettleSeconds         time.Duration //nolint:staticcheck // named as the key
	FirstStart            string        // "open", "now"
	InitialLookback       time.Duration
	MaxBatchEvents        int
	ReconcileMinutes      time.Duration // 0: off
	Filter                string
	Mapping               map[string]string
	SeverityMap           map[string]int // only what the file sets; the rest is normalise's default
	SendRepeatCounts      bool
	SendOwnChanges        bool
	CallbackActions       map[string]int // defaults included
	CloseUnhealthyMonitor string         // "report", "reset"
	CloseWaitSeconds      time.Duration  //nolint:staticcheck // named as the key
	CloseUnknownIds       string         // "accept", "refuse"
	OutboxMaxEntries      int
	OutboxMaxMB           int
	HeartbeatSeconds      time.Duration //nolint:staticcheck // named as the key; 0: off
	Failback              string        // "auto", "manual"
	FailbackDelay         time.Duration

	// Text is the file as it was read; it is no key.
	Text     []byte
	Warnings Warnings
	secrets  []Ref
}

// ScomServer is one SCOM web console.
type ScomServer struct {
	ScomAddressHost      string // as written: HOST, HOST:PORT, or with http:// before it
	Domain               string
	UserId               string
	Password             Secret
	Guid                 string
	Priority             int    // 1 is first; a server without one comes after all that have one
	Url                  string // the web console's base, no trailing slash; derived when the file has none
	Auth                 string // "network", "windows", "kerberos"
	KeytabFile           string
	Krb5ConfFile         string
	ServicePrincipalName string
	LoginForm            string // replaces "(Network)" before the first colon; empty: the standard
	CaFile               string
	InsecureSkipVerify   bool
	ProxyUrl             Secret // an address, or a reference to one where it holds a password

	// Name is how people know it: the ScomAddressHost without scheme, or Url's host.
	Name string

	index int // in the file
}

// MoogServer is one LAM.
type MoogServer struct {
	MoogUrl            string
	MoogIp             string
	MoogPort           int
	MoogAddressDisplay string
	MoogPublicKey      string // path of a certificate, PEM or DER
	IsSslEnabled       bool
	IsProxyRequired    bool
	ProxyUsername      string
	ProxyPassword      Secret
	MoogProxyIP        string
	MoogProxyPort      int
	Url                string // shown, never used
	IsConnected        bool   // shown, never used
	Destination        string
	PreviousName       string
	Username           string
	Password           Secret
	ClientCertFile     string
	ClientKeyFile      string

	// Address is where events are posted; empty: this LAM is ignored.
	Address string
	// Proxy is HOST:PORT of the proxy, empty without one.
	Proxy string
	// Name is how people know it: MoogAddressDisplay, or the Address.
	Name string
}

// Options is what reading the cluster's file depends on beside the file.
type Options struct {
	Dir  string // where relative paths start: node.json's folder
	GOOS string // empty: this machine's
}

// ClusterDefaults is the one place where SCOMConnectorConfig.json's defaults stand.
func ClusterDefaults() Cluster {
	return Cluster{
		IsActiveAlertPolling:  true,
		AlertPollCycleTime:    45 * time.Second,
		MinPollCycleTime:      2 * time.Second,
		EventPollCycleTime:    45 * time.Second,
		LowerTimeoutBound:     10 * time.Second,
		UpperTimeoutBound:     360 * time.Second,
		AmountOfTimeouts:      -1,
		OutageAlertAfter:      300 * time.Second,
		MaxPollRetryAttempt:   3,
		MaxPayloadSizeInMB:    1,
		CriteriaDateForm:      "iso",
		OverlapSeconds:        60 * time.Second,
		SettleSeconds:         30 * time.Second,
		FirstStart:            "open",
		InitialLookback:       24 * time.Hour,
		MaxBatchEvents:        500,
		ReconcileMinutes:      30 * time.Minute,
		SendRepeatCounts:      true,
		CallbackActions:       map[string]int{"Closed": 255, "Resolved": 254, "Acknowledged": 249},
		CloseUnhealthyMonitor: "report",
		CloseWaitSeconds:      5 * time.Second,
		CloseUnknownIds:       "accept",
		OutboxMaxEntries:      100_000,
		OutboxMaxMB:           64,
		Failback:              "auto",
		FailbackDelay:         60 * time.Second,
	}
}

// table has one row for each key of SCOMConnectorConfig.json.
func (c *Cluster) table() []key {
	const day = 24 * time.Hour
	return []key{
		list("ScomServers", &c.ScomServers, 1, 16, scomTable).must(),
		list("MoogServers", &c.MoogServers, 1, 32, moogTable).must(),
		yesNo("IsActiveAlertPolling", &c.IsActiveAlertPolling),
		span("AlertPollCycleTime", &c.AlertPollCycleTime, time.Second, time.Second, time.Hour),
		span("MinPollCycleTime", &c.MinPollCycleTime, time.Second, time.Second/2, time.Hour),
		yesNo("IsActiveEventPolling", &c.IsActiveEventPolling),
		span("EventPollCycleTime", &c.EventPollCycleTime, time.Second, time.Second, time.Hour),
		span("LowerTimeoutBound", &c.LowerTimeoutBound, time.Second, time.Second/10, day),
		span("UpperTimeoutBound", &c.UpperTimeoutBound, time.Second, time.Second/10, day),
		whole("AmountOfTimeouts", &c.AmountOfTimeouts, 1, 1_000_000).or(-1, "-1 for no limit"),
		span("OutageAlertAfter", &c.OutageAlertAfter, time.Second, 10*time.Second, day),
		whole("MaxPollRetryAttempt", &c.MaxPollRetryAttempt, 1, 100),
		yesNo("WinAuthOverride", &c.WinAuthOverride),
		yesNo("AuthTokenRequired", &c.AuthTokenRequired),
		secret("AuthTokenCode", &c.AuthTokenCode),
		decimal("MaxPayloadSizeInMB", &c.MaxPayloadSizeInMB, 0.01, 100),
		text("PollCriteriaDateFormat", &c.PollCriteriaDateFormat, 200),
		choice("CriteriaDateForm", &c.CriteriaDateForm, "iso", "space"),
		text("ConnectorName", &c.ConnectorName, 200),
		text("ConnectorDescription", &c.ConnectorDescription, 1000),
		text("ConnectorDisplayName", &c.ConnectorDisplayName, 200),
		text("HAServiceName", &c.HAServiceName, 200),
		text("Version", &c.Version, 200),
		yesNo("IsPrimary", &c.IsPrimary),
		text("SCOMConnectorRestUrl", &c.SCOMConnectorRestUrl, 1000),
		text("SiblingConnectorUrl", &c.SiblingConnectorUrl, 1000),
		link("ConnectorUrl", &c.ConnectorUrl),
		text("ManagementGroup", &c.ManagementGroup, 256),
		span("OverlapSeconds", &c.OverlapSeconds, time.Second, time.Second, time.Hour),
		span("SettleSeconds", &c.SettleSeconds, time.Second, 0, time.Hour),
		choice("FirstStart", &c.FirstStart, "open", "now"),
		span("InitialLookback", &c.InitialLookback, time.Second, 0, 168*time.Hour),
		whole("MaxBatchEvents", &c.MaxBatchEvents, 1, 10_000),
		span("ReconcileMinutes", &c.ReconcileMinutes, time.Minute, 0, day),
		text("Filter", &c.Filter, 8<<10),
		texts("Mapping", &c.Mapping, 64, 8<<10),
		numbers("SeverityMap", &c.SeverityMap, 0, 5, normalise.SeverityKeys()...),
		numbers("CallbackActions", &c.CallbackActions, 0, 255),
		yesNo("SendRepeatCounts", &c.SendRepeatCounts),
		yesNo("SendOwnChanges", &c.SendOwnChanges),
		choice("CloseUnhealthyMonitor", &c.CloseUnhealthyMonitor, "report", "reset"),
		span("CloseWaitSeconds", &c.CloseWaitSeconds, time.Second, 0, 30*time.Second),
		choice("CloseUnknownIds", &c.CloseUnknownIds, "accept", "refuse"),
		whole("OutboxMaxEntries", &c.OutboxMaxEntries, 1, 1_000_000),
		whole("OutboxMaxMB", &c.OutboxMaxMB, 1, 1024),
		span("HeartbeatSeconds", &c.HeartbeatSeconds, time.Second, 10*time.Second, time.Hour).or(0, "0 for off"),
		choice("Failback", &c.Failback, "auto", "manual"),
		span("FailbackDelay", &c.FailbackDelay, time.Second, 0, day),
	}
}

func scomTable(s *ScomServer) []key {
	s.Auth = "network"
	return []key{
		text("ScomAddressHost", &s.ScomAddressHost, 300),
		text("Domain", &s.Domain, 256),
		text("UserId", &s.UserId, 256),
		secret("Password", &s.Password),
		text("Guid", &s.Guid, 64),
		whole("Priority", &s.Priority, 1, 1000).or(0, "0 for last"),
		link("Url", &s.Url),
		choice("Auth", &s.Auth, "network", "windows", "kerberos"),
		file("KeytabFile", &s.KeytabFile),
		file("Krb5ConfFile", &s.Krb5ConfFile),
		text("ServicePrincipalName", &s.ServicePrincipalName, 300),
		text("LoginForm", &s.LoginForm, 64),
		file("CaFile", &s.CaFile),
		yesNo("InsecureSkipVerify", &s.InsecureSkipVerify),
		secretLink("ProxyUrl", &s.ProxyUrl),
	}
}

func moogTable(m *MoogServer) []key {
	m.IsSslEnabled, m.Destination = true, "default"
	return []key{
		link("MoogUrl", &m.MoogUrl),
		text("MoogIp", &m.MoogIp, 300),
		port("MoogPort", &m.MoogPort),
		text("MoogAddressDisplay", &m.MoogAddressDisplay, 1000),
		file("MoogPublicKey", &m.MoogPublicKey),
		yesNo("IsSslEnabled", &m.IsSslEnabled),
		yesNo("IsProxyRequired", &m.IsProxyRequired),
		text("ProxyUsername", &m.ProxyUsername, 256),
		secret("ProxyPassword", &m.ProxyPassword),
		text("MoogProxyIP", &m.MoogProxyIP, 300),
		port("MoogProxyPort", &m.MoogProxyPort),
		text("Url", &m.Url, 1000),
		yesNo("IsConnected", &m.IsConnected),
		name("Destination", &m.Destination),
		name("PreviousName", &m.PreviousName),
		text("Username", &m.Username, 256),
		secret("Password", &m.Password),
		file("ClientCertFile", &m.ClientCertFile),
		file("ClientKeyFile", &m.ClientKeyFile),
	}
}

// LoadCluster reads SCOMConnectorConfig.json. The Cluster is never nil; it is usable only if there are no faults.
func LoadCluster(path string, opts Options) (*Cluster, Faults) {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	text, faults := readFile(path)
	if len(faults) > 0 {
		c := ClusterDefaults()
		return &c, faults
	}
	return ParseCluster(path, text, opts)
}

// ParseCluster reads the text of a SCOMConnectorConfig.json, from a file or from the replicated state. The name is for
// messages. It touches no file but compiles the expressions.
func ParseCluster(name string, text []byte, opts Options) (*Cluster, Faults) {
	if opts.GOOS == "" {
		opts.GOOS = runtime.GOOS
	}
	c := ClusterDefaults()
	c.Text = text
	r := newReader(name, text, opts.Dir)
	if r.read(c.table(), nodeKeys()) {
		c.check(r, opts)
	}
	c.secrets = r.secrets
	c.Warnings = r.sortedWarnings()
	return &c, r.sortedFaults()
}

// Refs are the secrets that the file refers to, with their keys.
func (c *Cluster) Refs() []Ref { return c.secrets }

// MaxPayloadBytes is the hard cap on a request's body; 1 MB is 1,048,576 bytes.
func (c *Cluster) MaxPayloadBytes() int { return int(c.MaxPayloadSizeInMB * (1 << 20)) }

// Destination is one Moogsoft instance: LAMs of which one is used at a time.
type Destination struct {
	Name         string
	PreviousName string       // carries the cursor of a renamed destination; mostly empty
	LAMs         []MoogServer // in the order in which they are tried; all have an Address
}

// Destinations groups the LAMs that have an address, in the order in which the file first names each destination.
func (c *Cluster) Destinations() []Destination {
	var all []Destination
	at := map[string]int{}
	for _, m := range c.MoogServers {
		if m.Address == "" {
			continue
		}
		i, ok := at[m.Destination]
		if !ok {
			i = len(all)
			at[m.Destination] = i
			all = append(all, Destination{Name: m.Destination})
		}
		if m.PreviousName != "" {
			all[i].PreviousName = m.PreviousName
		}
		all[i].LAMs = append(all[i].LAMs, m)
	}
	return all
}

// ClusterName is how our own events name the cluster: ConnectorName, else the management group, else the Primary's NodeID.
func (c *Cluster) ClusterName(managementGroup, primary string) string {
	for _, s := range []string{c.ConnectorName, c.ManagementGroup, managementGroup} {
		if s != "" {
			return s
		}
	}
	return primary
}

// merged is defaults overlaid with given.
func merged(defaults, given map[string]int) map[string]int {
	m := map[string]int{}
	maps.Copy(m, defaults)
	maps.Copy(m, given)
	return m
}
