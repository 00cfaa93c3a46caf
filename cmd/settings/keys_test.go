package settings

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/cluster"
)

// rows flattens a table to "key: range".
func rows(prefix string, table []key) []string {
	var all []string
	for _, k := range table {
		if len(k.sub) == 0 {
			all = append(all, prefix+k.name+": "+k.accepted)
			continue
		}
		mark := "."
		if k.list {
			mark = "[]."
		}
		all = append(all, rows(prefix+k.name+mark, k.sub)...)
	}
	return all
}

const (
	aName    = "1 to 64 of the characters A-Z a-z 0-9 . _ -"
	anAddr   = "HOST:PORT, such as scomc1.contoso.com:8086"
	aLink    = "an address that begins with http:// or https://"
	aPath    = "a path; a relative one starts at node.json's folder"
	aSecret  = "env:NAME, file:PATH, sealed:..., plain:TEXT"
	boolean  = "true, false"
	aDay     = " to 86400 seconds, that is 24h"
	anyPort  = `"", or 1 to 65535`
	upTo     = "text of at most "
	theRoles = "Primary, Secondary, Witness"
)

func TestEveryKeyOfNodeJsonHasItsRange(t *testing.T) {
	want := []string{
		"NodeID: " + aName, "Role: " + theRoles, "ListenAddress: " + strings.Replace(anAddr, "scomc1.contoso.com:8086", "0.0.0.0:8085", 1), "AdvertiseUrl: " + aLink, "ClusterAddress: " + anAddr,
		"DataDir: " + aPath, "Coordination: raft, etcd",
		"Members[].NodeID: " + aName, "Members[].Role: " + theRoles, "Members[].ClusterAddress: " + anAddr, "Members[].Url: " + aLink,
		"Timing: lan, fast, relaxed", "PairTakeover: availability, claim, operator", "TakeoverAfter: 5 to 3600 seconds", "ClaimDir: " + aPath,
		"Etcd.Endpoints: a list of at most 9 web addresses", "Etcd.Prefix: " + upTo + "200 bytes", "Etcd.TTLSeconds: 3 to 60 seconds",
		"Etcd.CaFile: " + aPath, "Etcd.CertFile: " + aPath, "Etcd.KeyFile: " + aPath, "Etcd.User: " + upTo + "256 bytes", "Etcd.Password: " + aSecret,
		"Tls.CertFile: " + aPath, "Tls.KeyFile: " + aPath, "Tls.CaFile: " + aPath, "Tls.RequireClientCert: " + boolean,
		"ClusterTls.CertFile: " + aPath, "ClusterTls.KeyFile: " + aPath, "ClusterTls.CaFile: " + aPath,
		"Auth.OperatorTokenFile: " + aPath, "Auth.CallbackTokenFile: " + aPath, "Auth.ReadTokenFile: " + aPath,
		"Log.Level: OFF, FATAL, ERROR, WARN, INFO, DEBUG, ALL", "Log.Format: text, json", "Log.File: " + aPath,
		"Log.MaxSizeMB: 1 to 1000", "Log.MaxBackups: 1 to 100", "Log.EventLog: " + boolean,
	}
	compareRows(t, rows("", new(Node).table()), want)
}

func TestEveryKeyOfTheClusterFileHasItsRange(t *testing.T) {
	want := []string{
		"ScomServers[].ScomAddressHost: " + upTo + "300 bytes", "ScomServers[].Domain: " + upTo + "256 bytes", "ScomServers[].UserId: " + upTo + "256 bytes",
		"ScomServers[].Password: " + aSecret, "ScomServers[].Guid: " + upTo + "64 bytes", "ScomServers[].Priority: 0 for last, or 1 to 1000",
		"ScomServers[].Url: " + aLink, "ScomServers[].Auth: network, windows, kerberos", "ScomServers[].KeytabFile: " + aPath,
		"ScomServers[].Krb5ConfFile: " + aPath, "ScomServers[].ServicePrincipalName: " + upTo + "300 bytes", "ScomServers[].LoginForm: " + upTo + "64 bytes",
		"ScomServers[].CaFile: " + aPath, "ScomServers[].InsecureSkipVerify: " + boolean,
		"ScomServers[].ProxyUrl: http://HOST:PORT, or for one with a password a reference to the whole address: " + aSecret,
		"MoogServers[].MoogUrl: " + aLink, "MoogServers[].MoogIp: " + upTo + "300 bytes", "MoogServers[].MoogPort: " + anyPort,
		"MoogServers[].MoogAddressDisplay: " + upTo + "1000 bytes", "MoogServers[].MoogPublicKey: " + aPath, "MoogServers[].IsSslEnabled: " + boolean,
		"MoogServers[].IsProxyRequired: " + boolean, "MoogServers[].ProxyUsername: " + upTo + "256 bytes", "MoogServers[].ProxyPassword: " + aSecret,
		"MoogServers[].MoogProxyIP: " + upTo + "300 bytes", "MoogServers[].MoogProxyPort: " + anyPort, "MoogServers[].Url: " + upTo + "1000 bytes",
		"MoogServers[].IsConnected: " + boolean, "MoogServers[].Destination: " + aName, "MoogServers[].PreviousName: " + aName,
		"MoogServers[].Username: " + upTo + "256 bytes", "MoogServers[].Password: " + aSecret, "MoogServers[].ClientCertFile: " + aPath,
		"MoogServers[].ClientKeyFile: " + aPath,
		"IsActiveAlertPolling: " + boolean, "AlertPollCycleTime: 1 to 3600 seconds", "MinPollCycleTime: 0.5 to 3600 seconds",
		"IsActiveEventPolling: " + boolean, "EventPollCycleTime: 1 to 3600 seconds", "LowerTimeoutBound: 0.1" + aDay, "UpperTimeoutBound: 0.1" + aDay,
		"AmountOfTimeouts: -1 for no limit, or 1 to 1000000", "OutageAlertAfter: 10" + aDay, "MaxPollRetryAttempt: 1 to 100",
		"WinAuthOverride: " + boolean, "AuthTokenRequired: " + boolean, "AuthTokenCode: " + aSecret, "MaxPayloadSizeInMB: 0.01 to 100",
		"PollCriteriaDateFormat: " + upTo + "200 bytes", "CriteriaDateForm: iso, space", "ConnectorName: " + upTo + "200 bytes",
		"ConnectorDescription: " + upTo + "1000 bytes", "ConnectorDisplayName: " + upTo + "200 bytes", "HAServiceName: " + upTo + "200 bytes",
		"Version: " + upTo + "200 bytes", "IsPrimary: " + boolean, "SCOMConnectorRestUrl: " + upTo + "1000 bytes", "SiblingConnectorUrl: " + upTo + "1000 bytes",
		"ConnectorUrl: " + aLink, "ManagementGroup: " + upTo + "256 bytes", "OverlapSeconds: 1 to 3600 seconds", "SettleSeconds: 0 to 3600 seconds",
		"FirstStart: open, now", "InitialLookback: 0 to 604800 seconds, that is 168h", "MaxBatchEvents: 1 to 10000",
		"ReconcileMinutes: 0 to 1440 minutes, that is 24h", "Filter: " + upTo + "8192 bytes",
		`Mapping: an object of at most 64 texts, such as {"class": "category"}`,
		"SeverityMap: an object of numbers from 0 to 5 for Closed, Error+High, Error+Low, Error+Normal, Information, Unknown, Warning",
		"CallbackActions: an object of numbers from 0 to 255", "SendRepeatCounts: " + boolean, "SendOwnChanges: " + boolean,
		"CloseUnhealthyMonitor: report, reset", "CloseWaitSeconds: 0 to 30 seconds", "CloseUnknownIds: accept, refuse",
		"OutboxMaxEntries: 1 to 1000000", "OutboxMaxMB: 1 to 1024", "HeartbeatSeconds: 0 for off, or 10 to 3600 seconds",
		"Failback: auto, manual", "FailbackDelay: 0" + aDay,
	}
	compareRows(t, rows("", new(Cluster).table()), want)
}

func compareRows(t *testing.T, got, want []string) {
	t.Helper()
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("the table has %q, which was not agreed on", g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("the table lacks %q", w)
		}
	}
}

// TestFieldsAreNamedAsTheKeys holds the Go structs to the files' words.
func TestFieldsAreNamedAsTheKeys(t *testing.T) {
	check := func(table []key, v any, derived ...string) {
		t.Helper()
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			f := typ.Field(i)
			_, known := find(table, f.Name)
			if f.IsExported() && !known && !slices.Contains(derived, f.Name) {
				t.Errorf("%s.%s is no key", typ, f.Name)
			}
		}
		for _, k := range table {
			if _, ok := typ.FieldByName(k.name); !ok {
				t.Errorf("%s has no field for the key %s", typ, k.name)
			}
		}
	}
	check(new(Node).table(), Node{}, "Path", "Dir", "Warnings")
	check(memberTable(new(cluster.Member)), cluster.Member{})
	check(new(Cluster).table(), Cluster{}, "Text", "Warnings")
	check(scomTable(new(ScomServer)), ScomServer{}, "Name")
	check(moogTable(new(MoogServer)), MoogServer{}, "Address", "Proxy", "Name")
}

func TestAFileWithNothingButTheNeedfulHasTheDefaults(t *testing.T) {
	c, faults := ParseCluster("f", []byte(goodCluster), Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := ClusterDefaults()
	want.ScomServers = []ScomServer{{
		ScomAddressHost: "scom1", Domain: "CONTOSO", UserId: "reader", Password: mustSecret(t, "env:SCOM"),
		Priority: 1, Url: "https://scom1/OperationsManager", Auth: "network", Name: "scom1",
	}}
	want.MoogServers = []MoogServer{{
		MoogUrl: "https://moog/events/scom", IsSslEnabled: true, Destination: "default",
		Address: "https://moog/events/scom", Name: "https://moog/events/scom",
	}}
	want.Text, want.secrets = c.Text, c.secrets
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got  %+v\nwant %+v", *c, want)
	}
	if got := c.MaxPayloadBytes(); got != 1<<20 {
		t.Errorf("the payload's cap is %d, want 1 MiB", got)
	}

	n, faults := ParseNode("f", []byte(goodNode), "/etc/sc")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	d := NodeDefaults()
	d.NodeID, d.Role, d.ListenAddress, d.ClusterAddress = "primary", cluster.Primary, "127.0.0.1:8085", "127.0.0.1:8086"
	d.DataDir, d.AdvertiseUrl, d.Path, d.Dir = filepath.Join("/etc/sc", "data"), "http://127.0.0.1:8085", "f", "/etc/sc"
	d.Members = []cluster.Member{
		{NodeID: "primary", Role: cluster.Primary, ClusterAddress: "127.0.0.1:8086"},
		{NodeID: "secondary", Role: cluster.Secondary, ClusterAddress: "127.0.0.1:8088"},
		{NodeID: "witness", Role: cluster.Witness, ClusterAddress: "127.0.0.1:8090"},
	}
	if !reflect.DeepEqual(*n, d) {
		t.Errorf("got  %+v\nwant %+v", *n, d)
	}
}

func mustSecret(t *testing.T, s string) Secret {
	t.Helper()
	sec, err := ParseSecret(s, "")
	if err != nil {
		t.Fatal(err)
	}
	return sec
}

// with is the good cluster file with more keys.
func with(keys string) string { return strings.TrimSuffix(goodCluster, "}") + keys + "\n}" }

func TestSpellingsOfValues(t *testing.T) {
	for _, c := range []struct {
		keys string
		got  func(*Cluster) any
		want any
	}{
		{`"AlertPollCycleTime": "30"`, func(c *Cluster) any { return c.AlertPollCycleTime }, 30 * time.Second},
		{`"AlertPollCycleTime": 1.5`, func(c *Cluster) any { return c.AlertPollCycleTime }, 1500 * time.Millisecond},
		{`"AlertPollCycleTime": "1m30s"`, func(c *Cluster) any { return c.AlertPollCycleTime }, 90 * time.Second},
		{`"AlertPollCycleTime": null`, func(c *Cluster) any { return c.AlertPollCycleTime }, 45 * time.Second},
		{`"InitialLookback": "48h",`, func(c *Cluster) any { return c.InitialLookback }, 48 * time.Hour},
		{`"InitialLookback": 3600`, func(c *Cluster) any { return c.InitialLookback }, time.Hour},
		{`"ReconcileMinutes": 5`, func(c *Cluster) any { return c.ReconcileMinutes }, 5 * time.Minute},
		{`"ReconcileMinutes": "90s"`, func(c *Cluster) any { return c.ReconcileMinutes }, 90 * time.Second},
		{`"AmountOfTimeouts": "-1"`, func(c *Cluster) any { return c.AmountOfTimeouts }, -1},
		{`"MaxPayloadSizeInMB": "10.0"`, func(c *Cluster) any { return c.MaxPayloadBytes() }, 10 << 20},
		{`"SendRepeatCounts": "False"`, func(c *Cluster) any { return c.SendRepeatCounts }, false},
		{`"FirstStart": "NOW"`, func(c *Cluster) any { return c.FirstStart }, "now"},
		{`"HeartbeatSeconds": 0`, func(c *Cluster) any { return c.HeartbeatSeconds }, time.Duration(0)},
		{`"ConnectorUrl": "http://vip:8085/"`, func(c *Cluster) any { return c.ConnectorUrl }, "http://vip:8085"},
		{`/* a */ "OverlapSeconds": 90, // b`, func(c *Cluster) any { return c.OverlapSeconds }, 90 * time.Second},
		{`"SeverityMap": {"Unknown": "4"}`, func(c *Cluster) any { return c.SeverityMap["Unknown"] }, 4},
		{`"CallbackActions": {"Mine": 100}`, func(c *Cluster) any { return c.CallbackActions["Mine"] + c.CallbackActions["Closed"] }, 355},
		{`"Mapping": {"class": "name", "custom_info.team": "owner"}`, func(c *Cluster) any { return c.Mapping["custom_info.team"] }, "owner"},
	} {
		got, faults := ParseCluster("f", []byte(with(c.keys)), Options{})
		if len(faults) > 0 {
			t.Errorf("%s: %v", c.keys, faults)
		} else if c.got(got) != c.want {
			t.Errorf("%s: got %v, want %v", c.keys, c.got(got), c.want)
		}
	}
}

func TestOneBoundBendsTheOthersDefault(t *testing.T) {
	for _, c := range []struct {
		keys         string
		lower, upper time.Duration
	}{
		{``, 10 * time.Second, 360 * time.Second},
		{`"LowerTimeoutBound": 600`, 600 * time.Second, 600 * time.Second},
		{`"UpperTimeoutBound": 3`, 3 * time.Second, 3 * time.Second},
		{`"LowerTimeoutBound": 1`, time.Second, 360 * time.Second},
	} {
		got, faults := ParseCluster("f", []byte(with(c.keys)), Options{})
		if len(faults) > 0 || got.LowerTimeoutBound != c.lower || got.UpperTimeoutBound != c.upper {
			t.Errorf("%q: got %v to %v (%v), want %v to %v", c.keys, got.LowerTimeoutBound, got.UpperTimeoutBound, faults, c.lower, c.upper)
		}
	}
	for keys, want := range map[string]time.Duration{
		``:                        2 * time.Second,
		`"AlertPollCycleTime": 1`: time.Second,
		`"MinPollCycleTime": 0.5`: 500 * time.Millisecond,
	} {
		got, faults := ParseCluster("f", []byte(with(keys)), Options{})
		if len(faults) > 0 || got.MinPollCycleTime != want {
			t.Errorf("%q: MinPollCycleTime is %v (%v), want %v", keys, got.MinPollCycleTime, faults, want)
		}
	}
}

const manyServers = `{
	"ScomServers": [
		{"ScomAddressHost": "late", "UserId": "u", "Password": "plain:x"},
		{"ScomAddressHost": "second:8443", "UserId": "u", "Password": "plain:x", "Priority": "2"},
		{"ScomAddressHost": "HTTP://First.Contoso.com:81", "UserId": "u", "Password": "plain:x", "Priority": 1},
		{"Url": "https://web/scom/", "UserId": "u", "Password": "plain:x", "ProxyUrl": "http://proxy:3128"},
	],
	"MoogServers": [
		{"MoogIp": "10.0.0.1", "MoogPort": 48003, "IsSslEnabled": false},
		{"MoogIp": "fe80::1", "MoogPort": "48003", "Destination": "dr", "PreviousName": "old"},
		{"MoogUrl": "https://moog/events/scom", "MoogIp": "ignored", "MoogAddressDisplay": "Moog", "IsProxyRequired": true,
			"MoogProxyIP": "proxy", "MoogProxyPort": "808"},
		{"MoogUrl": "", "MoogPort": "48003", "IsProxyRequired": true},
	],
}`

func TestServersAndTheirAddresses(t *testing.T) {
	c, faults := ParseCluster("f", []byte(manyServers), Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var scom []string
	for _, s := range c.ScomServers {
		scom = append(scom, s.Name+" "+s.Url)
	}
	want := []string{
		"First.Contoso.com:81 http://First.Contoso.com:81/OperationsManager", "second:8443 https://second:8443/OperationsManager",
		"late https://late/OperationsManager", "web https://web/scom",
	}
	if !slices.Equal(scom, want) {
		t.Errorf("got  %q\nwant %q", scom, want)
	}
	for i, s := range c.ScomServers {
		if s.Priority != i+1 {
			t.Errorf("%s has priority %d, want %d", s.Name, s.Priority, i+1)
		}
	}
	if got := c.FallbackManagementGroup(); got != "first.contoso.com" {
		t.Errorf("the fallback management group is %q", got)
	}
	if got, err := c.ScomServers[3].ProxyUrl.Resolve(); got != "http://proxy:3128" || err != nil {
		t.Errorf("the console's proxy is %q, %v", got, err)
	}
	var lams []string
	for _, d := range c.Destinations() {
		for _, m := range d.LAMs {
			lams = append(lams, strings.Join([]string{d.Name, d.PreviousName, m.Name, m.Address, m.Proxy}, "|"))
		}
	}
	want = []string{
		"default||http://10.0.0.1:48003/|http://10.0.0.1:48003/|", "default||Moog|https://moog/events/scom|proxy:808",
		"dr|old|https://[fe80::1]:48003/|https://[fe80::1]:48003/|",
	}
	if !slices.Equal(lams, want) {
		t.Errorf("got  %q\nwant %q", lams, want)
	}
	if got := len(c.Warnings); got != 3 { // two in the clear, one ignored
		t.Errorf("got %d warnings, want 3:\n%s", got, strings.Join(c.Warnings.Strings(), "\n"))
	}
}

func TestClusterName(t *testing.T) {
	for _, c := range []struct{ name, set, asked, want string }{
		{"conn", "MG1", "MG2", "conn"}, {"", "MG1", "MG2", "MG1"}, {"", "", "MG2", "MG2"}, {"", "", "", "primary"},
	} {
		if got := (&Cluster{ConnectorName: c.name, ManagementGroup: c.set}).ClusterName(c.asked, "primary"); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestAFileOfWindowsEditorsIsRead(t *testing.T) {
	text := "\xef\xbb\xbf" + strings.ReplaceAll(goodCluster, "\n", "\r\n") + " // the end"
	if _, faults := ParseCluster("f", []byte(text), Options{}); len(faults) > 0 {
		t.Error(faults)
	}
	broken := strings.Replace(text, "\"UserId\"", "\"Userid\"", 1)
	_, faults := ParseCluster("f", []byte(broken), Options{})
	if len(faults) == 0 || faults[0].Line != 3 {
		t.Errorf("got %v, want a fault on line 3", faults)
	}
}

func TestAdvertiseUrlIsDerived(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"DataDir"`, `"AdvertiseUrl": "http://vip:1/", "DataDir"`, "http://vip:1"},
		{`"127.0.0.1:8086"}`, `"127.0.0.1:8086", "Url": "http://me:8085/"}`, "http://me:8085"},
		{`"DataDir"`, `"Tls": {"CertFile": "a", "KeyFile": "b"}, "DataDir"`, "https://127.0.0.1:8085"},
	} {
		n, faults := ParseNode("f", []byte(strings.Replace(goodNode, c.old, c.new, 1)), "")
		if len(faults) > 0 || n.AdvertiseUrl != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.new, n.AdvertiseUrl, faults, c.want)
		}
	}
}

func TestWinAuthOverrideOnWindows(t *testing.T) {
	for _, c := range []struct{ scom, faults, warnings string }{
		{`"Password": ""`, "", ""},
		{`"Auth": "kerberos", "ServicePrincipalName": "HTTP/scom1"`, "", ""},
		{`"Auth": "windows", "UserId": "svc", "Password": "env:X"`, "", "f:2: ScomServers[0].UserId: is not used, since WinAuthOverride is true: the service's own account is"},
		{`"Auth": "network"`, "f:2: ScomServers[0].Auth: network needs a UserId with its Password, and WinAuthOverride is true (accepted: windows, kerberos)", ""},
	} {
		text := `{
	"ScomServers": [{"ScomAddressHost": "s", ` + c.scom + `}], "WinAuthOverride": true,
	"MoogServers": [{"MoogUrl": "https://m/"}]}`
		cfg, faults := ParseCluster("f", []byte(text), Options{GOOS: "windows"})
		var warnings []string
		for _, w := range cfg.Warnings {
			warnings = append(warnings, w.String())
		}
		if err := faults.Err(); len(faults) > 0 && err.Error() != c.faults || len(faults) == 0 && c.faults != "" || strings.Join(warnings, "; ") != c.warnings {
			t.Errorf("%s: got %v and %v", c.scom, err, warnings)
		}
		if c.faults == "" && cfg.ScomServers[0].Auth == "network" {
			t.Errorf("%s: network authentication", c.scom)
		}
	}
}

func TestNearestKeyForgivesTyping(t *testing.T) {
	names := []string{"AlertPollCycleTime", "MoogUrl", "MoogIp", "UserId", "Failback", "FailbackDelay"}
	for word, want := range map[string]string{
		"AlertPolCycleTime": "AlertPollCycleTime", "moogurl": "MoogUrl", "UesrId": "UserId", "FailbackDealy": "FailbackDelay", "MoogIP": "MoogIp",
		"MoogU": "MoogUrl", strings.Repeat("x", 10000): "", "Bogus": "", "Critical": "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest to %s: got %s, want %s", clip(word), got, want)
		}
	}
}
