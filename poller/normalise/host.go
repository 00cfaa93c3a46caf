package normalise

import (
	"net/netip"
	"net/url"
	"strings"

	"scomconnector/poller/alert"
)

// The rungs of the ladder, as custom_info.scom.hostRule shows them.
const (
	rulePrincipal   = "principalname"
	ruleNetbios     = "netbioscomputername"
	rulePath        = "path"        // the part before the first separator, or a path that is a host name
	ruleObjectName  = "objectname"  // the object's own name is a host name: a computer, a network device
	ruleURL         = "url"         // the object watches a URL: web application availability
	ruleDisplayName = "displayname" // the object has no host: a pool, a group, a distributed application
	ruleUnknown     = "unknown"
)

// hostOf finds the host that an alert is about, and by which rule. Agents fill the first two rungs; a
// database or cluster group has them empty, but its path begins with the server.
func hostOf(a *alert.Alert) (host, rule string) {
	if s := strings.TrimSpace(a.PrincipalName); isLabel(s) || isHostName(s) {
		return s, rulePrincipal
	}
	if s := strings.TrimSpace(a.NetbiosComputer); isLabel(s) || isHostName(s) {
		return s, ruleNetbios
	}
	if s, ok := pathHost(a.ObjectPath); ok {
		return s, rulePath
	}
	for _, s := range [...]string{a.ObjectDisplayName, a.ObjectName} {
		if s = strings.TrimSpace(s); isHostName(s) {
			return s, ruleObjectName
		}
	}
	for _, s := range [...]string{a.ObjectDisplayName, a.ObjectName} {
		if s, ok := urlHost(s); ok {
			return s, ruleURL
		}
	}
	return lastResort(a)
}

// lastResort names the object itself, unless it is called what every installation calls it.
func lastResort(a *alert.Alert) (host, rule string) {
	if s := strings.TrimSpace(a.ObjectDisplayName); s != "" && !isCommonName(s) {
		return s, ruleDisplayName
	}
	if s := strings.TrimSpace(a.ObjectPath); s != "" && isLabel(s) {
		return s, rulePath
	}
	if s := strings.TrimSpace(a.ObjectName); s != "" && !isCommonName(s) {
		return s, ruleObjectName
	}
	return "unknown", ruleUnknown
}

// pathHost is the host at the beginning of a path. SCOM separates with a semicolon, its consoles with a
// backslash. Without a separator a path may be anything, so then it must look like a full host name.
func pathHost(path string) (string, bool) {
	path = strings.TrimLeft(strings.TrimSpace(path), `\`)
	i := strings.IndexAny(path, `\;`)
	if i < 0 {
		return path, isHostName(path)
	}
	first := strings.TrimSpace(path[:i])
	return first, isLabel(first) || isHostName(first)
}

// urlHost is the host of the URL that a name is, or ends with ("Shop - https://shop.contoso.com/login").
func urlHost(name string) (string, bool) {
	i := strings.Index(name, "://")
	if i < 0 {
		return "", false
	}
	start := strings.LastIndexAny(name[:i], " \t(<\"'") + 1
	end := strings.IndexAny(name[i:], " \t)>\"'")
	if end < 0 {
		end = len(name) - i
	}
	u, err := url.Parse(name[start : i+end])
	if err != nil {
		return "", false
	}
	host := u.Hostname()
	return host, isLabel(host) || isHostName(host)
}

// isLabel reports whether s is one label of a host name, such as a NetBIOS name, and not a name that
// every installation has.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isLabelByte(s[i]) {
			return false
		}
	}
	return !isCommonName(s)
}

func isLabelByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}

// isHostName reports whether s is a full host name or an address: labels and at least one dot.
// "10.0.17763" is a version, "Microsoft.SystemCenter.HealthService" a class, "report.log" a file.
func isHostName(s string) bool {
	if len(s) < 2 || len(s) > 253 {
		return false
	}
	if s[0] >= '0' && s[0] <= '9' || strings.IndexByte(s, ':') >= 0 {
		if _, err := netip.ParseAddr(s); err == nil {
			return true
		}
	}
	s = strings.TrimSuffix(s, ".")
	dot := strings.LastIndexByte(s, '.')
	if dot < 0 || isCommonName(s) {
		return false
	}
	label := 0
	for i := range len(s) {
		if s[i] == '.' {
			if label == 0 {
				return false
			}
			label = 0
			continue
		}
		if label++; label > 63 || !isLabelByte(s[i]) {
			return false
		}
	}
	return isTopLevel(s[dot+1:])
}

// isTopLevel reports whether a name may end with label.
func isTopLevel(label string) bool {
	if len(label) < 2 {
		return false
	}
	letter := false
	for i := range len(label) {
		letter = letter || label[i] > '9' && label[i] != '_'
	}
	switch strings.ToLower(label) {
	case "exe", "dll", "sys", "log", "mdf", "ldf", "ndf", "config", "xml", "json", "ps1", "vbs", "txt":
		return false
	}
	return letter
}

// isCommonName reports whether s is a class's name, or a name that every server's object of that class
// has: taken for a host, it would gather the alerts of a thousand servers under one.
func isCommonName(s string) bool {
	for _, prefix := range [...]string{"microsoft ", "microsoft.", "system.", "windows server ", "sql server "} {
		if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
			return true
		}
	}
	if len(s) == 2 && s[1] == ':' { // a drive
		return true
	}
	switch strings.ToLower(s) {
	case "master", "model", "msdb", "tempdb", "distribution", "ssisdb", "reportserver", "reportservertempdb",
		"mssqlserver", "sqlexpress", "sqlserveragent", "sql server agent",
		"cluster group", "available storage", "default web site", "defaultapppool", "ftp site",
		"health service", "health service watcher", "operating system", "localhost", "_total", "unknown", "null":
		return true
	}
	return false
}
