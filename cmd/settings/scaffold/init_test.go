package scaffold

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/cmd/settings"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it anew); got\n%s", name, got)
	}
}

// zeros is a generator whose token can stand in a golden file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func three() Options {
	return Options{
		Primary: "scomc1.contoso.com", Secondary: "scomc2.contoso.com", Witness: "scom1.contoso.com",
		Scom: []string{"scom1.contoso.com", "scom2.contoso.com:8443"}, ScomUser: `CONTOSO\svc-scom`,
		Lam: []string{"https://moog1/events/scom_lam", "https://moog2/events/scom_lam"}, Random: zeros{},
	}
}

const original = "../testdata/original.json"

// TestInitWritesTheGoldenFolders shows all of what init makes and prints, in the shapes there are.
func TestInitWritesTheGoldenFolders(t *testing.T) {
	pair := three()
	pair.Witness = ""
	etcd := pair
	etcd.Etcd = []string{"https://etcd1.contoso.com:2379", "https://etcd2.contoso.com:2379", "https://etcd3.contoso.com:2379"}
	one := Options{Primary: "10.0.0.7", Scom: []string{"scom"}, Lam: []string{"http://moog:8888/"}, Random: zeros{}}
	trial := Options{Primary: "127.0.0.1", Secondary: "127.0.0.1", Witness: "127.0.0.1", Scom: []string{"s"}, Lam: []string{"https://l/"}, Random: zeros{}}
	six := Options{Primary: "fe80::1", Scom: []string{"s"}, Lam: []string{"https://l/"}, Random: zeros{}}
	imported := Options{Primary: "a", Import: original, Random: zeros{}}
	more := Options{
		Primary: "a", Import: original, Scom: []string{"WIN-9r4CQNMLGCS", "scom2"}, Lam: []string{"https://mandeepmoog63/events/scom_lam_microsoftscom1", "https://new/"},
		Answers: map[string]string{"ScomServers[0].Password": "env:SCOM"}, Random: zeros{},
	}
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, o := range map[string]Options{"three": three(), "pair": pair, "etcd": etcd, "one": one, "trial": trial, "ipv6": six, "imported": imported, "imported-and-more": more} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made")
			o.Out, o.Now, o.GOOS = dir, made, "linux"
			var out bytes.Buffer
			if err := Init(o, nil, &out); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(name, "output.txt"), strings.NewReplacer(dir, "OUT", filepath.ToSlash(dir), "OUT").Replace(out.String()))
			golden(t, filepath.Join(name, "files.txt"), listing(t, dir))
			golden(t, filepath.Join(name, "node.json"), read(t, dir, "primary", "node.json"))
			golden(t, filepath.Join(name, settings.ClusterFileName), read(t, dir, "primary", settings.ClusterFileName))
			loads(t, dir)
			private(t, dir)
		})
	}
}

// What is printed to be typed can be typed as it stands, where the program was unpacked.
func TestTheCommandsAreThoseOfTheSystem(t *testing.T) {
	for system, want := range map[string]string{"linux": "    sudo ./scomconnector check\n", "windows": "    .\\scomconnector.exe check\n"} {
		o := three()
		o.Out, o.GOOS = filepath.Join(t.TempDir(), "made"), system
		var out bytes.Buffer
		if err := Init(o, nil, &out); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), want); n != 3 {
			t.Errorf("%s: %d times %q, want one a node:\n%s", system, n, want, out.String())
		}
		if bare := regexp.MustCompile(`(?m)^ +(sudo )?scomconnector(\.exe)? .*`).FindString(out.String()); bare != "" {
			t.Errorf("%s: %q is on no PATH", system, bare)
		}
		if system == "windows" && strings.Contains(strings.ReplaceAll(out.String(), "on Linux: sudo", ""), "sudo") {
			t.Errorf("Windows has no sudo:\n%s", out.String())
		}
	}
}

// Paths are those of the system, and in quotes where its shell would take them apart.
func TestThePathsAreThoseOfTheSystem(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		system, out, want string
	}{
		{"linux", "a/b", "cert renew --ca a/b/ca --node-file a/b/witness/node.json\n"},
		{"windows", "c/d", `cert renew --ca c\d\ca --node-file c\d\witness\node.json` + "\n"},
		{"linux", "e f", `cert renew --ca "e f/ca" --node-file "e f/witness/node.json"` + "\n"},
		{"windows", "g h", `cert renew --ca "g h\ca" --node-file "g h\witness\node.json"` + "\n"},
		{"windows", "same", `.\scomconnector.exe check --node same\witness\node.json` + "\n"},
	} {
		o := three()
		if c.out == "same" {
			o.Primary, o.Secondary, o.Witness = "127.0.0.1", "127.0.0.1", "127.0.0.1"
		}
		o.Out, o.GOOS = c.out, c.system
		var out bytes.Buffer
		if err := Init(o, nil, &out); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s, %s: want %q in\n%s", c.system, c.out, c.want, out.String())
		}
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			rel += "/"
		}
		fmt.Fprintln(&b, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// private: the token, the keys, and everything in the data folder are the owner's alone.
func private(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return // it has no such bits
	}
	secret := []string{"primary/operator-token", "primary/data"}
	if !strings.Contains(read(t, dir, "primary", "node.json"), `"Coordination": "etcd"`) { // it needs no mark
		secret = append(secret, "primary/data/bootstrap")
	}
	if _, err := os.Stat(filepath.Join(dir, "secondary")); err == nil {
		secret = append(secret, "primary/cluster.key", "secondary/cluster.key", "ca", "ca/cluster-ca.key")
	}
	for _, name := range secret {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// loads is the round trip: what init wrote has no faults.
func loads(t *testing.T, dir string) {
	t.Helper()
	nodes, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, d := range nodes {
		if d.Name() == authorityDir {
			continue
		}
		folder := filepath.Join(dir, d.Name())
		n, faults := settings.LoadNode(filepath.Join(folder, "node.json"))
		if len(faults) > 0 || n.NodeID != d.Name() || n.DataDir != filepath.Join(folder, "data") {
			t.Errorf("%s: %+v\n%v", d.Name(), n, faults)
		}
		members = append(members, fmt.Sprint(n.Members))
		if d.Name() == "witness" {
			continue
		}
		c, faults := settings.LoadCluster(filepath.Join(folder, settings.ClusterFileName), settings.Options{Dir: folder})
		if len(faults) > 0 || len(c.Destinations()) == 0 {
			t.Errorf("%s: %v", d.Name(), faults)
		}
	}
	if len(slices.Compact(members)) != 1 {
		t.Errorf("the nodes have different Members:\n%s", strings.Join(members, "\n"))
	}
}

// TestCommentedKeysAreReal puts every commented-out key in force: each must be known and show its default, and
// none of the file's keys may be left out.
func TestCommentedKeysAreReal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	o := three()
	o.Out = dir
	if err := Init(o, nil, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	inForce := regexp.MustCompile(`(?m)^(\s*)// ("[A-Za-z]+": )`)
	folder := filepath.Join(dir, "primary")

	text := read(t, folder, settings.ClusterFileName)
	plain, _ := settings.ParseCluster("f", []byte(text), settings.Options{Dir: folder})
	full, faults := settings.ParseCluster("f", inForce.ReplaceAll([]byte(text), []byte("$1$2")), settings.Options{Dir: folder})
	if len(faults) > 0 {
		t.Errorf("with all keys in force:\n%v", faults)
	}
	full.Text, full.SeverityMap, full.Mapping, full.IsPrimary = plain.Text, plain.SeverityMap, plain.Mapping, plain.IsPrimary
	if !reflect.DeepEqual(full, plain) {
		t.Errorf("a commented key does not show its default:\n%+v\n%+v", full, plain)
	}
	for _, v := range []any{settings.Cluster{}, settings.ScomServer{}, settings.MoogServer{}} {
		mentions(t, text, v, "Text", "Warnings", "Name", "Address", "Proxy")
	}

	text = read(t, folder, "node.json")
	n, _ := settings.ParseNode("f", []byte(text), folder)
	all := inForce.ReplaceAll([]byte(text), []byte("$1$2"))
	allNode, faults := settings.ParseNode("f", all, folder)
	if len(faults) > 0 {
		t.Errorf("with all keys in force:\n%v", faults)
	}
	allNode.Etcd.Endpoints = nil
	if !reflect.DeepEqual(allNode, n) {
		t.Errorf("a commented key does not show its default:\n%+v\n%+v", allNode, n)
	}
	for _, v := range []any{settings.Node{}, settings.Etcd{}, settings.Tls{}, settings.ClusterTls{}, settings.Auth{}, settings.Log{}} {
		mentions(t, text, v, "Path", "Dir", "Warnings")
	}
}

func mentions(t *testing.T, text string, v any, derived ...string) {
	t.Helper()
	typ := reflect.TypeOf(v)
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.IsExported() && !slices.Contains(derived, f.Name) && !strings.Contains(text, `"`+f.Name+`": `) {
			t.Errorf("%s.%s is not shown", typ, f.Name)
		}
	}
}

func TestInitAsksOnATerminalForWhatIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	answers := strings.Join([]string{"", "scomc1", "scomc2", "", "scom1, scom2", `CONTOSO\svc`, "https://moog/", dir}, "\n") + "\n"
	var out bytes.Buffer
	if err := Init(Options{Random: zeros{}}, strings.NewReader(answers), &out); err != nil {
		t.Fatal(err)
	}
	c, _ := settings.LoadCluster(filepath.Join(dir, "primary", settings.ClusterFileName), settings.Options{})
	if len(c.ScomServers) != 2 || c.ScomServers[1].Name != "scom2" || c.ScomServers[0].Domain != "CONTOSO" || c.ScomServers[0].UserId != "svc" {
		t.Errorf("the consoles became %+v", c.ScomServers)
	}
	if _, err := os.Stat(filepath.Join(dir, "secondary", "node.json")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "witness")); err == nil {
		t.Error("there is a witness that nobody asked for")
	}
	questions, _, _ := strings.Cut(out.String(), "Made in")
	golden(t, "questions.txt", questions+"\n")
}

func TestInitAsksNothingWhenAllIsGiven(t *testing.T) {
	o := three()
	o.Out = filepath.Join(t.TempDir(), "made")
	var out bytes.Buffer
	if err := Init(o, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "Made in") {
		t.Errorf("it asked:\n%s", out.String())
	}
}

func TestInitRefusesWrongUse(t *testing.T) {
	for _, c := range []struct {
		change func(*Options)
		in     *strings.Reader
		want   string
	}{
		{func(o *Options) { *o = Options{} }, nil, "init needs --primary HOST, --scom HOST, --lam URL, --out DIR"},
		{func(o *Options) { o.Primary, o.Lam = "", nil }, nil, "init needs --primary HOST, --lam URL"},
		{func(o *Options) { o.Primary = "scomc1:8085" }, nil, `"scomc1:8085" is no host name: give the name or the IP address alone, without port`},
		{func(o *Options) { o.Secondary = `a", "x` }, nil, `"a\", \"x" is no host name: give the name or the IP address alone, without port`},
		{func(o *Options) { o.Etcd = []string{"https://etcd1:2379"} }, nil, "an etcd decides in place of a witness: give --etcd or --witness"},
		{func(o *Options) { o.Secondary = "" }, nil, "a witness helps only beside a Primary and a Secondary: give --secondary, too, or leave out --witness"},
		{func(o *Options) { o.Primary = "" }, strings.NewReader("\n\n\n\n"), "no answer to: Host name of the Primary"},
		{func(o *Options) { o.Primary = "" }, strings.NewReader(""), "the questions were not answered: give the flags instead"},
	} {
		o := three()
		o.Out = filepath.Join(t.TempDir(), "made")
		c.change(&o)
		var err error
		if c.in == nil {
			err = Init(o, nil, new(bytes.Buffer))
		} else {
			err = Init(o, c.in, new(bytes.Buffer))
		}
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrUsage) {
			t.Errorf("got %v, want %s", err, c.want)
		}
		if o.Out != "" {
			if _, err := os.Stat(o.Out); err == nil {
				t.Errorf("%s: something was written", c.want)
			}
		}
	}
}

func TestInitRefusesAddressesThatMakeNoSettings(t *testing.T) {
	for _, c := range []struct {
		change func(*Options)
		want   []string
	}{
		{func(o *Options) { o.Lam = []string{"moog/events"} }, []string{`--lam "moog/events"`, "MoogUrl", "https://"}},
		{func(o *Options) { o.Lam = []string{"ftp://moog/events"} }, []string{`--lam "ftp://moog/events"`, "MoogUrl"}},
		{func(o *Options) { o.Witness, o.Etcd = "", []string{"etcd1:2379"} }, []string{`--etcd "etcd1:2379"`, "Etcd.Endpoints", "https://etcd1"}},
		{func(o *Options) { o.Scom = []string{"https://scom1/OperationsManager"} }, []string{`--scom "https://scom1/OperationsManager"`, "HOST or HOST:PORT", "Url", "ScomAddressHost"}},
		{func(o *Options) { o.ScomUser = `'CONTOSO\svc-scom'` }, []string{`--scom-user 'CONTOSO\svc-scom'`, "cmd.exe", "without them"}},
		{func(o *Options) { o.Scom = []string{"scom1/OperationsManager"} }, []string{`--scom "scom1/`, "Url"}},
	} {
		o := three()
		o.Out = filepath.Join(t.TempDir(), "made")
		c.change(&o)
		err := Init(o, nil, new(bytes.Buffer))
		if !errors.Is(err, ErrUsage) {
			t.Errorf("got %v, want a wrong flag", err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %q, want %q in it", err, want)
			}
		}
	}
	o := three()
	o.Out, o.Scom = filepath.Join(t.TempDir(), "made"), []string{"scom1:99999"}
	if err := Init(o, nil, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), `ScomServers[0].ScomAddressHost: "scom1:99999" is no host`) {
		t.Errorf("got %v", err)
	}
	o = three()
	o.Out, o.Lam, o.Scom, o.Import = filepath.Join(t.TempDir(), "made"), nil, nil, filepath.Join(t.TempDir(), "absent.json")
	if err := Init(o, nil, new(bytes.Buffer)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestInitNeverOverwrites(t *testing.T) {
	o := three()
	o.Out = t.TempDir()
	mine := filepath.Join(o.Out, "witness")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Init(o, nil, new(bytes.Buffer))
	if want := mine + " is there already, and init overwrites nothing"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := listing(t, o.Out); got != "witness\n" {
		t.Errorf("the folder holds\n%s", got)
	}
}

// TestInitTakesBackWhatItMade: a half made cluster is worse than none.
func TestInitTakesBackWhatItMade(t *testing.T) {
	o := three()
	o.Out = t.TempDir()
	folders := []folder{{"primary", 0o755, true, []content{{"a", nil, 0o600}}}, {"secondary", 0o755, false, []content{{"no/such/folder", nil, 0o600}}}}
	if err := write(o.Out, folders); err == nil {
		t.Fatal("a file in a folder that is not there was written")
	}
	if got := listing(t, o.Out); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

func TestTokensDiffer(t *testing.T) {
	a, err := newToken(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newToken(nil)
	if bytes.Equal(a, b) || len(a) != 44 {
		t.Errorf("got %q and %q", a, b)
	}
	if _, err := newToken(strings.NewReader("short")); err == nil {
		t.Error("a generator that ends makes a token")
	}
}
