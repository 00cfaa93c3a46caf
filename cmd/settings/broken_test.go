package settings

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

const goodNode = `{
	"NodeID": "primary",
	"Role": "Primary",
	"ListenAddress": "127.0.0.1:8085",
	"ClusterAddress": "127.0.0.1:8086",
	"DataDir": "data",
	"Members": [
		{"NodeID": "primary", "Role": "Primary", "ClusterAddress": "127.0.0.1:8086"},
		{"NodeID": "secondary", "Role": "Secondary", "ClusterAddress": "127.0.0.1:8088"},
		{"NodeID": "witness", "Role": "Witness", "ClusterAddress": "127.0.0.1:8090"},
	],
}`

const goodCluster = `{
	"ScomServers": [
		{"ScomAddressHost": "scom1", "Domain": "CONTOSO", "UserId": "reader", "Password": "env:SCOM"},
	],
	"MoogServers": [
		{"MoogUrl": "https://moog/events/scom"},
	],
}`

// broken is a good file with one or more lines exchanged or added.
type broken struct {
	old, new string // what to replace; "" adds new at the end, "all" makes it the whole file
	want     []string
}

func TestBrokenNodeFilesAreToldExactly(t *testing.T) {
	runBroken(t, goodNode, brokenNodes, func(text string) (Faults, Warnings) {
		n, faults := ParseNode("node.json", []byte(text), "/etc/sc")
		return faults, n.Warnings
	})
}

func TestOnlyWindowsHasAnEventLog(t *testing.T) {
	text := strings.TrimSuffix(goodNode, "}") + `"Log": {"EventLog": true} }`
	n, faults := ParseNode("node.json", []byte(text), "/etc/sc")
	told := len(n.Warnings) == 1 && strings.Contains(n.Warnings[0].String(), "Log.EventLog: only Windows has an event log")
	if len(faults) > 0 || told != (runtime.GOOS != "windows") {
		t.Errorf("got %v, %v", faults, n.Warnings)
	}
}

func TestBrokenClusterFilesAreToldExactly(t *testing.T) {
	runBroken(t, goodCluster, brokenClusters, func(text string) (Faults, Warnings) {
		c, faults := ParseCluster("SCC.json", []byte(text), Options{Dir: "/etc/sc", GOOS: "linux"})
		return faults, c.Warnings
	})
}

func runBroken(t *testing.T, good string, table []broken, parse func(string) (Faults, Warnings)) {
	t.Helper()
	if faults, warnings := parse(good); len(faults)+len(warnings) > 0 {
		t.Fatalf("the good file has faults or warnings:\n%v\n%v", faults, warnings)
	}
	for _, b := range table {
		text := strings.Replace(good, b.old, b.new, 1)
		switch b.old {
		case "":
			text = strings.TrimSuffix(good, "}") + "\t" + b.new + "\n}"
		case "all":
			text = b.new
		}
		if text == good {
			t.Fatalf("%q changes nothing", b.new)
		}
		faults, warnings := parse(text)
		var got []string
		for _, f := range faults {
			got = append(got, f.String())
		}
		for _, w := range warnings {
			got = append(got, "warning: "+w.String())
		}
		if !slices.Equal(got, b.want) {
			t.Errorf("%s\ngot:\n\t%s\nwant:\n\t%s", clip(b.new), strings.Join(got, "\n\t"), strings.Join(b.want, "\n\t"))
		}
	}
}

var brokenNodes = []broken{
	{"all", ``, []string{
		`node.json: the file is empty`,
	}},
	{"all", `[]`, []string{
		`node.json:1: the file must be one object: { ... }`,
	}},
	{"all", `{"NodeID": "a"`, []string{
		`node.json:1: is not JSON: the file ends too early: a bracket, a quotation mark or a comment is not closed`,
	}},
	{"all", "{\n\t\"NodeID\": a\n}", []string{
		`node.json:2: is not JSON, near column 12: is neither a number nor true, false or null: text goes in quotes`,
	}},
	{"all", "{\n\t\"DataDir\": \"C:\\data\"\n}", []string{
		`node.json:2: is not JSON, near column 13: the text in quotes is not valid JSON: a backslash is written \\, a quotation mark \"`,
	}},
	{"all", "{\"NodeID\": \"\xff\"}", []string{
		`node.json:1: there is a character that is not UTF-8: save the file as UTF-8`,
	}},
	{"all", "\xff\xfe{\x00}\x00", []string{
		`node.json: the file is UTF-16 text: save it as UTF-8`,
	}},
	{"all", "{}" + strings.Repeat(" ", MaxFileBytes), []string{
		`node.json: the file is larger than 60 KiB: shorten its comments`,
	}},
	{"all", "{}", []string{
		`node.json:1: NodeID: is missing (accepted: 1 to 64 of the characters A-Z a-z 0-9 . _ -)`,
		`node.json:1: Role: is missing (accepted: Primary, Secondary, Witness)`,
		`node.json:1: ListenAddress: is missing (accepted: HOST:PORT, such as 0.0.0.0:8085)`,
		`node.json:1: ClusterAddress: is missing (accepted: HOST:PORT, such as scomc1.contoso.com:8086)`,
		`node.json:1: DataDir: is missing (accepted: a path; a relative one starts at node.json's folder)`,
		`node.json:1: Members: is missing (accepted: a list of 1 to 3 objects: [ {...} ])`,
	}},
	{"", `"NodeId": "x",`, []string{
		`node.json:12: NodeId: unknown key; the nearest known key is NodeID`,
	}},
	{"", `"nodeid": "x",`, []string{
		`node.json:12: nodeid: unknown key; the nearest known key is NodeID`,
	}},
	{"", `"Meber": [],`, []string{
		`node.json:12: Meber: unknown key; the nearest known key is Members`,
	}},
	{"", `"NodeID": "again",`, []string{
		`node.json:12: NodeID: is given twice, first on line 2: remove one`,
	}},
	{"", `"AlertPollCycleTime": 45,`, []string{
		`node.json:12: AlertPollCycleTime: belongs in SCOMConnectorConfig.json, not in this file`,
	}},
	{`"NodeID": "primary",`, `"NodeID": "",`, []string{
		`node.json:2: NodeID: is empty (accepted: 1 to 64 of the characters A-Z a-z 0-9 . _ -)`,
	}},
	{`"NodeID": "primary",`, `"NodeID": null,`, []string{
		`node.json:1: NodeID: is missing (accepted: 1 to 64 of the characters A-Z a-z 0-9 . _ -)`,
	}},
	{`"NodeID": "primary",`, `"NodeID": 7,`, []string{
		`node.json:2: NodeID: must be text in quotes, not a number (accepted: 1 to 64 of the characters A-Z a-z 0-9 . _ -)`,
	}},
	{`"NodeID": "primary",`, `"NodeID": "my node",`, []string{
		`node.json:2: NodeID: "my node" cannot be used as a name (accepted: 1 to 64 of the characters A-Z a-z 0-9 . _ -)`,
	}},
	{`"NodeID": "primary",`, `"NodeID": "other",`, []string{
		`node.json:2: NodeID: no entry of Members has the NodeID "other"`,
	}},
	{`"Role": "Primary",`, `"Role": "Boss",`, []string{
		`node.json:3: Role: "Boss" is none of the possible words (accepted: Primary, Secondary, Witness)`,
	}},
	{`"Role": "Primary",`, `"Role": "Secondary",`, []string{
		`node.json:3: Role: is Secondary, but Members[0].Role says Primary`,
	}},
	{`"ListenAddress": "127.0.0.1:8085"`, `"ListenAddress": "8085"`, []string{
		`node.json:4: ListenAddress: "8085" is no address (accepted: HOST:PORT, such as 0.0.0.0:8085)`,
	}},
	{`"ListenAddress": "127.0.0.1:8085"`, `"ListenAddress": "127.0.0.1:70000"`, []string{
		`node.json:4: ListenAddress: "127.0.0.1:70000" is no address (accepted: HOST:PORT, such as 0.0.0.0:8085)`,
	}},
	{`"ListenAddress": "127.0.0.1:8085"`, `"ListenAddress": "127.0.0.1:8086"`, []string{
		`node.json:5: ClusterAddress: has the port of ListenAddress; the two need a port each`,
	}},
	{`"ClusterAddress": "127.0.0.1:8086",`, `"ClusterAddress": "127.0.0.1:9999",`, []string{
		`node.json:5: ClusterAddress: is 127.0.0.1:9999, but Members[0].ClusterAddress says 127.0.0.1:8086`,
	}},
	{`"ClusterAddress": "127.0.0.1:8086",`, `"ClusterAddress": "0.0.0.0:8086",`, []string{
		`node.json:5: ClusterAddress: is 0.0.0.0:8086, but Members[0].ClusterAddress says 127.0.0.1:8086`,
		`node.json:5: ClusterAddress: 0.0.0.0:8086 is no address that the other machines can call (accepted: the machine's own name or address)`,
	}},
	{`"ClusterAddress": "127.0.0.1:8086"}`, `"ClusterAddress": "10.0.0.1:8086"}`, []string{
		`node.json:5: ClusterAddress: is 127.0.0.1:8086, but Members[0].ClusterAddress says 10.0.0.1:8086`,
		`node.json:7: ClusterTls: several machines need CertFile, KeyFile and CaFile here, since they speak to each other over the network. scomconnector init makes them with the files, scomconnector cert ca and cert issue for files of your own`,
	}},
	{`"NodeID": "secondary"`, `"NodeID": "PRIMARY"`, []string{
		`node.json:9: Members[1].NodeID: "PRIMARY" is also that of Members[0]`,
	}},
	{`127.0.0.1:8088`, `127.0.0.1:8086`, []string{
		`node.json:9: Members[1].ClusterAddress: "127.0.0.1:8086" is also that of Members[0]`,
	}},
	{`"Role": "Secondary"`, `"Role": "Primary"`, []string{
		`node.json:7: Members: exactly one member must have the Role Primary, here 2 have it`,
	}},
	{`"Role": "Secondary"`, `"Role": "Witness"`, []string{
		`node.json:7: Members: at most one member can have the Role Witness, here 2 have it`,
	}},
	{`"Role": "Secondary"`, `"Rolle": "Secondary"`, []string{
		`node.json:9: Members[1].Rolle: unknown key; the nearest known key is Role (accepted: NodeID, Role, ClusterAddress, Url)`,
		`node.json:9: Members[1].Role: is missing (accepted: Primary, Secondary, Witness)`,
	}},
	{`{"NodeID": "secondary", "Role": "Secondary", "ClusterAddress": "127.0.0.1:8088"},`, ``, []string{
		`warning: node.json:7: Members: a witness beside one connector node makes it less safe, not safer: add a Secondary`,
	}},
	{`{"NodeID": "secondary", "Role": "Secondary", "ClusterAddress": "127.0.0.1:8088"},`, `7,`, []string{
		`node.json:9: Members[1]: must be an object, not a number (accepted: an object: { ... })`,
	}},
	{"", `"DataDirr": 1, "Timing": "slow",`, []string{
		`node.json:12: DataDirr: unknown key; the nearest known key is DataDir`,
		`node.json:12: Timing: "slow" is none of the possible words (accepted: lan, fast, relaxed)`,
	}},
	{`{"NodeID": "witness", "Role": "Witness", "ClusterAddress": "127.0.0.1:8090"},
	],`, `],
	"Timing": "fast",`, []string{
		`node.json:11: Timing: a pair without a witness must tell a slow partner from a lost one, for which fast leaves no time (accepted: lan, relaxed)`,
	}},
	{`{"NodeID": "witness", "Role": "Witness", "ClusterAddress": "127.0.0.1:8090"},
	],`, `],
	"PairTakeover": "claim",`, []string{
		`node.json:11: ClaimDir: PairTakeover claim needs a folder that both nodes reach`,
	}},
	{"", `"Coordination": "etcd",`, []string{
		`node.json:7: Members: with Coordination etcd there is nothing for a Witness to do: the etcd decides; take it out`,
		`node.json:12: Etcd.Endpoints: Coordination etcd needs the addresses of an etcd of yours, such as https://etcd1.contoso.com:2379`,
	}},
	{"", `"TakeoverAfter": 4,`, []string{
		`node.json:12: TakeoverAfter: 4 is too small (accepted: 5 to 3600 seconds)`,
	}},
	{"", `"TakeoverAfter": "2h",`, []string{
		`node.json:12: TakeoverAfter: 2h is too large (accepted: 5 to 3600 seconds)`,
	}},
	{"", `"Etcd": {"TTLSeconds": 61, "Password": "hunter2", "Endpoints": ["etcd1:2379"]},`, []string{
		`node.json:12: Etcd.TTLSeconds: 61 is too large (accepted: 3 to 60 seconds)`,
		`node.json:12: Etcd.Password: must say where the secret is kept, it must not be the secret itself. Encrypted text from the original connector cannot be read: type the password anew (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
		`node.json:12: Etcd.Endpoints[0]: is no web address (accepted: an address that begins with http:// or https://)`,
	}},
	{"", `"Tls": {"CertFile": "a.crt"},`, []string{
		`node.json:12: Tls: CertFile and KeyFile belong together: one of them is missing`,
	}},
	{"", `"Tls": {"RequireClientCert": true},`, []string{
		`node.json:12: Tls.RequireClientCert: needs CertFile, KeyFile and CaFile beside it`,
	}},
	{"", `"ClusterTls": {"CertFile": "a.crt"},`, []string{
		`node.json:12: ClusterTls: needs all of CertFile, KeyFile and CaFile, or none of them`,
	}},
	{"", `"Auth": {"OperatorToken": "x"},`, []string{
		`node.json:12: Auth.OperatorToken: unknown key; the nearest known key is OperatorTokenFile (accepted: OperatorTokenFile, CallbackTokenFile, ReadTokenFile)`,
	}},
	{"", `"Auth": "none",`, []string{
		`node.json:12: Auth: must be an object, not text (accepted: an object: { ... })`,
	}},
	{"", `"Log": {"Level": "LOUD", "Format": "xml", "MaxSizeMB": 0, "MaxBackups": "0"},`, []string{
		`node.json:12: Log.Level: "LOUD" is none of the possible words (accepted: OFF, FATAL, ERROR, WARN, INFO, DEBUG, ALL)`,
		`node.json:12: Log.Format: "xml" is none of the possible words (accepted: text, json)`,
		`node.json:12: Log.MaxSizeMB: 0 is too small (accepted: 1 to 1000)`,
		`node.json:12: Log.MaxBackups: 0 is too small (accepted: 1 to 100)`,
	}},
	{"", `"Log": {"EventLog": "yes"},`, []string{
		`node.json:12: Log.EventLog: is neither true nor false: "yes" (accepted: true, false)`,
	}},
	{"", `"AdvertiseUrl": "scomc1:8085",`, []string{
		`node.json:12: AdvertiseUrl: is no web address (accepted: an address that begins with http:// or https://)`,
	}},
	{"", `"AdvertiseUrl": "http://me:secret@scomc1:8085",`, []string{
		`node.json:12: AdvertiseUrl: has a user name or password in it, which may not stand there (accepted: an address that begins with http:// or https://)`,
	}},
	{`[
		{"NodeID": "primary", "Role": "Primary", "ClusterAddress": "127.0.0.1:8086"},
		{"NodeID": "secondary", "Role": "Secondary", "ClusterAddress": "127.0.0.1:8088"},
		{"NodeID": "witness", "Role": "Witness", "ClusterAddress": "127.0.0.1:8090"},
	]`, `{}`, []string{
		`node.json:7: Members: must be a list, not an object (accepted: a list of 1 to 3 objects: [ {...} ])`,
	}},
	{`[
		{"NodeID": "primary", "Role": "Primary", "ClusterAddress": "127.0.0.1:8086"},
		{"NodeID": "secondary", "Role": "Secondary", "ClusterAddress": "127.0.0.1:8088"},
		{"NodeID": "witness", "Role": "Witness", "ClusterAddress": "127.0.0.1:8090"},
	]`, `[]`, []string{
		`node.json:7: Members: has 0 entries (accepted: a list of 1 to 3 objects: [ {...} ])`,
	}},
}

var brokenClusters = []broken{
	{"all", `{"ScomServers": [], "MoogServers": []}`, []string{
		`SCC.json:1: ScomServers: has 0 entries (accepted: a list of 1 to 16 objects: [ {...} ])`,
		`SCC.json:1: MoogServers: has 0 entries (accepted: a list of 1 to 32 objects: [ {...} ])`,
	}},
	{"all", `{}`, []string{
		`SCC.json:1: ScomServers: is missing (accepted: a list of 1 to 16 objects: [ {...} ])`,
		`SCC.json:1: MoogServers: is missing (accepted: a list of 1 to 32 objects: [ {...} ])`,
	}},
	{`"ScomAddressHost": "scom1"`, `"SCOMAddressHost": "scom1"`, []string{
		`SCC.json:3: ScomServers[0].SCOMAddressHost: unknown key; the nearest known key is ScomAddressHost`,
		`SCC.json:3: ScomServers[0]: needs a ScomAddressHost or a Url`,
	}},
	{`"ScomAddressHost": "scom1"`, `"ScomAddressHost": ""`, []string{
		`SCC.json:3: ScomServers[0]: needs a ScomAddressHost or a Url`,
	}},
	{`"ScomAddressHost": "scom1"`, `"ScomAddressHost": "scom1/x y"`, []string{
		`SCC.json:3: ScomServers[0].ScomAddressHost: "scom1/x y" is no host (accepted: HOST or HOST:PORT; a whole address is for Url)`,
	}},
	{`"ScomAddressHost": "scom1"`, `"ScomAddressHost": "http://scom1"`, []string{
		`warning: SCC.json:3: ScomServers[0]: http://scom1/OperationsManager is not encrypted: the password crosses the network readable`,
	}},
	{`"ScomAddressHost": "scom1"`, `"ScomAddressHost": "scom1", "Url": "ftp://scom1"`, []string{
		`SCC.json:3: ScomServers[0].Url: is no web address (accepted: an address that begins with http:// or https://)`,
	}},
	{`"UserId": "reader"`, `"UserId": ""`, []string{
		`SCC.json:3: ScomServers[0].UserId: is empty: name the account that reads alerts`,
	}},
	{`"env:SCOM"`, `"5wZmZrCfMPH2PJ5/gQmFLg=="`, []string{
		`SCC.json:3: ScomServers[0].Password: must say where the secret is kept, it must not be the secret itself. Encrypted text from the original connector cannot be read: type the password anew (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"env:SCOM"`, `"env:"`, []string{
		`SCC.json:3: ScomServers[0].Password: names nothing after the colon (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"env:SCOM"`, `"sealed:abc"`, []string{
		`SCC.json:3: ScomServers[0].Password: is not a whole sealed secret: copy again, as one line, what scomconnector secret seal has printed (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"env:SCOM"`, `""`, []string{
		`SCC.json:3: ScomServers[0].Password: is empty (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"env:SCOM"`, `12345`, []string{
		`SCC.json:3: ScomServers[0].Password: must be text in quotes, not a number (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"CONTOSO"`, `"", "Auth": "kerberos"`, []string{
		`SCC.json:3: ScomServers[0].Domain: is empty: with Auth kerberos it is the realm, such as CONTOSO.COM`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "Auth": "kerberos", "KeytabFile": "scom.keytab", "LoginForm": "Windows"`, []string{
		`SCC.json:3: ScomServers[0].LoginForm: is used with Auth network only: take it out`,
		`SCC.json:3: ScomServers[0].KeytabFile: is given beside Password: keep one of them`,
	}},
	{`"env:SCOM"`, `"", "Auth": "kerberos"`, []string{
		`SCC.json:3: ScomServers[0].Password: is empty, and so is KeytabFile: give one of them (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"reader"`, `"svc@CONTOSO.COM", "Auth": "kerberos", "ServicePrincipalName": "scom1"`, []string{
		`SCC.json:3: ScomServers[0].ServicePrincipalName: "scom1" is no name of a service (accepted: SERVICE/HOST, such as HTTP/scom1.contoso.com)`,
		`SCC.json:3: ScomServers[0].UserId: "svc@CONTOSO.COM" has an @ or a \ in it: the realm stands in Domain (accepted: the account's name alone)`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "Auth": "windows", "KeytabFile": "a", "Krb5ConfFile": "b", "ServicePrincipalName": "HTTP/c"`, []string{
		`SCC.json:3: ScomServers[0].KeytabFile: is used with Auth kerberos only: take it out`,
		`SCC.json:3: ScomServers[0].Krb5ConfFile: is used with Auth kerberos only: take it out`,
		`SCC.json:3: ScomServers[0].ServicePrincipalName: is used with Auth kerberos only: take it out`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "Auth": "basic"`, []string{
		`SCC.json:3: ScomServers[0].Auth: "basic" is none of the possible words (accepted: network, windows, kerberos)`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "Priority": -1`, []string{
		`SCC.json:3: ScomServers[0].Priority: -1 is too small (accepted: 0 for last, or 1 to 1000)`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "Priority": 1.5`, []string{
		`SCC.json:3: ScomServers[0].Priority: 1.5 is not a whole number (accepted: 0 for last, or 1 to 1000)`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "LoginForm": "(Network):"`, []string{
		`SCC.json:3: ScomServers[0].LoginForm: has a colon in it (accepted: the text before the first colon, such as (Network))`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "ProxyUrl": "http://u:geheim@proxy:8080"`, []string{
		`SCC.json:3: ScomServers[0].ProxyUrl: has a user name or password in it, which may not stand there (accepted: http://HOST:PORT, or for one with a password a reference to the whole address: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"env:SCOM"`, `"env:SCOM", "InsecureSkipVerify": true`, []string{
		`warning: SCC.json:3: ScomServers[0].InsecureSkipVerify: the console's certificate is not checked: whoever sits between can read the password; set CaFile instead`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "moog/events/scom"`, []string{
		`SCC.json:6: MoogServers[0].MoogUrl: is no web address (accepted: an address that begins with http:// or https://)`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "http://moog/events/scom"`, []string{
		`warning: SCC.json:6: MoogServers[0]: http://moog/events/scom is not encrypted: alerts and token cross the network readable`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "", "MoogPort": "48003"`, []string{
		`SCC.json:5: MoogServers: none has an address: alerts could go nowhere`,
		`warning: SCC.json:6: MoogServers[0]: is ignored, since it has no address: set MoogUrl, or MoogIp and MoogPort`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogIp": "10.0.0.1", "MoogPort": "70000"`, []string{
		`SCC.json:6: MoogServers[0].MoogPort: 70000 is too large (accepted: "", or 1 to 65535)`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogIp": "moog one"`, []string{
		`SCC.json:6: MoogServers[0].MoogIp: "moog one" is no host (accepted: a host name or an IP address)`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "https://moog/", "IsProxyRequired": true`, []string{
		`SCC.json:6: MoogServers[0].IsProxyRequired: is true, but MoogProxyIP or MoogProxyPort is missing`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "https://moog/", "IsProxyRequired": true, "MoogProxyIP": "proxy", "MoogProxyPort": 808, "ProxyUsername": "u"`, []string{
		`SCC.json:6: MoogServers[0].ProxyPassword: is empty although there is a ProxyUsername (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "https://moog/", "Username": "u"`, []string{
		`SCC.json:6: MoogServers[0].Password: is empty although there is a Username (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "https://moog/", "ClientCertFile": "c.crt"`, []string{
		`SCC.json:6: MoogServers[0]: ClientCertFile and ClientKeyFile belong together: one of them is missing`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "https://moog/", "Destination": "a/b"`, []string{
		`SCC.json:6: MoogServers[0].Destination: "a/b" cannot be used as a name (accepted: 1 to 64 of the characters A-Z a-z 0-9 . _ -)`,
	}},
	{`"MoogUrl": "https://moog/events/scom"`, `"MoogUrl": "https://moog/", "PreviousName": "default"`, []string{
		`SCC.json:6: MoogServers[0].PreviousName: "default" is still the name of a destination: its position cannot be given away`,
	}},
	{`"MoogUrl": "https://moog/events/scom"},`, `"MoogUrl": "https://moog/"},
		{"MoogUrl": "https://moog/"},`, []string{
		`SCC.json:7: MoogServers[1]: has the address of MoogServers[0] in the same destination: remove one`,
	}},
	{`"MoogUrl": "https://moog/events/scom"},`, `"MoogUrl": "https://a/", "Destination": "a", "PreviousName": "x"},
		{"MoogUrl": "https://b/", "Destination": "b", "PreviousName": "x"},
		{"MoogUrl": "https://c/", "Destination": "b", "PreviousName": "y"},`, []string{
		`SCC.json:7: MoogServers[1].PreviousName: "x" is the previous name of destination "a", too`,
		`SCC.json:8: MoogServers[2].PreviousName: destination "b" has two previous names, "x" and "y"`,
	}},
	{"", `"AlertPollCycleTime": 0,`, []string{
		`SCC.json:8: AlertPollCycleTime: 0 is too small (accepted: 1 to 3600 seconds)`,
	}},
	{"", `"AlertPollCycleTime": "2h",`, []string{
		`SCC.json:8: AlertPollCycleTime: 2h is too large (accepted: 1 to 3600 seconds)`,
	}},
	{"", `"AlertPollCycleTime": "soon",`, []string{
		`SCC.json:8: AlertPollCycleTime: "soon" is not a number of seconds or text such as "90s", "5m" or "24h" (accepted: 1 to 3600 seconds)`,
	}},
	{"", `"AlertPollCycleTime": [45],`, []string{
		`SCC.json:8: AlertPollCycleTime: must be a number of seconds or text such as "90s", "5m" or "24h", not a list (accepted: 1 to 3600 seconds)`,
	}},
	{"", `"AlertPollCycleTime": 10, "MinPollCycleTime": 20,`, []string{
		`SCC.json:8: MinPollCycleTime: is longer than AlertPollCycleTime (accepted: 0.5 seconds to AlertPollCycleTime, here 10s)`,
	}},
	{"", `"MinPollCycleTime": 0.4,`, []string{
		`SCC.json:8: MinPollCycleTime: 0.4 is too small (accepted: 0.5 to 3600 seconds)`,
	}},
	{"", `"IsActiveEventPolling": true,`, []string{
		`SCC.json:8: IsActiveEventPolling: SCOM's REST interface has no events, only alerts (accepted: false)`,
	}},
	{"", `"IsActiveAlertPolling": false,`, []string{
		`warning: SCC.json:8: IsActiveAlertPolling: is false: no alert is read from SCOM`,
	}},
	{"", `"LowerTimeoutBound": 0.05, "UpperTimeoutBound": "25h",`, []string{
		`SCC.json:8: LowerTimeoutBound: 0.05 is too small (accepted: 0.1 to 86400 seconds, that is 24h)`,
		`SCC.json:8: UpperTimeoutBound: 25h is too large (accepted: 0.1 to 86400 seconds, that is 24h)`,
	}},
	{"", `"LowerTimeoutBound": 100, "UpperTimeoutBound": 50,`, []string{
		`SCC.json:8: LowerTimeoutBound: is longer than UpperTimeoutBound (accepted: 0.1 seconds to UpperTimeoutBound, here 50s)`,
	}},
	{"", `"AmountOfTimeouts": 0,`, []string{
		`SCC.json:8: AmountOfTimeouts: 0 is too small (accepted: -1 for no limit, or 1 to 1000000)`,
	}},
	{"", `"AmountOfTimeouts": -2,`, []string{
		`SCC.json:8: AmountOfTimeouts: -2 is too small (accepted: -1 for no limit, or 1 to 1000000)`,
	}},
	{"", `"MaxPollRetryAttempt": 0,`, []string{
		`SCC.json:8: MaxPollRetryAttempt: 0 is too small (accepted: 1 to 100)`,
	}},
	{"", `"OutageAlertAfter": 1,`, []string{
		`SCC.json:8: OutageAlertAfter: 1 is too small (accepted: 10 to 86400 seconds, that is 24h)`,
	}},
	{"", `"WinAuthOverride": true,`, []string{
		`SCC.json:8: WinAuthOverride: works only where the connector runs on Windows; give UserId and Password instead (accepted: false)`,
	}},
	{"", `"AuthTokenRequired": true,`, []string{
		`SCC.json:8: AuthTokenCode: is empty although AuthTokenRequired is true (accepted: env:NAME, file:PATH, sealed:..., plain:TEXT)`,
	}},
	{"", `"AuthTokenCode": "plain:x",`, []string{
		`warning: SCC.json:8: AuthTokenCode: is not sent, since AuthTokenRequired is false`,
	}},
	{"", `"AuthTokenRequired": 1,`, []string{
		`SCC.json:8: AuthTokenRequired: is neither true nor false: "1" (accepted: true, false)`,
	}},
	{"", `"MaxPayloadSizeInMB": 0.001,`, []string{
		`SCC.json:8: MaxPayloadSizeInMB: 0.001 is too small (accepted: 0.01 to 100)`,
	}},
	{"", `"MaxPayloadSizeInMB": "101",`, []string{
		`SCC.json:8: MaxPayloadSizeInMB: 101 is too large (accepted: 0.01 to 100)`,
	}},
	{"", `"PollCriteriaDateFormat": "MM/dd/yyyy HH:mm:ss",`, []string{
		`warning: SCC.json:8: PollCriteriaDateFormat: is kept but never used: questions to SCOM carry UTC in ISO form; should a console refuse that, set CriteriaDateForm to "space"`,
	}},
	{"", `"CriteriaDateForm": "us",`, []string{
		`SCC.json:8: CriteriaDateForm: "us" is none of the possible words (accepted: iso, space)`,
	}},
	{"", `"ConnectorUrl": "vip",`, []string{
		`SCC.json:8: ConnectorUrl: is no web address (accepted: an address that begins with http:// or https://)`,
	}},
	{"", `"OverlapSeconds": 0, "SettleSeconds": -1,`, []string{
		`SCC.json:8: OverlapSeconds: 0 is too small (accepted: 1 to 3600 seconds)`,
		`SCC.json:8: SettleSeconds: -1 is too small (accepted: 0 to 3600 seconds)`,
	}},
	{"", `"FirstStart": "never", "InitialLookback": "169h",`, []string{
		`SCC.json:8: FirstStart: "never" is none of the possible words (accepted: open, now)`,
		`SCC.json:8: InitialLookback: 169h is too large (accepted: 0 to 604800 seconds, that is 168h)`,
	}},
	{"", `"MaxBatchEvents": 0,`, []string{
		`SCC.json:8: MaxBatchEvents: 0 is too small (accepted: 1 to 10000)`,
	}},
	{"", `"ReconcileMinutes": 1441,`, []string{
		`SCC.json:8: ReconcileMinutes: 1441 is too large (accepted: 0 to 1440 minutes, that is 24h)`,
	}},
	{"", `"Filter": "severitty == 3",`, []string{
		`SCC.json:8: Filter: unknown field "severitty" (nearest: "severity")`,
	}},
	{"", `"Filter": "severity == ",`, []string{
		`SCC.json:8: Filter: unexpected token EOF (column 12)`,
	}},
	{"", `"Filter": "repeatCount + 1",`, []string{
		`SCC.json:8: Filter: expected bool, but got int`,
	}},
	{"", `"Mapping": {"sourcee": "host"},`, []string{
		`SCC.json:8: Mapping.sourcee: unknown event field "sourcee" (nearest: "source")`,
	}},
	{"", `"Mapping": {"source": "hostt"},`, []string{
		`SCC.json:8: Mapping.source: unknown field "hostt" (nearest: "host")`,
	}},
	{"", `"Mapping": {"source": 5},`, []string{
		`SCC.json:8: Mapping.source: must be text in quotes, not a number (accepted: text of at most 8192 bytes)`,
	}},
	{"", `"SeverityMap": {"Critical": 5},`, []string{
		`SCC.json:8: SeverityMap.Critical: unknown key, and none that is known is like it (accepted: Closed, Error+High, Error+Low, Error+Normal, Information, Unknown, Warning)`,
	}},
	{"", `"SeverityMap": {"Error+Low": 6},`, []string{
		`SCC.json:8: SeverityMap.Error+Low: 6 is too large (accepted: 0 to 5)`,
	}},
	{"", `"CallbackActions": {"Closed": 256},`, []string{
		`SCC.json:8: CallbackActions.Closed: 256 is too large (accepted: 0 to 255)`,
	}},
	{"", `"CallbackActions": [],`, []string{
		`SCC.json:8: CallbackActions: is no such object (accepted: an object of numbers from 0 to 255)`,
	}},
	{"", `"CloseUnhealthyMonitor": "close",`, []string{
		`SCC.json:8: CloseUnhealthyMonitor: "close" is none of the possible words (accepted: report, reset)`,
	}},
	{"", `"CloseWaitSeconds": 31, "CloseUnknownIds": "maybe",`, []string{
		`SCC.json:8: CloseWaitSeconds: 31 is too large (accepted: 0 to 30 seconds)`,
		`SCC.json:8: CloseUnknownIds: "maybe" is none of the possible words (accepted: accept, refuse)`,
	}},
	{"", `"OutboxMaxEntries": 0, "OutboxMaxMB": 0,`, []string{
		`SCC.json:8: OutboxMaxEntries: 0 is too small (accepted: 1 to 1000000)`,
		`SCC.json:8: OutboxMaxMB: 0 is too small (accepted: 1 to 1024)`,
	}},
	{"", `"HeartbeatSeconds": 5,`, []string{
		`SCC.json:8: HeartbeatSeconds: 5 is too small (accepted: 0 for off, or 10 to 3600 seconds)`,
	}},
	{"", `"Failback": "never", "FailbackDelay": "48h",`, []string{
		`SCC.json:8: Failback: "never" is none of the possible words (accepted: auto, manual)`,
		`SCC.json:8: FailbackDelay: 48h is too large (accepted: 0 to 86400 seconds, that is 24h)`,
	}},
	{"", `"DataDir": "x",`, []string{
		`SCC.json:8: DataDir: belongs in node.json, not in this file`,
	}},
	{"", `"FilterX": "",`, []string{
		`SCC.json:8: FilterX: unknown key; the nearest known key is Filter`,
	}},
}
