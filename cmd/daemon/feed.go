package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
	"scomconnector/poller"
	"scomconnector/poller/normalise"
	"scomconnector/poller/scom"
	"scomconnector/publisher"
)

// feed is what one version of the settings describes: the consoles and the destinations. It
// outlives a term, since a console's session and its pause after a refused log-on must; it holds
// nothing about position.
type feed struct {
	version uint64
	cfg     *settings.Cluster
	scom    *scom.Client
	asked   scom.Config // what scom was made of
	lines   []*line
}

// line is one destination of a feed and its pipeline's settings.
type line struct {
	name     string           // of the pipeline
	previous string           // pipeline whose state this one carries on; mostly empty
	asked    publisher.Config // what dest was made of
	dest     *publisher.Destination
	cfg      poller.Config
}

// pipelineName names the pipeline of the alerts' stream to a destination.
func pipelineName(destination string) string { return "alerts/" + destination }

// newFeed connects nothing yet; it resolves secrets and reads certificates. Where the consoles' settings are those of the
// feed before it takes over that one's client: a change of something else must not cost a log-on, nor shorten the pause after
// a refused one.
func newFeed(n *node, version uint64, cfg *settings.Cluster, before *feed) (*feed, error) {
	f := &feed{version: version, cfg: cfg}
	var err error
	if f.asked, err = scomConfig(cfg); err != nil {
		return nil, err
	}
	if before != nil && reflect.DeepEqual(f.asked, before.asked) {
		f.scom = before.scom
	} else {
		consoles := f.asked
		consoles.Dial, consoles.Logons = n.opts.Dial, n.logons
		if f.scom, err = scom.New(consoles, n.log.Named("scom")); err != nil {
			return nil, err
		}
	}
	for _, d := range cfg.Destinations() {
		l, err := newLine(n, cfg, d)
		if err != nil {
			f.close(before)
			return nil, err
		}
		f.lines = append(f.lines, l)
	}
	return f, nil
}

// Close signs out of SCOM and closes all connections. No pipeline may run any more.
func (f *feed) Close() { f.close(nil) }

// close leaves alone what the other feed uses; nil uses nothing.
func (f *feed) close(other *feed) {
	if other == nil || other.scom != f.scom {
		f.scom.Close()
	}
	for _, l := range f.lines {
		l.dest.Close()
	}
}

func scomConfig(cfg *settings.Cluster) (scom.Config, error) {
	c := scom.Defaults()
	c.MaxPollRetryAttempt = cfg.MaxPollRetryAttempt
	c.DateForm = cfg.CriteriaDateForm
	for _, s := range cfg.ScomServers {
		password, err := s.Password.Resolve()
		if err != nil {
			return c, fmt.Errorf("password of SCOM server %s: %w", s.Name, err)
		}
		proxy, err := s.ProxyUrl.Resolve()
		if err != nil {
			return c, fmt.Errorf("proxy of SCOM server %s: %w", s.Name, err)
		}
		keytab, krb5Conf, err := s.Kerberos()
		if err != nil {
			return c, fmt.Errorf("SCOM server %s: %w", s.Name, err)
		}
		c.Consoles = append(c.Consoles, scom.Console{
			Name: s.Name, URL: s.Url, Priority: s.Priority, Auth: s.Auth, Domain: s.Domain, User: s.UserId, Password: password,
			Keytab: keytab, Krb5Conf: krb5Conf, ServicePrincipalName: s.ServicePrincipalName, OwnAccount: cfg.WinAuthOverride,
			LoginForm: s.LoginForm, CAFile: s.CaFile, InsecureSkipVerify: s.InsecureSkipVerify, ProxyURL: proxy,
		})
	}
	return c, nil
}

// stale reports whether a secret is not what the feed was made with. One that cannot be read now changes nothing:
// what works goes on.
func (f *feed) stale() bool {
	consoles, err := scomConfig(f.cfg)
	if err == nil && !reflect.DeepEqual(consoles, f.asked) {
		return true
	}
	for i, d := range f.cfg.Destinations() {
		if lams, err := destinationConfig(f.cfg, d); err == nil && !reflect.DeepEqual(lams, f.lines[i].asked) {
			return true
		}
	}
	return false
}

func destinationConfig(cfg *settings.Cluster, d settings.Destination) (publisher.Config, error) {
	p := publisher.Config{Name: d.Name, MaxPayloadBytes: cfg.MaxPayloadBytes()}
	if cfg.AuthTokenRequired {
		token, err := cfg.AuthTokenCode.Resolve()
		if err != nil {
			return p, fmt.Errorf("AuthTokenCode: %w", err)
		}
		p.AuthToken = token
	}
	for _, m := range d.LAMs {
		lam, err := lamConfig(m)
		if err != nil {
			return p, fmt.Errorf("LAM %s: %w", m.Name, err)
		}
		p.LAMs = append(p.LAMs, lam)
	}
	return p, nil
}

func newLine(n *node, cfg *settings.Cluster, d settings.Destination) (*line, error) {
	asked, err := destinationConfig(cfg, d)
	if err != nil {
		return nil, err
	}
	p := asked
	p.Dial = n.opts.Dial
	dest, err := publisher.New(p, n.log, n.publishing)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", d.Name, err)
	}
	l := &line{name: pipelineName(d.Name), asked: asked, dest: dest, cfg: pipelineConfig(cfg, d.Name, p.MaxPayloadBytes-dest.Overhead())}
	if d.PreviousName != "" {
		l.previous = pipelineName(d.PreviousName)
	}
	return l, nil
}

func lamConfig(m settings.MoogServer) (publisher.LAM, error) {
	lam := publisher.LAM{
		Name: m.Name, URL: m.Address, PublicKeyFile: m.MoogPublicKey, Username: m.Username,
		ClientCertFile: m.ClientCertFile, ClientKeyFile: m.ClientKeyFile,
	}
	var err error
	if lam.Password, err = m.Password.Resolve(); err != nil {
		return lam, fmt.Errorf("its password: %w", err)
	}
	if m.IsProxyRequired {
		lam.ProxyURL, lam.ProxyUsername = m.Proxy, m.ProxyUsername
		if lam.ProxyPassword, err = m.ProxyPassword.Resolve(); err != nil {
			return lam, fmt.Errorf("its proxy's password: %w", err)
		}
	}
	return lam, nil
}

func pipelineConfig(cfg *settings.Cluster, destination string, batchBytes int) poller.Config {
	c := poller.Defaults()
	c.Name = pipelineName(destination)
	c.Cycle, c.MinCycle = cfg.AlertPollCycleTime, cfg.MinPollCycleTime
	c.Overlap, c.Settle = cfg.OverlapSeconds, cfg.SettleSeconds
	c.FirstStart, c.InitialLookback = cfg.FirstStart, cfg.InitialLookback
	c.MaxBatchEvents, c.MaxBatchBytes = cfg.MaxBatchEvents, batchBytes
	c.Reconcile = cfg.ReconcileMinutes
	c.LowerBackoff, c.UpperBackoff = cfg.LowerTimeoutBound, cfg.UpperTimeoutBound
	c.AmountOfTimeouts, c.OutageAlertAfter = cfg.AmountOfTimeouts, cfg.OutageAlertAfter
	c.Heartbeat = cfg.HeartbeatSeconds
	c.SendRepeatCounts = cfg.SendRepeatCounts
	return c
}

// encoder compiles what makes events of alerts; the management group must be known.
func (f *feed) encoder(n *node, group string, l *line) (*normalise.Normaliser, error) {
	connector := f.cfg.ConnectorUrl
	if connector == "" {
		connector = n.opts.Node.AdvertiseUrl
	}
	return normalise.Compile(normalise.Config{
		ManagementGroup: group, Cluster: f.cfg.ClusterName(group, n.primary()), ConnectorAddress: connector,
		Node: n.opts.Node.NodeID, SeverityMap: f.cfg.SeverityMap, Filter: f.cfg.Filter, Mapping: f.cfg.Mapping,
		MaxEventBytes: l.cfg.MaxBatchBytes - 1, // and the comma behind it
	})
}

// managementGroup makes sure that the cluster has agreed on the name that stands in every signature.
// It is set by the settings, else asked of SCOM once; it never changes by itself.
func (f *feed) managementGroup(ctx context.Context, propose func(context.Context, state.Op) (state.Result, error), st *state.State) (string, error) {
	known := st.ManagementGroup()
	want := f.cfg.ManagementGroup
	if want == "" {
		if known != "" {
			f.bind(known)
			return known, nil
		}
		name, err := f.scom.ManagementGroup(ctx)
		if err != nil {
			return "", err
		}
		if want = name; want == "" {
			want = f.cfg.FallbackManagementGroup()
		}
	}
	if want == known {
		return known, nil
	}
	res, err := propose(ctx, state.SetManagementGroup{Name: want, Force: f.cfg.ManagementGroup != ""})
	if err = errors.Join(err, res.Err); err != nil {
		return "", fmt.Errorf("agree on the management group %q: %w", want, err)
	}
	if f.cfg.ManagementGroup == "" {
		f.bind(want)
	}
	return want, nil
}

// bind has consoles of other management groups refused. A host's name, which stands for the group where no console could name it, is
// none: a console that can after an update must not be refused for that. (No group's name has a dot.)
func (f *feed) bind(group string) {
	isHost := strings.Contains(group, ".")
	for _, s := range f.cfg.ScomServers {
		host, _, _ := strings.Cut(s.Name, ":")
		isHost = isHost || strings.EqualFold(group, host)
	}
	if !isHost {
		f.scom.Bind(group)
	}
}

// retryFeed is how soon a feed that cannot be built, or a group that cannot be agreed on, is tried again.
const retryFeed = 5 * time.Second

func logChange(log hclog.Logger, last *string, now, msg string, args ...any) {
	if now != *last {
		*last = now
		log.Debug(msg, args...) // the verdict tells it
	}
}
