package scomtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// agent is a computer that SCOM watches.
type agent struct {
	host string // without the domain
	fqdn string
	id   string // of its Windows Computer object
}

const (
	agentDomain  = "contoso.com"
	agentNetbios = "CONTOSO"
)

// agents draws computers with the names that people give theirs.
func agents(r *rand.Rand, n int) []agent {
	sites := []string{"ams", "fra", "lon", "nyc", "sin"}
	roles := []string{"sql", "web", "dc", "file", "exch", "app", "hv", "print"}
	list := make([]agent, n)
	for i := range list {
		host := fmt.Sprintf("%s%s%03d", sites[i%len(sites)], roles[i/len(sites)%len(roles)], i/len(sites)/len(roles)+1)
		list[i] = agent{host: strings.ToUpper(host), fqdn: host + "." + agentDomain, id: newGUID(r)}
	}
	return list
}

// trouble is what a management pack raises.
type trouble struct {
	name     string
	monitor  string // its monitor; empty: raised by a rule
	category string
	severity int
	priority int
	describe func(*rand.Rand, agent) string
	// object names the monitored object and its path; SQL databases and clusters have no computer of
	// their own, so that neither NetBIOS nor principal name is filled.
	object   func(*rand.Rand, agent) (display, path string)
	hostless bool
	flaps    bool // comes and goes within minutes
}

// packs are alerts as Microsoft's own management packs raise them.
var packs = []trouble{
	{
		name: "Health Service Heartbeat Failure", monitor: "Health Service Heartbeat Failure", category: "StateCollection", severity: Error, priority: 2,
		describe: func(_ *rand.Rand, a agent) string {
			return "The Health Service on computer " + a.fqdn + " failed to heartbeat."
		},
		object: func(_ *rand.Rand, a agent) (string, string) {
			return a.fqdn, "Microsoft.SystemCenter.AgentWatchersGroup"
		},
	},
	{
		name: "Failed to Connect to Computer", monitor: "Computer Not Reachable", category: "StateCollection", severity: Error, priority: 1, flaps: true,
		describe: func(_ *rand.Rand, a agent) string {
			return "The computer " + a.fqdn + " was not accessible.\r\n\r\nThe reason is ping failed."
		},
		object: func(_ *rand.Rand, a agent) (string, string) {
			return a.fqdn, "Microsoft.SystemCenter.AgentWatchersGroup"
		},
	},
	{
		name: "Logical Disk Free Space is low", monitor: "Windows Server 2016 and above Logical Disk Free Space (%) Low", category: "PerformanceHealth", severity: Warning, priority: 1,
		describe: func(r *rand.Rand, a agent) string {
			return fmt.Sprintf("The disk %s on computer %s is running out of disk space. The value that exceeded the threshold is %d%% free space.", drive(r), a.fqdn, 1+r.IntN(9))
		},
		object: func(r *rand.Rand, a agent) (string, string) { return drive(r), a.fqdn },
	},
	{
		name: "Total CPU Utilization Percentage is too high", monitor: "Total CPU Utilization Percentage", category: "PerformanceHealth", severity: Error, priority: 1, flaps: true,
		describe: func(r *rand.Rand, a agent) string {
			return fmt.Sprintf("The threshold for the Processor Information\\%% Processor Time\\_Total performance counter has been exceeded. The value is %.4f.", 95+5*r.Float64())
		},
		object: func(r *rand.Rand, a agent) (string, string) {
			return fmt.Sprintf("Microsoft Windows Server %d Standard", 2016+3*r.IntN(3)), a.fqdn
		},
	},
	{
		name: "Available Megabytes of Memory is too low", monitor: "Available Megabytes of Memory", category: "PerformanceHealth", severity: Error, priority: 1,
		describe: func(r *rand.Rand, a agent) string {
			return fmt.Sprintf("The threshold for the Memory\\Available MBytes performance counter has been exceeded. The value that exceeded the threshold is %d.", 20+r.IntN(80))
		},
		object: func(*rand.Rand, agent) (string, string) { return "Microsoft Windows Server 2019 Standard", "" },
	},
	{
		name: "MSSQL on Windows: Database is offline, in recovery pending, suspect, or emergency state", monitor: "Database Status", category: "AvailabilityHealth", severity: Error, priority: 2, hostless: true,
		describe: func(r *rand.Rand, a agent) string {
			return fmt.Sprintf("The database \"%s\" in the SQL instance \"%s\\MSSQLSERVER\" is in the RECOVERY PENDING state.", database(r), a.host)
		},
		object: func(r *rand.Rand, a agent) (string, string) { return database(r), a.fqdn + `;MSSQLSERVER` },
	},
	{
		name: "MSSQL on Windows: Transaction log for the database is full", category: "Alert", severity: Error, priority: 1, hostless: true,
		describe: func(r *rand.Rand, a agent) string {
			return fmt.Sprintf("The transaction log for database '%s' is full due to 'LOG_BACKUP'.", database(r))
		},
		object: func(r *rand.Rand, a agent) (string, string) { return database(r), a.fqdn + `\MSSQLSERVER` },
	},
	{
		name: "Application Pool is unavailable", monitor: "Application Pool Availability", category: "AvailabilityHealth", severity: Error, priority: 1,
		describe: func(r *rand.Rand, a agent) string {
			return "Application pool 'Intranet & \"HR\"' on IIS web server " + a.fqdn + " is unavailable because it has been stopped."
		},
		object: func(_ *rand.Rand, a agent) (string, string) { return `Intranet & "HR"`, a.fqdn + `\IIS` },
	},
	{
		name: "Web Site is unavailable", monitor: "Web Site Availability", category: "AvailabilityHealth", severity: Error, priority: 1,
		describe: func(_ *rand.Rand, a agent) string {
			return "Web site 'Default Web Site' on server " + a.fqdn + " is unavailable as it has been stopped."
		},
		object: func(_ *rand.Rand, a agent) (string, string) { return "Default Web Site", a.fqdn + `\IIS` },
	},
	{
		name: "Service Terminated Unexpectedly", category: "EventCollection", severity: Error, priority: 1,
		describe: func(r *rand.Rand, a agent) string {
			return fmt.Sprintf("The Print Spooler service terminated unexpectedly.  It has done this %d time(s).", 1+r.IntN(9))
		},
		object: func(*rand.Rand, agent) (string, string) { return "Microsoft Windows Server 2022 Datacenter", "" },
	},
	{
		name: "Power Shell Script failed to run", category: "Operations", severity: Warning, priority: 1, flaps: true,
		describe: func(r *rand.Rand, a agent) string {
			return "The PowerShell script failed with below exception\n\nSystem.Management.Automation.RuntimeException: Überlauf – Zeitüberschreitung\nWorkflow name: Microsoft.Windows.Server.10.0.LogicalDisk\nInstance name: " + a.fqdn
		},
		object: func(_ *rand.Rand, a agent) (string, string) { return a.fqdn, "" },
	},
	{
		name: "Backup completed with warnings", category: "Custom", severity: Information, priority: 0,
		describe: func(r *rand.Rand, a agent) string {
			return fmt.Sprintf("Backup job NIGHTLY-%d of %s completed with %d files skipped.", r.IntN(20), a.host, 1+r.IntN(400))
		},
		object: func(_ *rand.Rand, a agent) (string, string) { return a.fqdn, "" },
	},
	{
		name: "Cluster resource group offline or partial online", monitor: "Resource Group State", category: "AvailabilityHealth", severity: Error, priority: 2, hostless: true,
		describe: func(r *rand.Rand, a agent) string {
			return "Cluster resource group 'SQL Server (INST1)' is offline or partially online. Owner: " + a.host
		},
		object: func(*rand.Rand, agent) (string, string) { return "SQL Server (INST1)", "CONTOSO-CLU1" },
	},
	{
		name: "Alert generation was temporarily suspended due to too many alerts.", category: "Operations", severity: Warning, priority: 1,
		describe: func(_ *rand.Rand, a agent) string {
			return "A rule has generated 50 alerts in the last 60 seconds. Usually, when a rule generates this many alerts, it is because the rule definition is misconfigured. Source: " + a.fqdn
		},
		object: func(_ *rand.Rand, a agent) (string, string) { return a.fqdn, "" },
	},
}

func drive(r *rand.Rand) string { return string(rune('C'+r.IntN(4))) + ":" }

func database(r *rand.Rand) string {
	return [...]string{"master", "msdb", "SharePoint_Content", "HR_Payroll", "OperationsManagerDW"}[r.IntN(5)]
}

// alert is one alert of this trouble on a computer.
func (t *trouble) alert(r *rand.Rand, a agent) Alert {
	display, path := t.object(r, a)
	x := Alert{
		Name: t.name, Description: t.describe(r, a), Category: t.category, Severity: t.severity, Priority: t.priority,
		IsMonitorAlert: t.monitor != "", Unhealthy: t.monitor != "", MonitorName: t.monitor,
		ObjectID: a.id, ObjectName: display, ObjectDisplayName: display, ObjectPath: path, ObjectFullName: t.category + ":" + a.fqdn + ";" + display,
		AlertSource: display, NetbiosComputer: a.host, NetbiosDomain: agentNetbios, PrincipalName: a.fqdn,
		RuleID: newGUID(r), ClassID: newGUID(r),
		Context: `<DataItem type="System.PropertyBagData" sourceHealthServiceId="` + a.id + `"><Property Name="State" VariantType="8">BAD</Property></DataItem>`,
	}
	if t.hostless {
		x.NetbiosComputer, x.NetbiosDomain, x.PrincipalName = "", "", ""
	}
	return x
}
