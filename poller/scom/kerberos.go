package scom

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"

	"scomconnector/poller/alert"
)

// tickets carry requests with a Kerberos ticket in each, which needs no state on the connection.
//
// The library's own sessions are not used: they log on again by themselves, in the background and twice if the first time fails,
// and here each log-on has to be counted. So both tickets are fetched by hand, and fetched anew when a sixth of their time is left.
type tickets struct {
	con   *console
	krb   *config.Config
	realm string
	key   *keytab.Keytab // nil: the password
	named *client.Client // for the name in the messages; it never speaks to anybody

	mu      sync.Mutex // guards what follows
	granter ticket     // for further tickets; getting it is the log-on
	console ticket     // for the console
}

// ticket is a ticket and its time; the zero value is none.
type ticket struct {
	messages.Ticket
	key        types.EncryptionKey
	since, end time.Time
}

// fresh: more than a sixth of its time is left. good: it has not ended yet.
func (t ticket) fresh(now time.Time) bool { return t.end.Sub(now) > t.end.Sub(t.since)/6 }
func (t ticket) good(now time.Time) bool  { return now.Before(t.end) }

func ticketOf(t messages.Ticket, d messages.EncKDCRepPart, now time.Time) ticket {
	return ticket{Ticket: t, key: d.Key, since: now, end: d.EndTime}
}

// defaultKrb5 is used where no krb5.conf is given. Addresses and reverse names are of no use behind NAT; TCP alone, since a
// ticket with many groups is too long for UDP.
const defaultKrb5 = "[libdefaults]\ndns_lookup_kdc = true\n"

func newTickets(con *console) (*tickets, error) {
	c := con.conf
	text := c.Krb5Conf
	if text == "" {
		text = defaultKrb5
	}
	krb, err := config.NewFromString(text)
	if _, partly := errors.AsType[config.UnsupportedDirective](err); err != nil && !partly { // such as includedir
		return nil, fmt.Errorf("krb5.conf: %w", err)
	}
	krb.LibDefaults.UDPPreferenceLimit = 1
	t := &tickets{con: con, krb: krb, realm: realmIn(krb, c.Domain)}
	krb.LibDefaults.DefaultRealm = t.realm
	if len(c.Keytab) > 0 {
		t.key = keytab.New()
		if err := t.key.Unmarshal(c.Keytab); err != nil {
			return nil, fmt.Errorf("keytab: %w", err)
		}
	}
	t.named = t.newClient()
	return t, nil
}

// realmIn is the realm as krb5.conf spells it; one that it does not name is in upper case, as those of Windows domains are.
func realmIn(krb *config.Config, domain string) string {
	for _, r := range krb.Realms {
		if strings.EqualFold(r.Realm, domain) {
			return r.Realm
		}
	}
	return strings.ToUpper(domain)
}

func (t *tickets) newClient() *client.Client {
	c := t.con.conf
	// Active Directory does not know the extension.
	if t.key != nil {
		return client.NewWithKeytab(c.User, t.realm, t.key, t.krb, client.DisablePAFXFAST(true))
	}
	return client.NewWithPassword(c.User, t.realm, c.Password, t.krb, client.DisablePAFXFAST(true))
}

// CloseIdleConnections closes the connections that no request uses.
func (t *tickets) CloseIdleConnections() { t.con.transport.CloseIdleConnections() }

// RoundTrip sends a request with a ticket. One that the console refuses is fetched anew once: its key may have changed.
func (t *tickets) RoundTrip(req *http.Request) (*http.Response, error) {
	for again := false; ; again = true {
		since, resp, err := t.try(req, again)
		if err != nil || !ticketRefused(resp) {
			return resp, err
		}
		if !again && time.Since(since) > time.Minute {
			continue
		}
		return resp, t.explain(req)
	}
}

// ticketRefused reports whether the web server in front of SCOM has refused the ticket.
func ticketRefused(resp *http.Response) bool {
	token, negotiates := offered(resp).token("Negotiate")
	return negotiates && token == nil && !scomSpeaks(resp)
}

// explain finds out whether a 401 is about the ticket or SCOM's own, which IIS has dressed up as its own; nil: SCOM's own.
func (t *tickets) explain(req *http.Request) error {
	hello, err := http.NewRequestWithContext(req.Context(), http.MethodGet, t.con.conf.URL+pathMode, http.NoBody)
	if err != nil {
		return err
	}
	t.con.headers(hello, request{repeatable: true})
	_, resp, err := t.try(hello, false)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if !ticketRefused(resp) {
		return nil
	}
	return &failure{class: alert.FaultAuth, away: true, unsent: true, err: fmt.Errorf(
		"log-on: the console refuses the ticket for %s: does this name belong to the account that the web console runs under (setspn -L), and are the clocks within five minutes? If not, set ServicePrincipalName",
		t.con.conf.spn())}
}

// try sends req with a ticket, a new one if anew, and says since when we have that.
func (t *tickets) try(req *http.Request, anew bool) (time.Time, *http.Response, error) {
	use, err := t.ticket(req.Context(), anew)
	if err != nil {
		return time.Time{}, nil, err
	}
	token, err := t.token(use)
	if err != nil {
		return use.since, nil, &failure{class: alert.FaultAuth, away: true, unsent: true, err: fmt.Errorf("log-on: %w", err)}
	}
	r, err := again(req.Context(), req)
	if err != nil {
		return use.since, nil, err
	}
	r.Header.Set("Authorization", "Negotiate "+base64.StdEncoding.EncodeToString(token))
	resp, err := t.con.transport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		err = buffer(resp)
	}
	return use.since, resp, err
}

// token is what shows the ticket to the console, different each time.
func (t *tickets) token(use ticket) ([]byte, error) {
	inner, err := spnego.NewNegTokenInitKRB5(t.named, use.Ticket, use.key)
	if err != nil {
		return nil, err
	}
	outer := spnego.SPNEGOToken{Init: true, NegTokenInit: inner}
	return outer.Marshal()
}

// ticket is the console's, fetched if there is none, or it is about to end, or anew.
func (t *tickets) ticket(ctx context.Context, anew bool) (ticket, error) {
	t.mu.Lock()
	have := t.console
	t.mu.Unlock()
	now := time.Now()
	if have.fresh(now) && !anew {
		return have, nil
	}
	// The library hears of no ctx, hence a goroutine.
	type fetched struct {
		ticket
		error
	}
	done := make(chan fetched, 1)
	if !t.con.client.start(func() {
		got, err := t.fetch(t.con.client.base, have)
		done <- fetched{got, err}
	}) {
		return ticket{}, ErrClosed
	}
	select {
	case got := <-done:
		if got.error != nil && have.good(now) && !anew { // it will do for a while
			t.con.client.log.Debug("no new ticket yet", "console", t.con.conf.Name, "error", got.error)
			return have, nil
		}
		return got.ticket, got.error
	case <-ctx.Done():
		return ticket{}, ctx.Err()
	}
}

// fetch asks for a new ticket in place of old; the account's turn sees to it that one fetches and the others find it.
func (t *tickets) fetch(ctx context.Context, old ticket) (ticket, error) {
	if err := t.con.account.enter(ctx); err != nil {
		return ticket{}, err
	}
	defer t.con.account.leave()
	t.mu.Lock()
	have, granter := t.console, t.granter
	t.mu.Unlock()
	if have.end != old.end && have.fresh(time.Now()) {
		return have, nil
	}
	krb := t.newClient()
	defer krb.Destroy()
	if !granter.fresh(time.Now()) {
		var err error
		if granter, err = t.logOn(ctx, krb); err != nil {
			return ticket{}, err
		}
		t.mu.Lock()
		t.granter = granter
		t.mu.Unlock()
	}
	now := time.Now()
	_, got, err := krb.TGSREQGenerateAndExchange(types.NewPrincipalName(nametype.KRB_NT_SRV_INST, t.con.conf.spn()), t.realm, granter.Ticket, granter.key, false)
	if err != nil {
		t.mu.Lock()
		t.granter = ticket{} // perhaps the realm has a new key
		t.mu.Unlock()
		return ticket{}, t.explainKDC(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.console = ticketOf(got.Ticket, got.DecryptedEncPart, now)
	return t.console, nil
}

// logOn shows password or key to the realm, once.
func (t *tickets) logOn(ctx context.Context, krb *client.Client) (ticket, error) {
	if err := t.con.account.begin(ctx, time.Now()); err != nil {
		return ticket{}, err
	}
	now := time.Now()
	ask, err := messages.NewASReqForTGT(t.realm, t.krb, krb.Credentials.CName())
	if err != nil {
		t.con.account.unjudged(ctx)
		return ticket{}, &failure{class: alert.FaultAuth, away: true, unsent: true, err: fmt.Errorf("log-on: %w", err)}
	}
	got, err := krb.ASExchange(t.realm, ask, 0)
	if err != nil && accountRefused(err) {
		return ticket{}, t.con.refusedLogOn(ctx, t.realm+": "+kdcWords(err))
	}
	if err != nil {
		if kdcError.MatchString(err.Error()) { // an answer, which is about something else
			t.con.account.unjudged(ctx)
		}
		return ticket{}, t.explainKDC(err)
	}
	t.con.account.accept(ctx)
	return ticketOf(got.Ticket, got.DecryptedEncPart, now), nil
}

// The library hands the KDC's answer on as text alone, such as "KRB Error: (24) KDC_ERR_PREAUTH_FAILED Pre-authentication
// information was invalid". It says by itself that the password is wrong where the realm does not ask for proof first.
var kdcError = regexp.MustCompile(`K(?:DC|RB_AP)_ERR_[A-Z_]+`)

const libraryRefused = "client password/keytab incorrect"

// refusals are the answers that are about the account, in an operator's words.
var refusals = map[string]string{
	"KDC_ERR_PREAUTH_FAILED":      "wrong password or key",
	"KDC_ERR_CLIENT_REVOKED":      "the account is locked or disabled",
	"KDC_ERR_KEY_EXPIRED":         "the password has expired",
	"KDC_ERR_C_PRINCIPAL_UNKNOWN": "the realm has no such account",
	"KDC_ERR_POLICY":              "the account may not log on now",
	"KDC_ERR_NAME_EXP":            "the account has expired",
}

func accountRefused(err error) bool {
	return refusals[kdcError.FindString(err.Error())] != "" || strings.Contains(err.Error(), libraryRefused)
}

func kdcWords(err error) string {
	code := kdcError.FindString(err.Error())
	if words := refusals[code]; words != "" {
		return words + " (" + code + ")"
	}
	return "wrong password or key"
}

// explainKDC is a failure that says nothing about the account.
func (t *tickets) explainKDC(err error) *failure {
	f := &failure{class: alert.FaultTransport, away: true, unsent: true, err: fmt.Errorf("log-on: no ticket from %s: %s", t.realm, clip(err.Error()))}
	switch code := kdcError.FindString(err.Error()); code {
	case "KDC_ERR_S_PRINCIPAL_UNKNOWN":
		f.class, f.err = alert.FaultAuth, fmt.Errorf("log-on: the realm %s knows no service %s (%s): register it (setspn -S), or set ServicePrincipalName to the name under which the console is known", t.realm, t.con.conf.spn(), code)
	case "KRB_AP_ERR_SKEW":
		f.class, f.err = alert.FaultAuth, fmt.Errorf("log-on: the clock of this machine and that of %s are more than five minutes apart (%s): set the clock", t.realm, code)
	case "KDC_ERR_ETYPE_NOSUPP":
		f.class, f.err = alert.FaultAuth, fmt.Errorf("log-on: %s offers no encryption that we speak (%s): allow AES for the account", t.realm, code)
	}
	return f
}

// CheckKerberos looks at what a log-on to the realm needs, without one.
func CheckKerberos(realm, user string, keys []byte, krb5Conf string) error {
	t, err := newTickets(&console{conf: Console{Auth: AuthKerberos, Domain: realm, User: user, Keytab: keys, Krb5Conf: krb5Conf}})
	if err != nil {
		return err
	}
	if t.key == nil {
		return nil
	}
	var has []string
	for _, e := range t.key.Entries {
		name := strings.Join(e.Principal.Components, "/") + "@" + e.Principal.Realm
		if name == user+"@"+t.realm {
			return nil
		}
		if !slices.Contains(has, name) {
			has = append(has, name)
		}
	}
	return fmt.Errorf("the keytab has no key of %s@%s, only of %s", user, t.realm, clip(strings.Join(has, ", ")))
}
