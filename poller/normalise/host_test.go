package normalise

import (
	"testing"

	"scomconnector/poller/alert"
)

func TestHostLadder(t *testing.T) {
	for _, c := range []struct {
		what                                      string
		principal, netbios, path, display, object string
		host, rule                                string
	}{
		{"an agent", "srv01.contoso.com", "SRV01", `srv01.contoso.com\C:`, "C:", "C:", "srv01.contoso.com", "principalname"},
		{"an agent in a workgroup", "SRV01", "SRV01", "", "SRV01", "SRV01", "SRV01", "principalname"},
		{"blanks around", " srv01.contoso.com ", "", "", "", "", "srv01.contoso.com", "principalname"},
		{"no principal name", "", "SRV01", "x;y", "C:", "C:", "SRV01", "netbioscomputername"},
		{"a principal name that is none", "NT AUTHORITY\\SYSTEM", "SRV01", "", "", "", "SRV01", "netbioscomputername"},
		{"a database", "", "", `SQL01.contoso.com\MSSQLSERVER`, "master", "master", "SQL01.contoso.com", "path"},
		{"a database, as SCOM itself separates", "", "", "SQL01.contoso.com;MSSQLSERVER", "msdb", "msdb", "SQL01.contoso.com", "path"},
		{"a database on a server without a domain", "", "", `SQL01\INST1`, "ERP", "ERP", "SQL01", "path"},
		{"a UNC-like path", "", "", `\\FILE01\share`, "share", "share", "FILE01", "path"},
		{"a cluster group", "", "", `SQLCLU01\Cluster Group`, "Cluster Group", "Cluster Group", "SQLCLU01", "path"},
		{"an operating system", "", "", "srv02.contoso.com", "Microsoft Windows Server 2019 Standard", "", "srv02.contoso.com", "path"},
		{"an operating system that nobody places", "", "", "", "Microsoft Windows Server 2019 Standard", "", "unknown", "unknown"},
		{"an engine named as its path", "", "", "MSSQLSERVER", "master", "master", "unknown", "unknown"},
		{"a path of the last resort", "", "", "SQL07", "msdb", "msdb", "SQL07", "path"},
		{"a heartbeat watcher", "", "", "Microsoft.SystemCenter.AgentWatchersGroup", "srv03.contoso.com", "x", "srv03.contoso.com", "objectname"},
		{"a network device", "", "", "", "switch-7.net.contoso.com", "SNMP", "switch-7.net.contoso.com", "objectname"},
		{"a network device by address", "", "", "", "10.1.2.3", "10.1.2.3", "10.1.2.3", "objectname"},
		{"a network device by IPv6", "", "", "", "2001:db8::7", "", "2001:db8::7", "objectname"},
		{"a network device without a domain", "", "", "", "SW-CORE-01", "", "SW-CORE-01", "displayname"},
		{"web application availability", "", "", "", "Shop - https://shop.contoso.com/login?a=b", "", "shop.contoso.com", "url"},
		{"a URL alone", "", "", "", "http://intranet/", "", "intranet", "url"},
		{"a URL of an address", "", "", "", "Check (https://[2001:db8::1]:8443/x)", "", "2001:db8::1", "url"},
		{"a distributed application", "", "", `Contoso Shop\Web tier`, "Web tier", "x", "Web tier", "displayname"},
		{"the management group", "", "", "", "All Management Servers Resource Pool", "Microsoft.SystemCenter.AllManagementServersPool",
			"All Management Servers Resource Pool", "displayname"},
		{"a class", "", "", "", "Microsoft.SystemCenter.HealthService", "", "unknown", "unknown"},
		{"a version", "", "", "", "10.0.17763", "", "10.0.17763", "displayname"},
		{"a file", "", "", "", "backup.log", "", "backup.log", "displayname"},
		{"nothing at all", "", "", "", "", "", "unknown", "unknown"},
		{"a drive", "", "", "", "D:", "D:", "unknown", "unknown"},
		{"a trap before a separator", "", "", `master\dbo`, "dbo", "dbo", "dbo", "displayname"},
		{"a bare separator", "", "", `\`, "", "", "unknown", "unknown"},
		{"a broken URL", "", "", "", "http://[::1", "", "http://[::1", "displayname"},
	} {
		host, rule := hostOf(&alert.Alert{
			PrincipalName: c.principal, NetbiosComputer: c.netbios, ObjectPath: c.path, ObjectDisplayName: c.display, ObjectName: c.object,
		})
		if host != c.host || rule != c.rule {
			t.Errorf("%s: got %q by %s, want %q by %s", c.what, host, rule, c.host, c.rule)
		}
	}
}
