package normalise

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"scomconnector/poller/alert"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// settings are those of the goldens.
func settings() Config {
	return Config{
		ManagementGroup: "CONTOSO-MG", Cluster: "scomconnector1",
		ConnectorAddress: "http://scomc1.contoso.com:8085", Node: "primary",
	}
}

func compile(t testing.TB, cfg Config) *Normaliser {
	t.Helper()
	n, err := Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var guid = alert.ID{0xd3, 0x14, 0x4a, 0xc9, 0x43, 0x16, 0x45, 0xce, 0x94, 0xb9, 0xf5, 0x09, 0x36, 0x21, 0x9e, 0x24}

// typical is an alert of an agent, with about as much text as most have.
func typical() *alert.Alert {
	return &alert.Alert{
		ID: guid, LastModified: time.Date(2026, 1, 2, 3, 4, 5, 123_000_000, time.UTC),
		Severity: alert.Error, Priority: alert.Normal, RepeatCount: 3, IsMonitorAlert: true,
		Name:        "Health Service Heartbeat Failure",
		Description: "The System Center Management Health Service on computer srv01.contoso.com failed to heartbeat.",
		Category:    "StateCollection", Owner: "CONTOSO\\alice", TicketID: "INC0012345",
		ObjectID: "1f3c8a52-7d0e-4b5c-9c55-0a1b2c3d4e5f", ObjectName: "srv01.contoso.com",
		ObjectDisplayName: "srv01.contoso.com", ObjectPath: "Microsoft.SystemCenter.AgentWatchersGroup",
		NetbiosComputer: "SRV01", NetbiosDomain: "CONTOSO", PrincipalName: "srv01.contoso.com",
		MonitorName: "Health Service Heartbeat", TimeAdded: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC),
	}
}

// nasty are the goldens' alerts, by file name.
func nasty() map[string]*alert.Alert {
	with := func(change func(a *alert.Alert)) *alert.Alert {
		a := typical()
		change(a)
		return a
	}
	return map[string]*alert.Alert{
		"typical": typical(),
		"empty":   {},
		"only-id": {ID: guid},
		"closed":  with(func(a *alert.Alert) { a.ResolutionState = alert.StateClosed }),
		"custom-state-in-maintenance": with(func(a *alert.Alert) {
			a.ResolutionState, a.InMaintenance, a.Owner, a.TicketID = 42, true, "", ""
		}),
		"name-only":        with(func(a *alert.Alert) { a.Description = "" }),
		"description-only": with(func(a *alert.Alert) { a.Name = "" }),
		"control-characters": with(func(a *alert.Alert) {
			a.Name = "tab\there \x00nul \x1bescape \x7fdel"
			a.Description = "line one\r\nline two\nquote \" backslash \\ slash / \u2028 \u2029 end"
		}),
		"invalid-utf8": with(func(a *alert.Alert) {
			a.Name, a.Description, a.Owner = "caf\xe9", "\xff\xfe half a rune: \xe2\x82", "\xed\xa0\x80 surrogate"
		}),
		"emoji-and-scripts": with(func(a *alert.Alert) {
			a.Name, a.Description = "🔥 Festplatte voll – Größe überschritten", "磁盘空间不足 القرص ممتلئ 👩‍👩‍👧 \u200b\ufeff"
		}),
		"html": with(func(a *alert.Alert) {
			a.Name, a.Description = `<script>alert("x")</script>`, `</textarea>&amp;<img src=x onerror='1'>`
		}),
		"sql-database": with(func(a *alert.Alert) {
			a.PrincipalName, a.NetbiosComputer, a.NetbiosDomain = "", "", ""
			a.ObjectDisplayName, a.ObjectName, a.ObjectPath = "master", "master", `SQL01.contoso.com\MSSQLSERVER`
		}),
		"cluster-group": with(func(a *alert.Alert) {
			a.PrincipalName, a.NetbiosComputer = "", ""
			a.ObjectDisplayName, a.ObjectName, a.ObjectPath = "Cluster Group", "Cluster Group", "SQLCLU01;Cluster Group"
		}),
		"resource-pool": with(func(a *alert.Alert) {
			a.PrincipalName, a.NetbiosComputer, a.ObjectPath = "", "", ""
			a.ObjectDisplayName, a.ObjectName = "All Management Servers Resource Pool", "Microsoft.SystemCenter.AllManagementServersPool"
		}),
		"far-future":  with(func(a *alert.Alert) { a.LastModified = time.Date(9999, 12, 31, 23, 59, 59, 996_666_700, time.UTC) }),
		"before-1970": with(func(a *alert.Alert) { a.LastModified = time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC) }),
		"other-zone": with(func(a *alert.Alert) {
			a.LastModified = time.Date(2026, 7, 1, 1, 30, 0, 7_000_000, time.FixedZone("CEST", 7200))
		}),
		"bad-numbers": with(func(a *alert.Alert) {
			a.Severity, a.Priority, a.RepeatCount = 200, -100, -1<<63
		}),
		"2000-wide-characters": with(func(a *alert.Alert) { a.Description = strings.Repeat("漢", 2000) }),
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatalf("%s is no JSON: %v\n%s", name, err, got)
	}
	pretty.WriteByte('\n')
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, pretty.Bytes(), want)
	}
}

func TestPayloadOfEveryNastyAlert(t *testing.T) {
	n := compile(t, settings())
	for name, a := range nasty() {
		t.Run(name, func(t *testing.T) {
			got, err := n.Append(nil, a)
			if err != nil {
				t.Fatal(err)
			}
			if !utf8.Valid(got) {
				t.Errorf("not UTF-8: %q", got)
			}
			golden(t, name, got)
		})
	}
}

func TestPayloadOfOwnEvents(t *testing.T) {
	n := compile(t, settings())
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, o := range map[string]alert.Own{
		"own-heartbeat": {Kind: "heartbeat", Class: "heartbeat", Description: "scomconnector is working", At: at},
		"own-outage":    {Kind: "scom-outage", Class: "connector", Severity: 5, Description: "no console answers: \"503\"\n", At: at},
	} {
		got, err := n.AppendOwn(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}
}

func TestAppendKeepsWhatIsBefore(t *testing.T) {
	n := compile(t, settings())
	got, err := n.Append([]byte("before"), typical())
	if err != nil || !strings.HasPrefix(string(got), `before{"signature":"CONTOSO-MG::d3144ac9-4316-45ce-94b9-f50936219e24","external_id":`) {
		t.Errorf("got %.120q, %v", got, err)
	}
	small := settings()
	small.MaxEventBytes = 100
	got, err = compile(t, small).Append([]byte("before"), typical())
	if err == nil || string(got) != "before" {
		t.Errorf("an event that cannot fit: got %q, %v, want the buffer as it was and an error", got, err)
	}
}

func TestSeverityTable(t *testing.T) {
	custom := settings()
	custom.SeverityMap = map[string]int{"Error+Low": 5, "Information": 0, "Unknown": 1, "Closed": 1}
	for _, c := range []struct {
		severity  alert.Severity
		priority  alert.Priority
		state     uint8
		want, own int
	}{
		{alert.Information, alert.Low, 0, 1, 0}, {alert.Information, alert.Normal, 0, 1, 0}, {alert.Information, alert.High, 249, 1, 0},
		{alert.Warning, alert.Low, 0, 2, 2}, {alert.Warning, alert.Normal, 254, 2, 2}, {alert.Warning, alert.High, 0, 2, 2},
		{alert.Error, alert.Low, 0, 3, 5}, {alert.Error, alert.Normal, 0, 4, 4}, {alert.Error, alert.High, 42, 5, 5},
		{alert.SeverityUnknown, alert.Low, 0, 3, 1}, {alert.SeverityUnknown, alert.Normal, 0, 3, 1}, {alert.SeverityUnknown, alert.High, 0, 3, 1},
		{alert.Information, alert.Normal, 255, 0, 1}, {alert.Error, alert.High, 255, 0, 1}, {alert.SeverityUnknown, alert.Low, 255, 0, 1},
	} {
		a := &alert.Alert{Severity: c.severity, Priority: c.priority, ResolutionState: c.state}
		for _, try := range []struct {
			cfg  Config
			want int
		}{{settings(), c.want}, {custom, c.own}} {
			if got := decode(t, compile(t, try.cfg), a)["severity"]; got != float64(try.want) {
				t.Errorf("%v, %v, state %d with %v: got %v, want %d", c.severity, c.priority, c.state, try.cfg.SeverityMap, got, try.want)
			}
		}
	}
}

func decode(t testing.TB, n *Normaliser, a *alert.Alert) map[string]any {
	t.Helper()
	text, err := n.Append(nil, a)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

// scom is custom_info.scom of an event.
func scom(m map[string]any) map[string]any {
	return m["custom_info"].(map[string]any)["scom"].(map[string]any)
}

func TestTimesAreUTCAndUnrounded(t *testing.T) {
	for _, c := range []struct {
		nanoseconds int
		want        string
	}{
		{0, "05.000Z"}, {120_000_000, "05.120Z"}, {123_000_000, "05.123Z"}, {123_400_000, "05.1234Z"}, {123_456_789, "05.123456789Z"},
		{333_333_300, "05.3333333Z"}, {100, "05.0000001Z"}, {999_999_999, "05.999999999Z"}, {1_000_001, "05.001000001Z"},
	} {
		at := time.Date(2026, 1, 2, 3, 4, 5, c.nanoseconds, time.UTC)
		want := `"2026-01-02T03:04:` + c.want + `"`
		if got := string(appendTime(nil, at)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestSignaturesFitTheirColumn(t *testing.T) {
	for _, size := range []int{1, 728, 729, 730, 5000} {
		cfg := settings()
		cfg.ManagementGroup = strings.Repeat("M", size)
		n := compile(t, cfg)
		got := decode(t, n, typical())["signature"].(string)
		if len(got) > 767 || !strings.HasSuffix(got, "::"+guid.String()) {
			t.Errorf("management group of %d bytes: signature %.80s... has %d bytes", size, got, len(got))
		}
		if plain := strings.HasPrefix(got, cfg.ManagementGroup+"::"); plain != (size <= 729) {
			t.Errorf("management group of %d bytes: plain is %v", size, plain)
		}
	}
	a, b := settings(), settings()
	a.ManagementGroup, b.ManagementGroup = strings.Repeat("M", 800)+"a", strings.Repeat("M", 800)+"b"
	if decode(t, compile(t, a), typical())["signature"] == decode(t, compile(t, b), typical())["signature"] {
		t.Error("two management groups have one signature")
	}
}

func TestEventsAreShortenedLongestFirst(t *testing.T) {
	a := typical()
	a.Description = strings.Repeat("ü\"", 5000)
	a.ObjectPath = strings.Repeat("p", 3000)
	whole := len(mustAppend(t, settings(), a))
	for _, c := range []struct {
		max  int
		want string
	}{
		{whole, ""},
		{whole - 1, "[description]"},
		{whole - 10000, "[description]"},
		{3000, "[description path]"},
		{1400, "[description path]"},
	} {
		cfg := settings()
		cfg.MaxEventBytes = c.max
		n := compile(t, cfg)
		text, err := n.Append(nil, a)
		if err != nil {
			t.Errorf("max %d: %v", c.max, err)
			continue
		}
		if len(text) > c.max || c.max-len(text) > 40 {
			t.Errorf("max %d: got %d bytes, want as many as fit", c.max, len(text))
		}
		m := decode(t, n, a)
		got := ""
		if list, ok := scom(m)["truncated"]; ok {
			got = fmt.Sprint(list)
		}
		if got != c.want {
			t.Errorf("max %d: truncated says %s, want %s", c.max, got, c.want)
		}
		if d := m["description"].(string); got != "" && !strings.HasSuffix(d, "…") || strings.ContainsRune(d, utf8.RuneError) {
			t.Errorf("max %d: the description ends with %q", c.max, d[max(0, len(d)-10):])
		}
		if m["external_id"] != guid.String() || m["source"] != "srv01.contoso.com" {
			t.Errorf("max %d: identity was touched: %v %v", c.max, m["external_id"], m["source"])
		}
	}
}

func mustAppend(t testing.TB, cfg Config, a *alert.Alert) []byte {
	t.Helper()
	text, err := compile(t, cfg).Append(nil, a)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOwnEventsAreShortenedToo(t *testing.T) {
	cfg := settings()
	cfg.MaxEventBytes = 600
	n := compile(t, cfg)
	got, err := n.AppendOwn(nil, alert.Own{Kind: "scom-outage", Class: "connector", Severity: 99, Description: strings.Repeat("x", 5000)})
	if err != nil || len(got) > 600 || !json.Valid(got) {
		t.Fatalf("got %d bytes, %v: %s", len(got), err, got)
	}
	if !strings.Contains(string(got), `"scom":{"truncated":["description"]}`) || !strings.Contains(string(got), `"severity":5,`) {
		t.Errorf("got %s, want it marked and the severity within 0-5", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	cfg := settings()
	cfg.Filter, cfg.Mapping = `severity == "Error"`, map[string]string{"source": "upper(host)", "custom_info.n": "repeatCount"}
	n := compile(t, cfg)
	want := mustAppend(t, cfg, typical())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a := typical()
			for range 200 {
				got, err := n.Append(nil, a)
				if err != nil || !bytes.Equal(got, want) || !n.Wants(a) {
					t.Errorf("got %s, %v, want %s", got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzAppend(f *testing.F) {
	for _, a := range nasty() {
		f.Add(a.Name, a.Description, a.ObjectPath, a.PrincipalName, a.Owner, a.LastModified.Unix(), uint8(a.Severity), 2000)
	}
	mapping := map[string]string{"custom_info.x": "description + name", "class": "path", "severity": "len(name)"}
	f.Fuzz(func(t *testing.T, name, desc, path, principal, owner string, at int64, severity uint8, limit int) {
		a := &alert.Alert{
			ID: guid, Name: name, Description: desc, ObjectPath: path, PrincipalName: principal, Owner: owner,
			LastModified: time.Unix(at%1e12, at%1e9).UTC(), Severity: alert.Severity(severity), ObjectDisplayName: owner,
		}
		for _, mapped := range []map[string]string{nil, mapping} {
			cfg := settings()
			cfg.Mapping, cfg.MaxEventBytes = mapped, 1500+limit&0xFFFF
			text, err := compile(t, cfg).Append(nil, a)
			if err != nil {
				t.Fatalf("%d bytes must do: %v", cfg.MaxEventBytes, err)
			}
			if len(text) > cfg.MaxEventBytes || !utf8.Valid(text) || !json.Valid(text) {
				t.Fatalf("got %d bytes of at most %d: %q", len(text), cfg.MaxEventBytes, text)
			}
			var back struct {
				Description string `json:"description"`
				Source      string `json:"source"`
				Custom      struct {
					SCOM struct {
						Truncated []string `json:"truncated"`
					} `json:"scom"`
				} `json:"custom_info"`
			}
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			if back.Source == "" && len(back.Custom.SCOM.Truncated) == 0 {
				t.Fatalf("no source: %s", text)
			}
			if want := strings.ToValidUTF8(desc, ""); len(back.Custom.SCOM.Truncated) == 0 && desc == want && !strings.HasSuffix(back.Description, desc) {
				t.Fatalf("description is %q, want it to end with %q", back.Description, desc)
			}
		}
	})
}

func benchmark(b *testing.B, cfg Config) {
	n := compile(b, cfg)
	a := typical()
	buf := make([]byte, 0, 4096)
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if !n.Wants(a) {
			b.Fatal("not wanted")
		}
		if buf, err = n.Append(buf[:0], a); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkAppend(b *testing.B) { benchmark(b, settings()) }

func BenchmarkAppendWithFilterAndMapping(b *testing.B) {
	cfg := settings()
	cfg.Filter = `not inMaintenance and (severity == "Error" or name contains "Backup")`
	cfg.Mapping = map[string]string{"source": "lower(host)", "custom_info.team": `customField1 != "" ? customField1 : "ops"`}
	benchmark(b, cfg)
}
