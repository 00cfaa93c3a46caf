package normalise

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"scomconnector/poller/alert"
)

func TestFilterDecides(t *testing.T) {
	for _, c := range []struct {
		filter string
		want   bool
	}{
		{"", true},
		{"  ", true},
		{`severity == "Error"`, true},
		{`severity != "Error"`, false},
		{`priority in ["High", "Normal"] and not inMaintenance`, true},
		{`host endsWith ".contoso.com" && repeatCount > 2`, true},
		{`name matches "(?i)heartbeat" and resolutionState < 255 and not closed`, true},
		{`customField1 == "" and customField10 == "ten"`, true},
		{`lastModified.Hour() == 3 and timeAdded < lastModified`, true},
		{`lower(owner) contains "alice" and id == "d3144ac9-4316-45ce-94b9-f50936219e24"`, true},
		{`any(split(path, "."), # == "SystemCenter")`, true},
		{`managementGroup == "CONTOSO-MG" and netbiosDomain == "CONTOSO" and ticketId startsWith "INC"`, true},
		{`let n = len(name); n > 1000`, false},
	} {
		cfg := settings()
		cfg.Filter = c.filter
		n := compile(t, cfg)
		a := typical()
		a.CustomFields[9] = "ten"
		if got := n.Wants(a); got != c.want {
			t.Errorf("%s: got %v, want %v", c.filter, got, c.want)
		}
		if n.Errors() != 0 {
			t.Errorf("%s: %v", c.filter, n.LastError())
		}
	}
}

func TestFilterThatFailsWantsTheAlertAndIsCounted(t *testing.T) {
	cfg := settings()
	cfg.Filter = `int(customField1) > 3`
	n := compile(t, cfg)
	if !n.Wants(typical()) {
		t.Error("not wanted; an alert was lost by a mistake in an expression")
	}
	if n.Errors() != 1 || n.LastError() == nil || !strings.HasPrefix(n.LastError().Error(), "Filter: ") {
		t.Errorf("got %d errors, the last %v", n.Errors(), n.LastError())
	}
	a := typical()
	a.CustomFields[0] = "2"
	if n.Wants(a) {
		t.Error("a filter that works must decide")
	}
}

func TestCompileNamesEveryFault(t *testing.T) {
	for _, c := range []struct{ key, filter, field, mapping, want string }{
		{"Filter", `sevrity == "Error"`, "", "", `unknown field "sevrity" (nearest: "severity")`},
		{"Filter", `Severity == "Error"`, "", "", `unknown field "Severity" (nearest: "severity")`},
		{"Filter", `severity`, "", "", `expected bool, but got string`},
		{"Filter", `severity == 2`, "", "", `invalid operation: == (mismatched types string and int) (column 10)`},
		{"Filter", `severity ==`, "", "", `unexpected token EOF (column 11)`},
		{"Filter", "closed or\n  severity <> 3", "", "", `(line 2, column 13)`},
		{"Filter", `lastModified > now()`, "", "", `now() is refused, since the same alert must always give the same event: use lastModified`},
		{"Filter", `any(1..10, any(1..10, true))`, "", "", `a loop within a loop is refused: one alert must not cost unbounded time`},
		{"Filter", strings.Repeat("closed or ", 500) + "closed", "", "", `expression has 5006 bytes (accepted: up to 4096)`},
		{"Filter", `event.source == "x"`, "", "", `unknown field "event" (nearest: "host")`},
		{"Mapping.sorce", "", "sorce", `host`, `unknown event field "sorce" (nearest: "source")`},
		{"Mapping.severity", "", "severity", `"high"`, `gives string, not a whole number: use int(...)`},
		{"Mapping.severity", "", "severity", `7`, `7 is no Moogsoft severity (accepted: 0-5)`},
		{"Mapping.source", "", "source", `repeatCount`, `gives int, not text: use string(...)`},
		{"Mapping.source", "", "source", ``, `empty expression: leave the field out to keep its default`},
		{"Mapping.custom_info.scom", "", "custom_info.scom", `host`, `is written by the connector itself`},
		{"Mapping.custom_info.a b", "", "custom_info.a b", `host`, `"a b" is no name for a field`},
		{"Mapping.custom_info.x", "", "custom_info.x", `split(name, " ")`, `gives []string (accepted: text, a number, true or false, a time)`},
		{"Mapping.class", "", "class", `event.sorce`, `has no field sorce`},
	} {
		cfg := settings()
		cfg.Filter = c.filter
		if c.field != "" {
			cfg.Mapping = map[string]string{c.field: c.mapping}
		}
		_, err := Compile(cfg)
		f, ok := errors.AsType[*Fault](err)
		if !ok || f.Key != c.key || !strings.Contains(f.Err.Error(), c.want) || strings.Contains(f.Error(), "\n") {
			t.Errorf("%.60s%s: got %v, want %s: %s", c.filter, c.mapping, err, c.key, c.want)
		}
	}
}

func TestCompileNamesAllFaultsAtOnce(t *testing.T) {
	cfg := settings()
	cfg.Filter = "nonsense"
	cfg.Mapping = map[string]string{"source": "1", "bogus": "host", "class": "host"}
	cfg.SeverityMap = map[string]int{"closed": 1, "Warning": 9, "Information": 2}
	_, err := Compile(cfg)
	var keys []string
	for _, f := range FaultsOf(err) {
		keys = append(keys, f.Key)
	}
	want := []string{"SeverityMap.Warning", "SeverityMap.closed", "Filter", "Mapping.bogus", "Mapping.source"}
	if !slices.Equal(keys, want) {
		t.Errorf("got %q, want %q", keys, want)
	}
}

func TestMapping(t *testing.T) {
	cfg := settings()
	cfg.Mapping = map[string]string{
		"signature": `"x::" + event.signature`, "external_id": `event.external_id`, "source": "lower(netbiosComputer)",
		"source_id": "objectName", "manager": `"SCOM2"`, "agent": `"SCOM"`, "agent_location": `managementGroup + "/eu"`,
		"class": `category == "" ? nil : category`, "type": `monitorName`, "severity": `event.severity + 1`,
		"description": `event.description + " (" + string(repeatCount) + ")"`, "agent_time": `event.agent_time - 5`,
		"custom_info.text": `owner`, "custom_info.number": `repeatCount * 2`, "custom_info.float": `repeatCount / 2`,
		"custom_info.yes": `isMonitorAlert`, "custom_info.time": `timeAdded`, "custom_info.none": `nil`, "custom_info.empty": `siteName`,
	}
	n := compile(t, cfg)
	text, err := n.Append(nil, typical())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "mapping", text)
	if n.Errors() != 0 {
		t.Error(n.LastError())
	}
}

func TestMappingThatFailsLeavesTheDefaultAndSaysSo(t *testing.T) {
	for _, c := range []struct{ field, mapping, why string }{
		{"severity", `int(customField1)`, "severity: invalid operation: int("},
		{"severity", `repeatCount * 2`, "severity: gave 6 (accepted: 0-5)"},
		{"severity", `[1, "x"][1]`, "severity: gave x (string), not a whole number"},
		{"agent_time", `-1`, "agent_time: gave -1, a time before 1970"},
		{"source", `[1, "x"][0]`, "source: gave 1 (int), not text"},
		{"signature", `customField3`, "signature: gave an empty text; alerts would be folded into one"},
		{"custom_info.x", `0.0 / 0`, "custom_info.x: gave NaN, which JSON cannot hold"},
		{"custom_info.x", `len(repeat(name, 100000))`, "custom_info.x: memory budget exceeded"},
	} {
		want := decode(t, compile(t, settings()), typical())
		cfg := settings()
		cfg.Mapping = map[string]string{c.field: c.mapping}
		n := compile(t, cfg)
		got := decode(t, n, typical())
		why, _ := scom(got)["mappingError"].(string)
		if !strings.HasPrefix(why, c.why) || n.Errors() != 1 {
			t.Errorf("%s = %s: mappingError is %q with %d errors, want %q", c.field, c.mapping, why, n.Errors(), c.why)
		}
		if got[c.field] != want[c.field] {
			t.Errorf("%s = %s: got %v, want the default %v", c.field, c.mapping, got[c.field], want[c.field])
		}
	}
}

func TestMappedSeverityNeverHidesAClose(t *testing.T) {
	cfg := settings()
	cfg.Mapping = map[string]string{"severity": `priority == "High" ? 5 : 4`}
	n := compile(t, cfg)
	a := typical()
	a.Severity = alert.Information
	if got := decode(t, n, a)["severity"]; got != 4.0 {
		t.Errorf("open: got %v, want the mapped 4", got)
	}
	a.ResolutionState = alert.StateClosed
	if got := decode(t, n, a)["severity"]; got != 0.0 {
		t.Errorf("closed: got %v, want 0", got)
	}
}

func TestMappedSignatureIsBounded(t *testing.T) {
	cfg := settings()
	cfg.Mapping = map[string]string{"signature": `repeat("é", 384) + name`}
	n := compile(t, cfg)
	a, b := typical(), typical()
	b.Name = "another"
	x, y := decode(t, n, a)["signature"].(string), decode(t, n, b)["signature"].(string)
	if len(x) > 767 || !strings.HasPrefix(x, "sha256:") || x == y {
		t.Errorf("got %q and %q", x, y)
	}
}

func TestMappedTextsAreShortenedToo(t *testing.T) {
	cfg := settings()
	cfg.Mapping = map[string]string{"custom_info.long": `repeat("ä", 5000)`, "agent_location": `repeat("l", 3000)`}
	cfg.MaxEventBytes = 2000
	n := compile(t, cfg)
	text, err := n.Append(nil, typical())
	if err != nil || len(text) > 2000 {
		t.Fatalf("got %d bytes, %v", len(text), err)
	}
	list, _ := scom(decode(t, n, typical()))["truncated"].([]any)
	if len(list) != 2 || list[0] != "agent_location" || list[1] != "custom_info.long" {
		t.Errorf("truncated says %v", list)
	}
}

// Every field of an alert that doc.go promises must be there; renaming one breaks settings.
func TestFieldNamesAreAPromise(t *testing.T) {
	want := strings.Fields(`alertSource category closed customField1 customField10 customField2 customField3 customField4
		customField5 customField6 customField7 customField8 customField9 description displayName host id inMaintenance
		isMonitorAlert lastModified lastModifiedBy managementGroup monitorName name netbiosComputer netbiosDomain objectId
		objectName owner path principalName priority repeatCount resolutionState resolvedBy severity siteName ticketId timeAdded`)
	if got := FieldNames(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`severity == "Error"`, `any(split(name, " "), # == "x")`, `let x = 1; x > 0`, `$env`, `1..1000000 == []`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		cfg := settings()
		cfg.Filter = filter
		n, err := Compile(cfg)
		if err != nil {
			if len(FaultsOf(err)) != 1 {
				t.Errorf("got %v, want one fault", err)
			}
			return
		}
		if !n.Wants(&alert.Alert{}) && n.Errors() > 0 {
			t.Error("a filter that fails must want the alert")
		}
	})
}
