package scomtest

import "time"

// Alert is one alert as SCOM's database holds it. An empty text and a zero time are NULL there.
type Alert struct {
	ID              string // a GUID in lower case; Raise makes one if it is empty
	Name            string
	Description     string
	Category        string
	Severity        int // Information, Warning or Error
	Priority        int // 0 low, 1 normal, 2 high
	ResolutionState int // 0 new ... 255 closed
	RepeatCount     int64
	Owner           string
	TicketID        string
	ResolvedBy      string
	LastModifiedBy  string

	IsMonitorAlert bool
	Unhealthy      bool // the monitor behind the alert; from 2019 on such an alert cannot be closed
	InMaintenance  bool // the monitored object's maintenance mode

	ObjectID          string // a GUID
	ObjectName        string
	ObjectDisplayName string
	ObjectPath        string
	ObjectFullName    string
	ClassID           string // a GUID
	RuleID            string // a GUID: the rule's or the monitor's
	ProblemID         string // a GUID
	MonitorName       string
	AlertSource       string
	NetbiosComputer   string
	NetbiosDomain     string
	PrincipalName     string
	SiteName          string
	Context           string
	AlertParams       string
	CustomFields      [10]string
	TfsWorkItemID     string
	TfsWorkItemOwner  string
	ConnectorID       string // a GUID
	ConnectorStatus   int

	// Times are UTC and, as in SQL Server's datetime, in steps of 3.33 ms: others are rounded down.
	TimeRaised         time.Time
	TimeAdded          time.Time
	LastModified       time.Time
	TimeResolved       time.Time
	TimeStateModified  time.Time // of the resolution state
	StateLastModified  time.Time // of the monitored object's health state
	MaintenanceChanged time.Time

	// Broken spoils the alert's row on the wire, not in the database.
	Broken Breakage
}

// The severities, as SCOM counts them.
const (
	Information = 0
	Warning     = 1
	Error       = 2
)

// Closed is the resolution state of a closed alert.
const Closed = 255

// Breakage is a way in which a row cannot be understood.
type Breakage int

// The ways to break a row.
const (
	Whole        Breakage = iota
	BadID                 // the id is no GUID
	NoID                  // the id is left out
	BadDate               // lastmodified is no date
	NoDate                // lastmodified is null
	ObjectAsText          // an object stands where a text belongs
	NotAnObject           // the row is a bare string
)

// sqlTime is t as SQL Server's datetime can hold it: milliseconds that end in 0, 3 or 7, rounded
// down, so that a stamp is never ahead of the clock.
func sqlTime(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	t = t.UTC().Truncate(time.Millisecond)
	back := [10]int{0, 1, 2, 0, 1, 2, 3, 0, 1, 2}[t.Nanosecond()/1e6%10]
	return t.Add(-time.Duration(back) * time.Millisecond)
}

// sqlNext is the least datetime after t.
func sqlNext(t time.Time) time.Time { return sqlTime(t.Add(4 * time.Millisecond)) }
