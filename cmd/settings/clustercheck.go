package settings

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"scomconnector/poller/normalise"
	"scomconnector/poller/scom"
)

// check applies the rules between keys and derives what the file leaves out. Values that the table has refused raise no
// second fault.
func (c *Cluster) check(r *reader, opts Options) {
	for i := range c.ScomServers {
		c.ScomServers[i].index = i
		c.ScomServers[i].check(r, fmt.Sprintf("ScomServers[%d]", i), c.WinAuthOverride)
	}
	for i := range c.MoogServers {
		c.MoogServers[i].check(r, fmt.Sprintf("MoogServers[%d]", i))
	}
	c.checkDestinations(r)
	c.checkPolling(r)
	c.checkTimeouts(r)
	c.checkAuth(r, opts.GOOS)
	c.checkExpressions(r)
	c.ConnectorUrl = strings.TrimRight(c.ConnectorUrl, "/")
	if c.PollCriteriaDateFormat != "" {
		r.warn("PollCriteriaDateFormat", "is kept but never used: questions to SCOM carry UTC in ISO form; should a console refuse that, set CriteriaDateForm to \"space\"")
	}
	c.sortServers()
}

// sortServers puts the first server first, and gives those without a priority one behind all others.
func (c *Cluster) sortServers() {
	last := 0
	for _, s := range c.ScomServers {
		last = max(last, s.Priority)
	}
	for i := range c.ScomServers {
		if c.ScomServers[i].Priority == 0 {
			last++
			c.ScomServers[i].Priority = last
		}
	}
	slices.SortStableFunc(c.ScomServers, func(a, b ScomServer) int { return cmp.Compare(a.Priority, b.Priority) })
}

// check derives the web console's address and looks at the credentials.
func (s *ScomServer) check(r *reader, path string, winAuth bool) {
	scheme, host := "https", s.ScomAddressHost
	if before, after, ok := strings.Cut(host, "://"); ok {
		scheme, host = strings.ToLower(before), after
	}
	host = strings.TrimRight(host, "/")
	switch {
	case host == "" && s.Url == "" && !r.given(path+".Url"):
		r.fault(path, "", "needs a ScomAddressHost or a Url")
	case host != "" && (badLink(scheme+"://"+host) != "" || strings.Contains(host, "/")):
		r.fault(path+".ScomAddressHost", "HOST or HOST:PORT; a whole address is for Url", "%q is no host", clip(s.ScomAddressHost))
	case host != "" && s.Url == "":
		s.Url = scheme + "://" + host + "/OperationsManager"
	}
	s.Url = strings.TrimRight(s.Url, "/")
	s.Name = host
	if s.Name == "" {
		if u, err := url.Parse(s.Url); err == nil {
			s.Name = u.Host
		}
	}
	if strings.HasPrefix(s.Url, "http://") {
		what := "the password crosses"
		if s.Auth != scom.AuthNetwork {
			what = "alerts and the session cross"
		}
		r.warn(path, "%s is not encrypted: %s the network readable", s.Url, what)
	}
	if s.InsecureSkipVerify {
		r.warn(path+".InsecureSkipVerify", "the console's certificate is not checked: whoever sits between can read the password; set CaFile instead")
	}
	s.checkCredentials(r, path, winAuth)
}

// faulted reports whether the key has a fault already.
func (r *reader) faulted(path string) bool {
	return slices.ContainsFunc(r.faults, func(f Fault) bool { return f.Key == path })
}

// check derives the LAM's address and looks at its proxy and certificates.
func (m *MoogServer) check(r *reader, path string) {
	if r.faulted(path + ".MoogUrl") {
		return
	}
	m.Address = m.address()
	if m.Address == "" {
		r.warn(path, "is ignored, since it has no address: set MoogUrl, or MoogIp and MoogPort")
		return
	}
	if badLink(m.Address) != "" {
		r.fault(path+".MoogIp", "a host name or an IP address", "%q is no host", clip(m.MoogIp))
		return
	}
	if strings.HasPrefix(m.Address, "http://") {
		r.warn(path, "%s is not encrypted: alerts and token cross the network readable", m.Address)
	}
	m.Name = m.MoogAddressDisplay
	if m.Name == "" {
		m.Name = m.Address
	}
	if (m.ClientCertFile == "") != (m.ClientKeyFile == "") {
		r.fault(path, "", "ClientCertFile and ClientKeyFile belong together: one of them is missing")
	}
	if m.Username != "" && m.Password.IsZero() && !r.faulted(path+".Password") {
		r.fault(path+".Password", acceptedSecret, "is empty although there is a Username")
	}
	if m.IsProxyRequired {
		m.checkProxy(r, path)
	}
}

func (m *MoogServer) address() string {
	if m.MoogUrl != "" {
		return m.MoogUrl
	}
	if m.MoogIp == "" {
		return ""
	}
	scheme := "https"
	if !m.IsSslEnabled {
		scheme = "http"
	}
	return scheme + "://" + hostPort(m.MoogIp, m.MoogPort) + "/"
}

func hostPort(host string, port int) string {
	switch {
	case port != 0:
		return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	case strings.Contains(host, ":"):
		return "[" + strings.Trim(host, "[]") + "]"
	}
	return host
}

func (m *MoogServer) checkProxy(r *reader, path string) {
	if m.MoogProxyIP == "" || m.MoogProxyPort == 0 {
		if !r.faulted(path + ".MoogProxyPort") {
			r.fault(path+".IsProxyRequired", "", "is true, but MoogProxyIP or MoogProxyPort is missing")
		}
		return
	}
	m.Proxy = hostPort(m.MoogProxyIP, m.MoogProxyPort)
	if badLink("http://"+m.Proxy) != "" {
		r.fault(path+".MoogProxyIP", "a host name or an IP address", "%q is no host", clip(m.MoogProxyIP))
	}
	if m.ProxyUsername != "" && m.ProxyPassword.IsZero() && !r.faulted(path+".ProxyPassword") {
		r.fault(path+".ProxyPassword", acceptedSecret, "is empty although there is a ProxyUsername")
	}
}

// checkDestinations looks at what the LAMs are together.
func (c *Cluster) checkDestinations(r *reader) {
	usable, previous := 0, map[string]string{}
	seen := map[string]int{}
	names := map[string]bool{}
	for _, m := range c.MoogServers {
		names[m.Destination] = true
	}
	for i, m := range c.MoogServers {
		path := fmt.Sprintf("MoogServers[%d]", i)
		if r.faulted(path + ".MoogUrl") {
			usable++ // it would have been one
		}
		if m.Address == "" {
			continue
		}
		usable++
		where := m.Destination + " " + m.Address
		if first, twice := seen[where]; twice {
			r.fault(path, "", "has the address of MoogServers[%d] in the same destination: remove one", first)
		}
		seen[where] = i
		if m.PreviousName == "" {
			continue
		}
		if names[m.PreviousName] {
			r.fault(path+".PreviousName", "", "%q is still the name of a destination: its position cannot be given away", m.PreviousName)
		}
		if p, ok := previous[m.Destination]; ok && p != m.PreviousName {
			r.fault(path+".PreviousName", "", "destination %q has two previous names, %q and %q", m.Destination, p, m.PreviousName)
		}
		for other, p := range previous {
			if p == m.PreviousName && other != m.Destination {
				r.fault(path+".PreviousName", "", "%q is the previous name of destination %q, too", p, other)
			}
		}
		previous[m.Destination] = m.PreviousName
	}
	if usable == 0 && len(c.MoogServers) > 0 {
		r.fault("MoogServers", "", "none has an address: alerts could go nowhere")
	}
}

func (c *Cluster) checkPolling(r *reader) {
	switch {
	case !r.given("MinPollCycleTime") && c.AlertPollCycleTime < c.MinPollCycleTime:
		c.MinPollCycleTime = c.AlertPollCycleTime
	case c.MinPollCycleTime > c.AlertPollCycleTime:
		r.fault("MinPollCycleTime", fmt.Sprintf("0.5 seconds to AlertPollCycleTime, here %s", c.AlertPollCycleTime),
			"is longer than AlertPollCycleTime")
	}
	if c.IsActiveEventPolling {
		r.fault("IsActiveEventPolling", "false", "SCOM's REST interface has no events, only alerts")
	}
	if !c.IsActiveAlertPolling {
		r.warn("IsActiveAlertPolling", "is false: no alert is read from SCOM")
	}
}

// checkTimeouts bends the default of the bound that is not given to the one that is, as an operator who sets one of them means
// that one.
func (c *Cluster) checkTimeouts(r *reader) {
	lower, upper := r.given("LowerTimeoutBound"), r.given("UpperTimeoutBound")
	if c.LowerTimeoutBound <= c.UpperTimeoutBound {
		return
	}
	switch {
	case lower && !upper:
		c.UpperTimeoutBound = c.LowerTimeoutBound
	case upper && !lower:
		c.LowerTimeoutBound = c.UpperTimeoutBound
	default:
		r.fault("LowerTimeoutBound", "0.1 seconds to UpperTimeoutBound, here "+c.UpperTimeoutBound.String(), "is longer than UpperTimeoutBound")
	}
}

func (c *Cluster) checkAuth(r *reader, goos string) {
	if c.WinAuthOverride && goos != "windows" {
		r.fault("WinAuthOverride", "false", "works only where the connector runs on Windows; give UserId and Password instead")
	}
	for _, s := range c.ScomServers {
		if c.WinAuthOverride && goos == "windows" && s.UserId != "" {
			r.warn(fmt.Sprintf("ScomServers[%d].UserId", s.index), "is not used, since WinAuthOverride is true: the service's own account is")
		}
	}
	if c.AuthTokenRequired && c.AuthTokenCode.IsZero() && !r.faulted("AuthTokenCode") {
		r.faultAt(r.offset("AuthTokenRequired"), "AuthTokenCode", acceptedSecret, "is empty although AuthTokenRequired is true")
	}
	if !c.AuthTokenRequired && !c.AuthTokenCode.IsZero() {
		r.warn("AuthTokenCode", "is not sent, since AuthTokenRequired is false")
	}
}

// checkExpressions compiles Filter, Mapping and SeverityMap, so that a mistake shows now and not at the first alert.
func (c *Cluster) checkExpressions(r *reader) {
	_, err := normalise.Compile(normalise.Config{SeverityMap: c.SeverityMap, Filter: c.Filter, Mapping: c.Mapping})
	if err == nil {
		return
	}
	faults := normalise.FaultsOf(err)
	for _, f := range faults {
		if !r.faulted(f.Key) {
			r.fault(f.Key, "", "%s", oneLine(f.Err))
		}
	}
	if len(faults) == 0 {
		r.fault("Filter", "", "%s", oneLine(err))
	}
}

// oneLine is the error of an expression, which may quote much of it, as part of a line.
func oneLine(err error) string {
	const enough = 400
	s := strings.Join(strings.Fields(err.Error()), " ")
	if len(s) > enough {
		s = strings.ToValidUTF8(s[:enough], "") + "..."
	}
	return s
}

// FallbackManagementGroup names the management group where no server tells its name: the first server's host, in lower
// case, without the port. It must not change when the servers' order does, so the caller fixes it in the replicated state.
func (c *Cluster) FallbackManagementGroup() string {
	if len(c.ScomServers) == 0 {
		return ""
	}
	host := strings.ToLower(c.ScomServers[0].Name)
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}
