package scom

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Config says which web consoles to ask and how patiently. A zero number or duration takes its
// value from Defaults.
type Config struct {
	Consoles []Console
	// MaxPollRetryAttempt is how many polls in a row may fail before the next console is asked.
	MaxPollRetryAttempt int
	// DateForm is how times are written in criteria: "iso" (2026-01-02T03:04:05Z) or "space"
	// (2026-01-02 03:04:05), for a console that does not understand the first.
	DateForm string

	ConnectTimeout time.Duration // name look-up, TCP, proxy and TLS together
	FirstByte      time.Duration // from being connected to the answer's head
	FirstByteSlow  time.Duration // the same for slices, full reads: SCOM collects all rows before it answers
	Stall          time.Duration // an answer that stands still this long is given up

	// AuthPauses are how long an account is left alone after a refused log-on, after the second in a row, and so on; the last
	// one counts for all further. A directory locks accounts after a handful of bad log-ons within some time, mostly three to ten
	// within half an hour, and begins to count anew when that has passed without one.
	AuthPauses []time.Duration
	// Logons is where the nodes of a cluster share what they know of refused log-ons; nil: this client remembers by itself.
	Logons LogonBook

	LookEvery   time.Duration // how often consoles are looked at that cannot be reached while no other one is in use
	ProbeEvery  time.Duration // how often the better consoles are probed while another one is in use
	ReturnAfter time.Duration // how long such probes must be good before that console is used again

	// Dial replaces the net.Dialer, for networks in memory; nil means TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Console is one web console and the account used there.
type Console struct {
	Name     string // as the operator wrote it; the URL's host if empty
	URL      string // with the path, as in https://HOST/OperationsManager
	Priority int    // 1 is asked first; consoles of equal priority keep their order
	// Auth is network (also if empty), windows or kerberos.
	Auth     string
	Domain   string // may be empty; with kerberos the realm
	User     string
	Password string
	Keytab   []byte // of the account, in place of the password; only with kerberos
	Krb5Conf string // the text of a krb5.conf; empty: the realm's servers are looked up in DNS
	// ServicePrincipalName is what the console is called in the directory; empty: HTTP/ and the host of its URL.
	ServicePrincipalName string
	// OwnAccount uses the account that this program runs under, on Windows, with Auth windows or kerberos.
	OwnAccount bool
	// LoginForm replaces "(Network)" before the account in the log-on's body, for a server that
	// insists on another spelling. Forms are never tried in turn: each try is a log-on.
	LoginForm          string
	CAFile             string // PEM; read again when the file changes. Empty: the system's authorities
	InsecureSkipVerify bool
	// ProxyURL may carry user:password. Without it no proxy is used; the environment is ignored.
	ProxyURL string
}

// Defaults are the values that a zero field takes.
func Defaults() Config {
	return Config{
		MaxPollRetryAttempt: 3,
		DateForm:            "iso",
		ConnectTimeout:      5 * time.Second,
		FirstByte:           10 * time.Second,
		FirstByteSlow:       60 * time.Second,
		Stall:               10 * time.Second,
		AuthPauses:          []time.Duration{5 * time.Minute, 35 * time.Minute, 65 * time.Minute},
		LookEvery:           5 * time.Second,
		ProbeEvery:          time.Minute,
		ReturnAfter:         5 * time.Minute,
	}
}

// complete fills the zero fields, orders the consoles and reports every fault at once.
func (cfg Config) complete() (Config, error) {
	def := Defaults()
	orDefault(&cfg.MaxPollRetryAttempt, def.MaxPollRetryAttempt)
	orDefault(&cfg.DateForm, def.DateForm)
	orDefault(&cfg.ConnectTimeout, def.ConnectTimeout)
	orDefault(&cfg.FirstByte, def.FirstByte)
	orDefault(&cfg.FirstByteSlow, def.FirstByteSlow)
	orDefault(&cfg.Stall, def.Stall)
	if len(cfg.AuthPauses) == 0 {
		cfg.AuthPauses = def.AuthPauses
	}
	orDefault(&cfg.LookEvery, def.LookEvery)
	orDefault(&cfg.ProbeEvery, def.ProbeEvery)
	orDefault(&cfg.ReturnAfter, def.ReturnAfter)

	var faults []error
	if len(cfg.Consoles) == 0 {
		faults = append(faults, errors.New("no web console is configured"))
	}
	if cfg.DateForm != "iso" && cfg.DateForm != "space" {
		faults = append(faults, fmt.Errorf(`date form %q: must be "iso" or "space"`, cfg.DateForm))
	}
	if cfg.MaxPollRetryAttempt < 1 {
		faults = append(faults, fmt.Errorf("poll retry attempts %d: must be 1 or more", cfg.MaxPollRetryAttempt))
	}
	for _, d := range append([]time.Duration{cfg.ConnectTimeout, cfg.FirstByte, cfg.FirstByteSlow, cfg.Stall, cfg.LookEvery, cfg.ProbeEvery, cfg.ReturnAfter}, cfg.AuthPauses...) {
		if d < 0 {
			faults = append(faults, fmt.Errorf("duration %v: must be positive", d))
		}
	}
	cfg.Consoles = slices.Clone(cfg.Consoles)
	for i := range cfg.Consoles {
		if err := cfg.Consoles[i].complete(); err != nil {
			faults = append(faults, err)
		}
	}
	slices.SortStableFunc(cfg.Consoles, func(a, b Console) int { return a.Priority - b.Priority })
	return cfg, errors.Join(faults...)
}

func (c *Console) complete() error {
	u, err := url.Parse(strings.TrimRight(strings.TrimSpace(c.URL), "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fmt.Errorf("web console %s: URL %q: must look like https://HOST/OperationsManager", c.Name, c.URL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("web console %s: its URL must hold host and path only; the account has its own settings", c.Name)
	}
	c.URL = u.String()
	if c.Name == "" {
		c.Name = u.Host
	}
	if c.Auth == "" {
		c.Auth = AuthNetwork
	}
	if err := c.completeAuth(); err != nil {
		return err
	}
	if c.User == "" && !c.OwnAccount {
		return fmt.Errorf("web console %s: no user is set", c.Name)
	}
	if strings.ContainsAny(c.LoginForm, ":\r\n") {
		return fmt.Errorf("web console %s: the log-on form must not contain a colon", c.Name)
	}
	if _, err := c.proxy(); err != nil {
		return err
	}
	if c.CAFile != "" {
		if _, err := readRoots(c.CAFile); err != nil {
			return fmt.Errorf("web console %s: %w", c.Name, err)
		}
	}
	return nil
}

// proxy is nil without one. Errors do not show the URL, which may hold a password.
func (c *Console) proxy() (*url.URL, error) {
	if c.ProxyURL == "" {
		return nil, nil
	}
	u, err := url.Parse(c.ProxyURL)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		return nil, fmt.Errorf("web console %s: the proxy's URL must look like http://HOST:PORT", c.Name)
	}
	return u, nil
}

// warning names what weakens this console's connection; empty if nothing does.
func (c *Console) warning() string {
	switch {
	case strings.HasPrefix(c.URL, "http://") && c.Auth == AuthNetwork:
		return "http:// sends the password readable over the network: use https://"
	case strings.HasPrefix(c.URL, "http://"):
		return "http:// sends alerts and the session readable over the network: use https://"
	case c.InsecureSkipVerify:
		return "the certificate is not verified (InsecureSkipVerify): anybody in between can read the password; set CaFile instead"
	}
	return ""
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func readFileBounded(path string) ([]byte, error) {
	const most = 4 << 20 // a bundle of all public authorities has 250 KB
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, most)
	}
	return os.ReadFile(path)
}
