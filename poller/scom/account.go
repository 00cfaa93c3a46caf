package scom

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"scomconnector/poller/alert"
)

// account is one user and password, shared by all consoles that use it: directories lock accounts
// after a few bad log-ons, wherever they were made, so a refusal at one console silences all, and, by the book, all nodes.
type account struct {
	name   string // DOMAIN\user, for people
	secret Secret
	book   LogonBook
	pauses []time.Duration // see Config.AuthPauses
	// turn holds a value while a log-on is under way: one at a time, so that the others learn of a
	// refusal before they make their own.
	turn chan struct{}

	mu     sync.Mutex // guards what follows
	good   bool       // the last log-on of this client was accepted
	known  Refused    // the last refusal
	booked bool       // the book has it, too
	begun  bool       // the log-on under way stands in the book as being tried
}

// LogonBook is where all nodes of a cluster keep what they know of refused log-ons, so that neither a restart nor another leader
// tries again what was refused a minute ago. Calls may overlap; those with a ctx may block until it ends.
type LogonBook interface {
	// Begin is called before a log-on with a secret that this client has not seen accepted. It returns what stands against that
	// secret, zero if nothing does. If that is over, it has written down before that the log-on is being tried, so that two whose
	// outcome nobody lived to see count as refused, for so long as pause. An error: it is not known, and no log-on may be made.
	Begin(ctx context.Context, account string, s Secret, now time.Time, pause time.Duration) (Refused, error)
	// Refuse writes down that the log-on was refused. An error: the others do not know.
	Refuse(ctx context.Context, account string, s Secret, r Refused) error
	// Accept takes away what stands against the secret.
	Accept(ctx context.Context, account string, s Secret)
	// Unjudged takes a Begin back: nobody has looked at the secret.
	Unjudged(ctx context.Context, account string, s Secret)
	// Stands is what stands against the secret as far as this node knows.
	Stands(account string, s Secret) Refused
}

// Secret stands for all that a log-on depends on: password or key, how and where it is used. It serves only to see whether that
// has changed, and tells nothing else.
type Secret [sha256.Size]byte

// Refused is a refused log-on.
type Refused struct {
	At, Until time.Time // no other try before Until
	Number    int       // of refusals in a row
	Reason    string    // the console's words
	Console   string
	// NoVerdict: it was not refused as far as anybody knows, but nobody knows what came of the last log-ons.
	NoVerdict bool
}

// Brief is the reason in a word or two: the status alone, or what the realm has against the account.
func (r Refused) Brief() string {
	if status, ok := strings.CutPrefix(r.Reason, "HTTP "); ok {
		status, _, _ = strings.Cut(status, " ")
		return clipTo(status, 50)
	}
	_, words, ok := strings.Cut(r.Reason, ": ")
	if !ok {
		words = r.Reason
	}
	words, _, _ = strings.Cut(words, " (")
	return clipTo(words, 50)
}

// bookTime bounds a look into the book, which waits for a leader; noteTime a note in it, made whoever gives up.
const (
	bookTime = 5 * time.Second
	noteTime = 2 * time.Second
)

// RefusedAccount is an account that was refused and not accepted since.
type RefusedAccount struct {
	Account string
	Refused
}

// RefusedAccounts are those in use that were refused, in the order of their consoles.
func (c *Client) RefusedAccounts() []RefusedAccount {
	var all []RefusedAccount
	seen := map[*account]bool{}
	for _, con := range c.consoles {
		a := con.account
		if seen[a] {
			continue
		}
		seen[a] = true
		a.mu.Lock()
		if a.known.Number > 0 {
			all = append(all, RefusedAccount{a.name, a.known})
		}
		a.mu.Unlock()
	}
	return all
}

func newAccount(c Console, cfg Config) *account {
	a := &account{name: c.accountName(), book: cfg.Logons, pauses: cfg.AuthPauses, turn: make(chan struct{}, 1)}
	if a.book == nil {
		a.book = noBook{}
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q", accountKey(c))
	for _, other := range cfg.Consoles {
		if accountKey(other) == accountKey(c) { // where it is used
			fmt.Fprintf(h, "%q%q", other.URL, other.ProxyURL)
		}
	}
	h.Sum(a.secret[:0])
	return a
}

// accountName is who logs on, for people.
func (c *Console) accountName() string {
	switch {
	case c.OwnAccount:
		return "the service's own account"
	case c.Auth == AuthKerberos:
		return c.User + "@" + c.Domain
	case c.Domain != "":
		return c.Domain + `\` + c.User
	}
	return c.User
}

// accountKey tells accounts apart: by all that a log-on shows to the directory. Windows ignores case in names.
func accountKey(c Console) string {
	return fmt.Sprintf("%q", []string{c.Auth, strings.ToLower(c.Domain), strings.ToLower(c.User), c.Password, c.LoginForm,
		c.ServicePrincipalName, c.Krb5Conf, string(c.Keytab), strconv.FormatBool(c.OwnAccount)})
}

func (a *account) enter(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *account) leave() { <-a.turn }

// begin reports why no log-on may be made now, a *failure; nil: one may, and it must be followed by accept, refuse or unjudged, if
// its outcome shows. The caller has the turn.
func (a *account) begin(ctx context.Context, now time.Time) error {
	if f := a.paused(now); f != nil {
		return f
	}
	a.mu.Lock()
	good := a.good
	a.begun = false
	a.mu.Unlock()
	if good { // so that a console that drops its connections does not cost a replicated command for each
		return a.refusedElsewhere(now)
	}
	ctx, cancel := context.WithTimeout(ctx, bookTime)
	defer cancel()
	stands, err := a.book.Begin(ctx, a.name, a.secret, now, a.pause(0))
	if err != nil {
		return &failure{class: alert.FaultTransport, unsent: true, err: fmt.Errorf("the log-on of %s waits: %w", a.name, err)}
	}
	if stands.Number > 0 {
		a.mu.Lock()
		a.known, a.booked = stands, true
		a.mu.Unlock()
	}
	if f := a.paused(now); f != nil {
		return f
	}
	a.mu.Lock()
	a.begun = true
	a.mu.Unlock()
	return nil
}

// refusedElsewhere looks whether another node was refused since this one was let in.
func (a *account) refusedElsewhere(now time.Time) error {
	stands := a.book.Stands(a.name, a.secret)
	if !stands.Until.After(now) {
		return nil
	}
	a.mu.Lock()
	a.good, a.known, a.booked = false, stands, true
	a.mu.Unlock()
	if f := a.paused(now); f != nil {
		return f
	}
	return nil
}

// pause is how long the account is left alone after one more refusal than number.
func (a *account) pause(number int) time.Duration { return a.pauses[min(number, len(a.pauses)-1)] }

// refuse notes a bad log-on and returns for how long the account is left alone.
func (a *account) refuse(ctx context.Context, console string, now time.Time, reason string) Refused {
	a.mu.Lock()
	a.good, a.booked = false, false
	a.known = Refused{At: now, Until: now.Add(a.pause(a.known.Number)), Number: a.known.Number + 1, Reason: reason, Console: console}
	r := a.known
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime) // whoever gave up, the others must know
	defer cancel()
	err := a.book.Refuse(ctx, a.name, a.secret, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.booked = err == nil
	return r
}

func (a *account) accept(ctx context.Context) {
	a.mu.Lock()
	news := !a.good
	a.good, a.known = true, Refused{}
	a.mu.Unlock()
	if news {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
		defer cancel()
		a.book.Accept(ctx, a.name, a.secret)
	}
}

// unjudged notes that nobody has looked at the log-on under way: it counts neither as refused nor as one whose outcome nobody saw.
func (a *account) unjudged(ctx context.Context) {
	a.mu.Lock()
	begun := a.begun
	a.begun = false
	if a.known.NoVerdict {
		a.known = Refused{}
	}
	a.mu.Unlock()
	if begun {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
		defer cancel()
		a.book.Unjudged(ctx, a.name, a.secret)
	}
}

// left is how long no log-on may be made, zero if one may.
func (a *account) left(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.known.Until.Sub(now)
	if left > 0 && a.booked && a.book.Stands(a.name, a.secret).Number == 0 { // another node was let in meanwhile
		a.known = Refused{}
		return 0
	}
	return max(0, left)
}

// LeftAlone ends the words of every failure that no console caused just now, but the pause after a refused log-on.
const LeftAlone = "so that the account is not locked"

// paused is the failure to report while no log-on may be made, else nil.
func (a *account) paused(now time.Time) *failure {
	left := a.left(now)
	if left == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.leftAlone(a.known)
}

// leftAlone is the failure to report while no log-on may be made for r.
func (a *account) leftAlone(r Refused) *failure {
	next := r.Until.UTC()
	f := &failure{class: alert.FaultAuth, away: true, unsent: true}
	if r.NoVerdict {
		f.plain = fmt.Sprintf("gave no verdict on the last two log-ons of %s; next try %s", a.name, next.Format("15:04 UTC"))
		f.err = fmt.Errorf("log-on of %s: "+NoVerdict+" on the last two; the next try is at %s, "+LeftAlone, a.name, next.Format("15:04:05 UTC"))
		return f
	}
	f.plain = fmt.Sprintf("refuses the log-on of %s (%s); next try %s", a.name, r.Brief(), next.Format("15:04 UTC"))
	f.err = fmt.Errorf("log-on of %s was refused (%s): correct user and password; the next try is at %s, "+LeftAlone, a.name, r.Reason, next.Format("15:04:05 UTC"))
	return f
}

// NoVerdict stands in the words of failures after two log-ons of which nobody knows what came of them.
const NoVerdict = "there was no verdict"

// noBook is for a client that no cluster stands behind: what it learns it remembers by itself.
type noBook struct{}

func (noBook) Begin(context.Context, string, Secret, time.Time, time.Duration) (Refused, error) {
	return Refused{}, nil
}
func (noBook) Refuse(context.Context, string, Secret, Refused) error { return errNoBook }
func (noBook) Accept(context.Context, string, Secret)                {}
func (noBook) Unjudged(context.Context, string, Secret)              {}
func (noBook) Stands(string, Secret) Refused                         { return Refused{} }

var errNoBook = errors.New("nobody else is to know")
