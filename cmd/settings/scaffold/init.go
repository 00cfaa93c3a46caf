package scaffold

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cmd/settings"
)

// Options are init's flags.
type Options struct {
	Primary   string   // HOST
	Secondary string   // HOST, may be empty
	Witness   string   // HOST, may be empty
	Etcd      []string // addresses of an etcd that decides in place of a witness; may be empty
	Scom      []string
	Lam       []string
	ScomUser  string            // DOMAIN\user; may be empty
	Import    string            // an original SCOMConnectorConfig.json; may be empty
	PollTime  string            // its SCOMLastPollTime.json; empty: beside it, if it is there
	LogConfig string            // its SCOMConnector.exe.config; empty: beside it or above, if it is there
	Answers   map[string]string // for what Import asks
	Out       string            // folder to make the nodes' folders in
	// GOOS is the system that the commands are printed for; empty: this one.
	GOOS string
	// Random is where the operator token comes from; nil is the system's generator.
	Random io.Reader
	// Now is when the certificates begin; zero is the present.
	Now time.Time
}

// ErrUsage marks errors in what was asked for, as against errors on the way.
var ErrUsage = errors.New("wrong use of init")

// ErrThere is of a folder that would have to be overwritten.
var ErrThere = errors.New("is there already")

// usage is an error in the flags.
type usage string

func (u usage) Error() string      { return string(u) }
func (usage) Is(target error) bool { return target == ErrUsage }

// The default ports: the API, which Moogsoft knows, and beside it the nodes' own.
const (
	apiPort     = 8085
	clusterPort = 8086
)

// The names of files in a node's folder.
const (
	nodeFile     = "node.json"
	tokenFile    = "operator-token"
	passwordFile = "scom-password"
	dataDir      = "data"
	markFile     = "bootstrap"
	authorityDir = "ca" // beside the nodes' folders, and in none of them
)

// machine is one node to be.
type machine struct {
	ID, Host                 string
	Role                     cluster.Role
	Listen, ClusterAddr, Url string
}

// Init makes the folders and prints to out what is left to do. With in not nil, it asks there for what is missing.
func Init(o Options, in io.Reader, out io.Writer) error {
	if in != nil {
		if err := ask(&o, in, out); err != nil {
			return err
		}
	}
	if err := o.validate(); err != nil {
		return err
	}
	p := plan{Options: o, Machines: o.machines()}
	if p.Now.IsZero() {
		p.Now = time.Now()
	}
	if err := p.cluster(); err != nil {
		return err
	}
	folders, err := p.folders()
	if err != nil {
		return err
	}
	if err := write(o.Out, folders); err != nil {
		return err
	}
	return p.explain(out)
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func (o *Options) validate() error {
	var missing []string
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"--primary HOST", o.Primary != ""},
		{"--scom HOST", len(o.Scom) > 0 || o.Import != ""},
		{"--lam URL", len(o.Lam) > 0 || o.Import != ""},
		{"--out DIR", o.Out != ""},
	} {
		if !f.given {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return usage("init needs " + strings.Join(missing, ", "))
	}
	for _, h := range []string{o.Primary, o.Secondary, o.Witness} {
		if h != "" && !hostName.MatchString(h) && net.ParseIP(h) == nil {
			return usage(fmt.Sprintf("%q is no host name: give the name or the IP address alone, without port", h))
		}
	}
	for _, s := range o.Scom {
		if strings.ContainsAny(s, "/?#") {
			return usage(fmt.Sprintf("--scom %q: accepted is HOST or HOST:PORT, such as scom1.contoso.com; the console is looked for at https://HOST/OperationsManager. "+
				"If it stands elsewhere, write its whole address as Url beside ScomAddressHost into the SCOMConnectorConfig.json that init makes", s))
		}
	}
	for _, l := range o.Lam {
		if !webAddress(l) {
			return usage(fmt.Sprintf("--lam %q: accepted is the LAM's whole address, such as https://moog.contoso.com/events/scom_lam; it becomes MoogUrl", l))
		}
	}
	for _, e := range o.Etcd {
		if !webAddress(e) {
			return usage(fmt.Sprintf("--etcd %q: accepted is an address such as https://etcd1.contoso.com:2379; it becomes one of Etcd.Endpoints", e))
		}
	}
	if o.Witness != "" && o.Secondary == "" {
		return usage("a witness helps only beside a Primary and a Secondary: give --secondary, too, or leave out --witness")
	}
	if o.Witness != "" && len(o.Etcd) > 0 {
		return usage("an etcd decides in place of a witness: give --etcd or --witness")
	}
	if n := len(o.ScomUser); n > 1 && o.ScomUser[0] == '\'' && o.ScomUser[n-1] == '\'' {
		return usage(fmt.Sprintf("--scom-user %s: the quotes have come along, as with cmd.exe; write it without them, or in double ones", o.ScomUser))
	}
	return nil
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// machines gives each node its addresses. On one machine, for a trial, the ports count up.
func (o *Options) machines() []machine {
	var all []machine
	taken := map[string]int{}
	for _, m := range []machine{
		{ID: "primary", Role: cluster.Primary, Host: o.Primary},
		{ID: "secondary", Role: cluster.Secondary, Host: o.Secondary},
		{ID: "witness", Role: cluster.Witness, Host: o.Witness},
	} {
		if m.Host == "" {
			continue
		}
		shift := 2 * taken[strings.ToLower(m.Host)]
		taken[strings.ToLower(m.Host)]++
		host := m.Host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		m.Listen = fmt.Sprintf("0.0.0.0:%d", apiPort+shift)
		if m.loopback() {
			m.Listen = fmt.Sprintf("%s:%d", host, apiPort+shift)
		}
		m.ClusterAddr = fmt.Sprintf("%s:%d", host, clusterPort+shift)
		m.Url = fmt.Sprintf("http://%s:%d", host, apiPort+shift)
		all = append(all, m)
	}
	return all
}

func (m *machine) loopback() bool {
	return strings.EqualFold(m.Host, "localhost") || m.Host == "::1" || strings.HasPrefix(m.Host, "127.")
}

// plan is everything that is known before the first file is written.
type plan struct {
	Options
	Machines []machine
	Config   []byte // SCOMConnectorConfig.json
	Findings []settings.Finding
	Secrets  []secretFile // files the operator has to write
	Faults   settings.Faults
	Past     settings.Past
	// The ends of the node-to-node certificates and of their authority; zero without Tls.
	NodeCertEnds, AuthorityEnds time.Time
}

type secretFile struct{ File, What string }

// Tls reports whether the nodes get certificates among themselves. Nodes that share a machine could do without; with them, a trial
// runs as the real thing does, and one node of it can be moved to another machine.
func (p *plan) Tls() bool { return len(p.Machines) > 1 }

// cluster makes the text of SCOMConnectorConfig.json, anew or from the original's.
func (p *plan) cluster() error {
	var err error
	if p.Import == "" {
		p.Secrets = []secretFile{{passwordFile, "the password of the account that reads SCOM"}}
		p.Config, err = render(clusterTemplate, p)
	} else {
		err = p.imported()
	}
	if err != nil {
		return err
	}
	_, p.Faults = settings.ParseCluster(settings.ClusterFileName, p.Config, settings.Options{})
	if p.Import == "" && len(p.Faults) > 0 {
		return fmt.Errorf("the hosts and addresses given make no valid settings: %w", p.Faults)
	}
	return nil
}

// maxImport bounds the file to import; the original's has 3 KiB.
const maxImport = 1 << 20

// imported takes over the original's file, and names a file for each password that only the original could read.
func (p *plan) imported() error {
	f, err := os.Open(p.Import)
	if err != nil {
		return fmt.Errorf("read the file to import: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxImport))
	if err != nil {
		return fmt.Errorf("read the file to import: %w", err)
	}
	if p.Past, err = settings.ReadPast(p.Import, p.PollTime, p.LogConfig, p.Now); err != nil {
		return err
	}
	answers := map[string]string{}
	_, open, err := settings.Import(text, p.Answers)
	if err != nil {
		return err
	}
	for _, finding := range open {
		if finding.Secret {
			name := settings.SecretFileName(finding.Key)
			answers[finding.Key] = "file:" + name
			p.Secrets = append(p.Secrets, secretFile{name, "what the imported file has encrypted as " + finding.Key})
		}
	}
	for k, v := range p.Answers {
		answers[k] = v
	}
	config, findings, err := settings.ImportFrom(text, answers, p.Past.Position, p.Now)
	if err != nil {
		return err
	}
	p.Findings = slices.Concat(findings, p.Past.Findings)
	if len(p.Scom)+len(p.Lam) == 0 {
		p.Config = config
		return nil
	}
	return p.addServers(config)
}

// addServers appends the servers of the flags to the imported ones.
func (p *plan) addServers(config []byte) error {
	before, _ := settings.ParseCluster("", config, settings.Options{})
	known := map[string]bool{}
	for _, s := range before.ScomServers {
		known[strings.ToLower(s.ScomAddressHost)] = true
	}
	for _, m := range before.MoogServers {
		known[m.MoogUrl] = true
	}
	var scom, lam []string
	for _, s := range p.Scom {
		if !known[strings.ToLower(s)] {
			user := p.ScomAccount()
			scom = append(scom, fmt.Sprintf(`{"ScomAddressHost": %s, "Domain": %s, "UserId": %s, "Password": "file:%s"}`, quote(s), quote(user.Domain), quote(user.Name), passwordFile))
		}
	}
	for _, l := range p.Lam {
		if !known[l] {
			lam = append(lam, fmt.Sprintf(`{"MoogUrl": %s}`, quote(l)))
		}
	}
	if len(scom) > 0 {
		p.Secrets = append(p.Secrets, secretFile{passwordFile, "the password of the account that reads the added SCOM servers"})
	}
	var err error
	p.Config, err = settings.AddServers(config, scom, lam)
	return err
}

type account struct{ Domain, Name string }

// ScomAccount takes DOMAIN\user apart.
func (p *plan) ScomAccount() account {
	if p.ScomUser == "" {
		return account{"", settings.Placeholder}
	}
	if domain, user, ok := strings.Cut(p.ScomUser, `\`); ok {
		return account{domain, user}
	}
	return account{"", p.ScomUser}
}

// folder is what is made in one piece: a node's, or the authority's.
type folder struct {
	name  string
	mode  os.FileMode
	data  bool // with a DataDir in it
	files []content
}

// content is one file of a folder.
type content struct {
	name string
	text []byte
	mode os.FileMode
}

// folders makes every node's files and the authority's, and reads each node.json back before anything is written.
func (p *plan) folders() ([]folder, error) {
	token, err := newToken(p.Random)
	if err != nil {
		return nil, fmt.Errorf("make the operator token: %w", err)
	}
	certs, authority, err := p.certificates()
	if err != nil {
		return nil, err
	}
	var all []folder
	for i := range p.Machines {
		m := &p.Machines[i]
		text, err := render(nodeTemplate, struct {
			*plan
			*machine
		}{p, m})
		if err != nil {
			return nil, err
		}
		if _, faults := settings.ParseNode(nodeFile, text, ""); len(faults) > 0 {
			return nil, fmt.Errorf("the hosts given make no valid settings: %w", faults)
		}
		files := []content{{nodeFile, text, 0o644}, {tokenFile, token, 0o600}}
		if m.Role != cluster.Witness {
			files = append(files, content{settings.ClusterFileName, p.Config, 0o644})
		}
		if m.Role == cluster.Primary && len(p.Etcd) == 0 {
			mark := []byte("Lets the Primary begin a new cluster before the others are there. It is used once and then deleted.\n")
			files = append(files, content{filepath.Join(dataDir, markFile), mark, 0o600})
		}
		all = append(all, folder{m.ID, 0o755, true, append(files, certs[m.ID]...)})
	}
	if len(authority) > 0 {
		all = append(all, folder{authorityDir, 0o700, false, authority})
	}
	return all, nil
}

// tokenBytes of randomness cannot be guessed.
const tokenBytes = 32

func newToken(random io.Reader) ([]byte, error) {
	if random == nil {
		random = rand.Reader
	}
	raw := make([]byte, tokenBytes)
	if _, err := io.ReadFull(random, raw); err != nil {
		return nil, err
	}
	return []byte(base64.RawURLEncoding.EncodeToString(raw) + "\n"), nil
}

// write makes the folders. It looks first, and takes back what it has made if something fails on the way.
func write(out string, folders []folder) (err error) {
	for _, f := range folders {
		dir := filepath.Join(out, f.name)
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			if err == nil {
				err = fmt.Errorf("%s %w, and init overwrites nothing", dir, ErrThere)
			}
			return err
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	for _, f := range folders {
		dir := filepath.Join(out, f.name)
		if err := os.Mkdir(dir, f.mode); err != nil {
			return fmt.Errorf("make the folder: %w", err)
		}
		defer func() {
			if err != nil {
				os.RemoveAll(dir)
			}
		}()
		if err := f.fill(dir); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) fill(dir string) error {
	if f.data {
		if err := os.Mkdir(filepath.Join(dir, dataDir), 0o700); err != nil {
			return fmt.Errorf("make the folder: %w", err)
		}
	}
	for _, c := range f.files {
		if err := create(filepath.Join(dir, c.name), c); err != nil {
			return err
		}
	}
	return nil
}

func create(path string, c content) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, c.mode)
	if err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	_, err = f.Write(c.text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	return nil
}
