package scomtest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options describes a management group. The zero value is a good SCOM 2022.
type Options struct {
	// Version is 1801, 1807, 2019, 2019UR1, 2022 (the default) or 2025.
	Version string
	Name    string // of the management group, default CONTOSO-MG
	// Accounts may log on at each console; default is DefaultAccount alone.
	Accounts []Account
	// LockAfter locks an account after so many bad log-ons in a row; 0: never.
	LockAfter int
	// SessionLife is how long a log-on lasts, default 24 h.
	SessionLife time.Duration

	Seed uint64
	Now  func() time.Time // default time.Now

	// LateCommit draws how long after its LastModified a version becomes visible; nil: at once.
	LateCommit func(*rand.Rand) time.Duration
	// DuplicateEvery shows one row in so many twice in an answer; default 50, negative: none.
	DuplicateEvery int
	// Shape is how answers look on the wire.
	Shape Shape

	// ResetOnClose is the administrator's setting of 2022: closing an unhealthy monitor's alert
	// resets the monitor instead of being refused.
	ResetOnClose bool
	// BracedFailures names alerts that could not be changed in braces and upper case, as .NET may print a GUID.
	BracedFailures bool
	// DateFractions accepts fractions of a second in criteria; whether SCOM does is not known.
	DateFractions bool
	// DateForms is which dates criteria may hold: "iso" (with T and Z), "space" or both, which is the default: Microsoft's
	// own examples and public clients use either.
	DateForms string
	// SpaceZone reads dates of the form "space" in this zone instead of UTC, since nothing in them says that they are UTC.
	SpaceZone *time.Location
	// NewResources offers what is documented since 2022 on any version: whether 2019 has it, nobody has written down.
	NewResources bool
	// RefusalStatus is the HTTP status beside {"errorMessage":...} for bad criteria, default 400.
	RefusalStatus int
	// Groups maps a groupId (2022 and later) to the ids of the objects in it.
	Groups map[string][]string

	// CacheBytes bounds the encoded rows that are kept, default 64 MiB; negative: none.
	CacheBytes int64
	// NoRecord keeps no account of versions, for a demo that runs for days. Otherwise the account
	// is limited to maxRecords versions, beyond which Raise and Update panic.
	NoRecord bool
}

// Account is a log-on.
type Account struct {
	User     string // DOMAIN\user
	Password string
	Role     string // default Operator; "Read-Only Operator" may not change alerts
}

// DefaultAccount may log on where Options names no other.
var DefaultAccount = Account{User: `CONTOSO\svc-moogsoft`, Password: "simulated", Role: "Operator"}

// maxRecords bounds the account of versions, about 100 bytes each: half a GiB is a test gone wrong.
const maxRecords = 5_000_000

// versions lists SCOM's releases, oldest first.
var versions = []string{"1801", "1807", "2019", "2019UR1", "2022", "2025"}

// Group is a management group: its alerts, and the consoles that show them. All methods may be
// called by many goroutines.
type Group struct {
	opt     Options
	release int    // index into versions
	id      string // of the management group

	mu        sync.Mutex // guards all below
	rnd       *rand.Rand
	shape     Shape
	scope     func(*Alert) bool
	store     store
	answers   uint64                // rows are shuffled by the number of the answer
	plans     map[string]*plan      // by what was asked and shape
	badLogons map[string]*badLogons // by lower-case user
}

// New makes an empty management group. It panics on a version nobody knows: that is a test's typo.
func New(opt Options) *Group {
	if opt.Version == "" {
		opt.Version = "2022"
	}
	release := slices.Index(versions, opt.Version)
	if release < 0 {
		panic("scomtest: no SCOM " + opt.Version + ", there are " + strings.Join(versions, ", "))
	}
	if opt.Name == "" {
		opt.Name = "CONTOSO-MG"
	}
	if opt.Accounts == nil {
		opt.Accounts = []Account{DefaultAccount}
	}
	if opt.SessionLife == 0 {
		opt.SessionLife = 24 * time.Hour
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.DuplicateEvery == 0 {
		opt.DuplicateEvery = 50
	}
	if opt.RefusalStatus == 0 {
		opt.RefusalStatus = 400
	}
	if opt.CacheBytes == 0 {
		opt.CacheBytes = 64 << 20
	}
	g := &Group{
		opt: opt, release: release, shape: opt.Shape,
		rnd:       rand.New(rand.NewPCG(opt.Seed, 0x5c0)),
		plans:     map[string]*plan{},
		badLogons: map[string]*badLogons{},
	}
	g.store = store{alerts: map[string]*entry{}, record: !opt.NoRecord, cacheLimit: opt.CacheBytes}
	g.id = newGUID(g.rnd)
	return g
}

// LateUpTo is a LateCommit: the given share of versions is late by a time uniform below limit.
func LateUpTo(limit time.Duration, share float64) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		if r.Float64() >= share {
			return 0
		}
		return time.Duration(r.Int64N(int64(limit)))
	}
}

// SetShape changes how answers look from now on.
func (g *Group) SetShape(s Shape) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shape = s
}

// SetScope limits what the account may see, at every console; nil shows all.
func (g *Group) SetScope(see func(*Alert) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.scope = see
}

// Raise adds an alert and returns its id. Times that are zero are now; a LastModified that is given
// is kept, and the alert is visible at once unless Options.LateCommit draws otherwise.
func (g *Group) Raise(a Alert) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.raise(a, g.now().Add(g.late()))
}

// RaiseLate adds an alert that becomes visible only after the given time.
func (g *Group) RaiseLate(a Alert, late time.Duration) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.raise(a, g.now().Add(late))
}

// RaiseAll adds the alerts in one transaction: those without a LastModified get the same one.
func (g *Group) RaiseAll(alerts []Alert) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	visible := now.Add(g.late())
	ids := make([]string, len(alerts))
	for i, a := range alerts {
		if a.LastModified.IsZero() {
			a.LastModified = now
		}
		ids[i] = g.raise(a, visible)
	}
	return ids
}

// Repeat is the same trouble again: it bumps RepeatCount and LastModified. It reports whether the
// alert exists and is open; SCOM does not repeat into a closed alert.
func (g *Group) Repeat(id string) bool {
	return g.change(id, -1, nil, func(a *Alert) bool {
		if a.ResolutionState == Closed {
			return false
		}
		a.RepeatCount++
		a.LastModifiedBy = "System"
		return true
	})
}

// SetState sets the resolution state as somebody named by would, with no regard for the health of
// a monitor; it reports whether the alert exists.
func (g *Group) SetState(id string, state int, by string) bool {
	row := &HistoryRow{ModifiedBy: by, Comments: fmt.Sprintf("Resolution state set to %d.", state)}
	now := g.now()
	return g.change(id, -1, row, func(a *Alert) bool {
		a.setState(state, by, now)
		return true
	})
}

// Update changes an alert as somebody named by would; it reports whether the alert exists. The
// change must not touch ID or LastModified.
func (g *Group) Update(id, by string, change func(*Alert)) bool {
	return g.UpdateLate(id, by, -1, change)
}

// UpdateLate is Update whose version becomes visible only after the given time; a negative one is
// drawn from Options.LateCommit.
func (g *Group) UpdateLate(id, by string, late time.Duration, change func(*Alert)) bool {
	row := &HistoryRow{ModifiedBy: by, Comments: "Alert properties changed."}
	return g.change(id, late, row, func(a *Alert) bool {
		a.LastModifiedBy = by
		change(a)
		return true
	})
}

// Delete removes the alert without a trace, as grooming does; it reports whether there was one.
func (g *Group) Delete(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.store.remove(strings.ToLower(id))
}

// Groom removes the closed alerts that were last modified before the given time and returns how
// many there were. SCOM does it daily, by default after 7 days, and never to open alerts.
func (g *Group) Groom(before time.Time) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.store.settle(g.now())
	var gone []string
	for id, e := range g.store.alerts {
		if a := &e.newest.alert; a.ResolutionState == Closed && a.LastModified.Before(before) {
			gone = append(gone, id)
		}
	}
	for _, id := range gone {
		g.store.remove(id)
	}
	return len(gone)
}

// Snapshot lists the alerts that a console would show now, by id.
func (g *Group) Snapshot() []Alert {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.store.settle(g.now())
	list := make([]Alert, 0, len(g.store.alerts))
	for _, e := range g.store.alerts {
		if e.shown != nil && g.sees(&e.shown.alert) {
			list = append(list, e.shown.alert)
		}
	}
	slices.SortFunc(list, func(a, b Alert) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// Get is the alert as a console would show it now.
func (g *Group) Get(id string) (Alert, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.store.settle(g.now())
	e := g.store.alerts[strings.ToLower(id)]
	if e == nil || e.shown == nil {
		return Alert{}, false
	}
	return e.shown.alert, true
}

// Len is the number of alerts in the database, visible or not.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.store.alerts)
}

func (g *Group) now() time.Time { return g.opt.Now().UTC() }

func (g *Group) atLeast(version string) bool { return g.release >= slices.Index(versions, version) }

func (g *Group) sees(a *Alert) bool { return g.scope == nil || g.scope(a) }

// late draws a lateness; the caller holds mu.
func (g *Group) late() time.Duration {
	if g.opt.LateCommit == nil {
		return 0
	}
	return g.opt.LateCommit(g.rnd)
}

// raise adds a, to be seen from the given time on; the caller holds mu.
func (g *Group) raise(a Alert, visible time.Time) string {
	if a.ID == "" {
		a.ID = newGUID(g.rnd)
	}
	a.ID = strings.ToLower(a.ID)
	now := g.now()
	if a.LastModified.IsZero() {
		a.LastModified = now
	}
	for _, t := range []*time.Time{&a.TimeRaised, &a.TimeAdded, &a.TimeStateModified} {
		if t.IsZero() {
			*t = a.LastModified
		}
	}
	if a.LastModifiedBy == "" {
		a.LastModifiedBy = "System"
	}
	for _, t := range []*time.Time{&a.TimeRaised, &a.TimeAdded, &a.LastModified, &a.TimeResolved,
		&a.TimeStateModified, &a.StateLastModified, &a.MaintenanceChanged} {
		*t = sqlTime(*t)
	}
	g.store.add(a, now, visible)
	return a.ID
}

// change makes the next version of an alert; a negative lateness is drawn.
func (g *Group) change(id string, late time.Duration, row *HistoryRow, edit func(*Alert) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changeLocked(id, late, row, edit)
}

func (g *Group) changeLocked(id string, late time.Duration, row *HistoryRow, edit func(*Alert) bool) bool {
	e := g.store.alerts[strings.ToLower(id)]
	if e == nil {
		return false
	}
	a := e.newest.alert
	if !edit(&a) {
		return false
	}
	if late < 0 {
		late = g.late()
	}
	now := g.now()
	// Two versions of one alert never carry the same LastModified: one transaction takes longer
	// than a step of SQL Server's clock.
	if a.LastModified = sqlTime(now); !a.LastModified.After(e.newest.alert.LastModified) {
		a.LastModified = sqlNext(e.newest.alert.LastModified)
	}
	if row != nil {
		row.ID, row.TimeModified = newGUID(g.rnd), a.LastModified
		e.remember(*row)
	}
	g.store.add(a, now, now.Add(late))
	return true
}

func (a *Alert) setState(state int, by string, now time.Time) {
	a.ResolutionState, a.LastModifiedBy = state, by
	a.TimeStateModified = sqlTime(now)
	if state == Closed {
		a.ResolvedBy, a.TimeResolved = by, sqlTime(now)
	} else {
		a.ResolvedBy, a.TimeResolved = "", time.Time{}
	}
}

// newGUID draws a GUID as SCOM prints it.
func newGUID(r *rand.Rand) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var s [36]byte
	hex.Encode(s[:8], b[:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:], b[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
