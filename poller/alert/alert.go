package alert

import "time"

// Alert is one row of SCOM's answer: decoded, but with nothing decided. A column
// that is missing, null or empty is the zero value; no consumer may tell these
// apart, since the versions of SCOM differ in which of the three they send.
type Alert struct {
	ID              ID
	LastModified    time.Time // UTC, SCOM's clock, at the precision SCOM sent
	ResolutionState uint8     // 0 new, 255 closed, others are the site's own
	Severity        Severity
	Priority        Priority
	RepeatCount     int64
	IsMonitorAlert  bool
	InMaintenance   bool // the monitored object's maintenance mode

	Name        string
	Description string
	Category    string
	Owner       string
	TicketID    string
	ResolvedBy  string
	// LastModifiedBy is the account of the last writer: "System", "Auto-resolve", or a person's.
	LastModifiedBy string

	ObjectID          string // monitoringobjectid, a GUID as SCOM prints it
	ObjectName        string // monitoringobjectname
	ObjectDisplayName string // monitoringobjectdisplayname
	ObjectPath        string // monitoringobjectpath; `host\instance`, or a class's own idea of a path
	NetbiosComputer   string
	NetbiosDomain     string
	PrincipalName     string // the FQDN of the agent, where SCOM fills it

	SiteName     string
	MonitorName  string
	Source       string // alertsource
	Context      string // XML, may be large
	CustomFields [10]string

	TimeAdded    time.Time // UTC; zero if unknown
	TimeResolved time.Time // UTC; zero if unknown
}

// Version is the key of the state that the row shows.
func (a *Alert) Version() Version {
	return Version{ID: a.ID, LastModified: MillisOf(a.LastModified), State: a.ResolutionState}
}

// Closed reports whether the alert is closed (resolution state 255).
func (a *Alert) Closed() bool { return a.ResolutionState == StateClosed }

// The resolution states that SCOM itself defines and this program uses
// (facts: SCOM's resources/alertResolutionStates).
const (
	StateNew    uint8 = 0
	StateClosed uint8 = 255
)

// Severity is SCOM's severity, as text on the wire ("Error"; only its console says "Critical").
type Severity uint8

// The severities SCOM knows. Unknown covers null, missing and text nobody documented.
const (
	SeverityUnknown Severity = iota
	Information
	Warning
	Error
)

func (s Severity) String() string {
	switch s {
	case Information:
		return "Information"
	case Warning:
		return "Warning"
	case Error:
		return "Error"
	}
	return "Unknown"
}

// Priority is SCOM's priority. Its zero value is Normal, which is what SCOM itself defaults to.
type Priority int8

// The priorities SCOM knows.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
)

// Number is the priority as SCOM counts it: 0 low, 1 normal, 2 high.
func (p Priority) Number() int { return int(p) + 1 }

func (p Priority) String() string {
	switch p {
	case Low:
		return "Low"
	case High:
		return "High"
	}
	return "Normal"
}
