package test

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// canaries are secrets of every kind that the two files know, by where they stand. None may be seen anywhere but where it is needed.
var canaries = map[string]string{
	"ScomServers[0].Password":         "canaryScomPlain",
	"ScomServers[1].Password, sealed": "canaryScomSealed",
	"ScomServers[1].ProxyUrl":         "canaryScomProxy",
	"ScomServers[2].Password, file":   "canaryScomFile",
	"ScomServers[3].Password, env":    "canaryScomEnv",
	"AuthTokenCode":                   "canaryAuthToken",
	"MoogServers[0].Password":         "canaryLamPassword",
	"MoogServers[1].ProxyPassword":    "canaryLamProxy",
	"Etcd.Password":                   "canaryEtcd",
	"a comment":                       "canaryComment",
	"OperatorTokenFile":               "canaryOperatorToken",
	"CallbackTokenFile":               "canaryCallbackToken",
	"ReadTokenFile":                   "canaryReadToken",
	"a password that is applied":      "canaryApplied",
	"a password where none may be":    "canaryMisplaced",
	"a password of the original":      "canaryOriginal",
}

// aviary is a plant with a canary wherever a secret can be, and all that was ever shown by it.
type aviary struct {
	*plant
	node *process
	seen map[string]string // by where
}

func newAviary(t *testing.T) *aviary {
	p := newPlant(t, plantOptions{
		scom: scomtest.Options{Accounts: []scomtest.Account{{User: `CONTOSO\svc-moogsoft`, Password: canaries["ScomServers[0].Password"], Role: "Operator"}}},
		lam:  publishertest.Options{Token: canaries["AuthTokenCode"], User: "moog", Password: canaries["MoogServers[0].Password"]},
		node: `"Timing": "fast", "Log": {"Level": "ALL"}, "Etcd": {"User": "etcd-user", "Password": "plain:` + canaries["Etcd.Password"] + `"},
			"Auth": {"OperatorTokenFile": "operator", "CallbackTokenFile": "callback", "ReadTokenFile": "read"},`,
	})
	a := &aviary{plant: p, node: p.procs[0], seen: map[string]string{}}
	put := func(name, text string) { p.put(filepath.Join(a.node.dir, name), text) }
	put("operator", canaries["OperatorTokenFile"])
	put("callback", canaries["CallbackTokenFile"])
	put("read", canaries["ReadTokenFile"])
	put("scom-file", canaries["ScomServers[2].Password, file"])
	put("plain", canaries["ScomServers[1].Password, sealed"])
	a.tool("secret", "keygen", "--node", a.file("node.json"))
	old := string(p.read(a.file("SCOMConnectorConfig.json")))
	lam := regexp.MustCompile(`"MoogUrl": "([^"]+)"`).FindStringSubmatch(old)[1]
	scom := regexp.MustCompile(`"Url": "([^"]+)"`).FindStringSubmatch(old)[1]
	put("SCOMConnectorConfig.json", fmt.Sprintf(`{
	// was: "Password": "plain:%s"
	"ScomServers": [
		{"ScomAddressHost": "sim", "Url": %q, "Domain": "CONTOSO", "UserId": "svc-moogsoft", "Password": "plain:%s", "Priority": 1},
		{"ScomAddressHost": "two", "Url": "http://127.0.0.1:1/OperationsManager", "Domain": "CONTOSO", "UserId": "svc-moogsoft", "Password": %q, "ProxyUrl": "plain:http://proxy:%s@127.0.0.1:1", "Priority": 2},
		{"ScomAddressHost": "three", "Url": %[2]q, "Domain": "CONTOSO", "UserId": "svc-other", "Password": "file:scom-file", "Priority": 3},
		{"ScomAddressHost": "four", "Url": "http://127.0.0.1:1/OperationsManager", "Domain": "CONTOSO", "UserId": "svc-other", "Password": "env:CANARY_SCOM", "Priority": 4},
	],
	"MoogServers": [
		{"MoogUrl": %[6]q, "Username": "moog", "Password": "plain:%[7]s"},
		{"MoogUrl": "http://127.0.0.1:1/events/scom", "Destination": "second", "IsProxyRequired": true, "MoogProxyIP": "127.0.0.1", "MoogProxyPort": 1, "ProxyUsername": "proxy", "ProxyPassword": "plain:%[8]s"},
	],
	"AuthTokenRequired": true, "AuthTokenCode": "plain:%[9]s",
	"MinPollCycleTime": 0.5, "LowerTimeoutBound": 0.5, "UpperTimeoutBound": 1, "MaxPollRetryAttempt": 1, "ConnectorName": "test",
}`, canaries["a comment"], scom, canaries["ScomServers[0].Password"], a.seal("plain"), canaries["ScomServers[1].ProxyUrl"], lam,
		canaries["MoogServers[0].Password"], canaries["MoogServers[1].ProxyPassword"], canaries["AuthTokenCode"]))
	return a
}

func (a *aviary) file(name string) string { return filepath.Join(a.node.dir, name) }

// seal has the program seal what is in a file.
func (a *aviary) seal(name string) string {
	a.t.Helper()
	bin, err := binary()
	if err != nil {
		a.t.Fatal(err)
	}
	in, err := os.Open(a.file(name))
	if err != nil {
		a.t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.Command(bin, "secret", "seal", "--node", a.file("node.json"))
	cmd.Stdin = in
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.t.Fatalf("seal: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// run runs a command whatever comes of it, and remembers what it says.
func (a *aviary) run(args ...string) string {
	_, out := scomconnector(a.t.(*testing.T), []string{"CANARY_SCOM=" + canaries["ScomServers[3].Password, env"]}, args...)
	a.seen["scomconnector "+strings.Join(args, " ")] += out
	return out
}

// operate is run against the node, with the operator's token.
func (a *aviary) operate(args ...string) string {
	return a.run(append(args, "--url", a.node.url, "--token-file", a.file("operator"))...)
}

// ask sends a request and remembers the answer, head and all.
func (a *aviary) ask(method, path, body string, head ...string) int {
	a.t.Helper()
	req, err := http.NewRequest(method, a.node.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body) // what follows events ends with the client's patience
	a.seen[method+" "+path] += fmt.Sprint(resp.Status, resp.Header, string(text))
	return resp.StatusCode
}

// ways are the forms in which a canary may show: as it is, for an address, or in base64 at any of its three places.
func ways(canary string) []string {
	all := []string{canary, url.QueryEscape(canary)}
	for i := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i) + canary + "xxx"))
		all = append(all, text[4:len(text)-8]) // without what its neighbours have a part in
	}
	return all
}

// Canaries stand in every place of both files where a secret can be, in what is applied and misplaced, and in the tokens. The log at its
// most talkative, the pages, the API, the metrics, the commands, the errors of servers that are away, refuse, or repeat what they
// were sent, and the stack of a crash show none of them.
func TestNoSecretIsEverShown(t *testing.T) {
	t.Parallel()
	a := newAviary(t)
	p := a.plant
	a.run("check", "--node", a.file("node.json"))
	p.put(a.file("original.json"), `{"ScomServers": [{"ScomAddressHost": "s", "UserId": "u", "Password": "canaryOriginal"}], "MoogServers": [{"MoogUrl": "https://m/e", "ProxyPassword": "canaryOriginal"}]}`)
	a.run("config", "import", a.file("original.json"))
	a.run("init", "--primary", "h", "--import", a.file("original.json"), "--out", p.path("made"))

	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "run", "--node", a.file("node.json"))
	cmd.Env = append(os.Environ(), "CANARY_SCOM="+canaries["ScomServers[3].Password, env"], "GOTRACEBACK=all")
	a.node.begin(cmd)
	await(t, "it leads", 60*time.Second, a.node.leads)
	raiseOf741(p.group, 5)
	p.awaitAll(60 * time.Second)

	a.breakEverything(t)
	a.lookEverywhere(t)
	a.doWrong(t)
	a.node.cmd.Process.Signal(syscall.SIGQUIT) // it crashes, with all stacks
	_, log := a.node.exit(20 * time.Second)
	if !strings.Contains(log, "goroutine ") || !strings.Contains(log, "[DEBUG]") {
		t.Errorf("the log has no stack, or is not talkative:\n%.500s", log)
	}
	a.seen["the log"] = log

	for what, canary := range canaries {
		for where, text := range a.seen {
			for _, way := range ways(canary) {
				if i := strings.Index(text, way); i >= 0 {
					t.Errorf("%s (%s) shows in %s: ...%s...", what, way, where, text[max(0, i-120):min(len(text), i+len(way)+60)])
					break
				}
			}
		}
	}
	if len(a.seen) < 40 {
		t.Errorf("only %d places were looked at: %q", len(a.seen), slices.Sorted(maps.Keys(a.seen)))
	}
}

// breakEverything has the servers fail in ways whose errors could carry a secret: above all by repeating what they were sent.
func (a *aviary) breakEverything(t *testing.T) {
	fails := func(what string, find func(text string) bool) {
		t.Helper()
		await(t, what, 60*time.Second, func() bool {
			a.ask("GET", "/api/v1/status", "", "Authorization", "Bearer "+canaries["ReadTokenFile"])
			return find(a.seen["GET /api/v1/status"])
		})
	}
	fails("the second LAM's proxy fails", func(s string) bool { return strings.Contains(s, "127.0.0.1:1") && strings.Contains(s, "refused") })
	echo := fmt.Sprintf(`{"success":false,"message":"token %s of moog:%s (Basic %s) is not known"}`, canaries["AuthTokenCode"], canaries["MoogServers[0].Password"],
		base64.StdEncoding.EncodeToString([]byte("moog:"+canaries["MoogServers[0].Password"])))
	for _, status := range []int{401, 500, 400} {
		a.lam.Set(publishertest.Faults{Status: status, Body: echo, ContentType: "application/json"})
		raiseOf741(a.group, 1)
		fails(fmt.Sprintf("the LAM answers %d", status), func(s string) bool { return strings.Contains(s, fmt.Sprint(status)) })
	}
	a.lam.Set(publishertest.Faults{})
	a.console.Set(scomtest.Faults{WrongPassword: true, SessionGone: true})
	fails("SCOM refuses the password", func(s string) bool { return strings.Contains(s, "log") })
	a.console.Heal()
}

// lookEverywhere asks all that can be asked: every address of openapi.yaml and every command that shows something.
func (a *aviary) lookEverywhere(t *testing.T) {
	spec := a.read("../api/openapi.yaml")
	for _, m := range regexp.MustCompile(`(?m)^  (/\S*):\r?$`).FindAllStringSubmatch(string(spec), -1) {
		path := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(m[1], "x")
		for _, token := range []string{"OperatorTokenFile", "ReadTokenFile", "CallbackTokenFile"} {
			a.ask("GET", path, "", "Authorization", "Bearer "+canaries[token])
		}
	}
	a.ask("GET", "/api/v1/config?version=1", "", "Authorization", "Bearer "+canaries["ReadTokenFile"])
	a.ask("GET", "/maintenance?token="+canaries["OperatorTokenFile"], "", "Authorization", "Bearer "+canaries["ReadTokenFile"])
	_, help := scomconnector(t, nil, "--help")
	for _, args := range [][]string{
		{"config", "show"}, {"config", "show", "--json"}, {"status"}, {"status", "--json"}, {"members"}, {"outbox"}, {"parked", "list"}, {"maintenance", "show"},
		{"log-level"}, {"cursors", "show"},
	} {
		if strings.Contains(help, "\n  "+args[0]) {
			a.operate(args...)
		}
	}
	if strings.Contains(help, "\n  doctor ") {
		a.run("doctor", "--node", a.file("node.json"))
	}
}

// doWrong sends secrets to where they do not belong, and changes one.
func (a *aviary) doWrong(t *testing.T) {
	operator := []string{"Authorization", "Bearer " + canaries["OperatorTokenFile"], "Content-Type", "application/json"}
	for _, text := range []string{
		`{"ScomServers": [{"Password": "canaryMisplaced"}], "Pasword": "canaryMisplaced", "canaryMisplaced": 1`,
		`{"AuthTokenCode": "canaryMisplaced", "Password": "plain:canaryMisplaced", "AlertPollCycleTime": "plain:canaryMisplaced"}`,
		`{"ScomServers": [{"ScomAddressHost": "s", "UserId": "u", "Password": "sealed:canaryMisplaced", "ProxyUrl": "http://proxy:canaryMisplaced@p"}], "MoogServers": [{"MoogUrl": "http://u:canaryMisplaced@m/e"}]}`,
	} {
		a.ask("PUT", "/api/v1/config", text, append(operator, "If-Match", `"1"`)...)
		a.put(a.file("wrong.json"), text)
		a.operate("config", "diff", a.file("wrong.json"))
		a.operate("config", "apply", "--yes", a.file("wrong.json"))
	}
	for _, wrong := range []string{"Bearer canaryMisplaced", "Basic " + base64.StdEncoding.EncodeToString([]byte("x:canaryMisplaced"))} {
		for _, to := range []string{"/event_post/", "/api/v1/transfer", "/maintenance"} {
			a.ask("POST", to, `{}`, "Authorization", wrong)
		}
	}
	a.ask("POST", "/event_post/", `{"id": "5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01"}`, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("moobot:"+canaries["CallbackTokenFile"])))
	a.ask("POST", "/maintenance?token="+canaries["OperatorTokenFile"], "token=canaryMisplaced&action=enter", "Content-Type", "application/x-www-form-urlencoded")
	a.ask("PUT", "/api/v1/nothing?token="+canaries["OperatorTokenFile"], "", operator...)

	next := strings.Replace(string(a.read(a.file("SCOMConnectorConfig.json"))), `"plain:`+canaries["MoogServers[1].ProxyPassword"], `"plain:`+canaries["a password that is applied"], 1)
	a.put(a.file("next.json"), next)
	a.operate("config", "diff", a.file("next.json"))
	if out := a.operate("config", "apply", "--yes", a.file("next.json")); !strings.Contains(out, "2") {
		t.Errorf("a changed password is not applied: %s", out)
	}
	a.operate("config", "show")
	a.operate("config", "rollback", "--yes")
}
