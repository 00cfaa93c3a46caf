package scomtest

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// session is a log-on at one console; another console does not know it.
type session struct {
	id, token string
	user      string
	role      string
	expires   time.Time
}

// maxSessions bounds a console's sessions: a client that logs on for each request must not eat the
// memory. The one that expires first goes.
const maxSessions = 1000

type badLogons struct{ inARow, total int }

// BadLogons counts the refused log-ons of an account at all consoles: what a domain controller sees.
func (g *Group) BadLogons(user string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.badLogons[strings.ToLower(user)]; b != nil {
		return b.total
	}
	return 0
}

// SetPassword changes an account's password; sessions that exist stay.
func (g *Group) SetPassword(user, password string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	accounts := append([]Account(nil), g.opt.Accounts...)
	for i := range accounts {
		if strings.EqualFold(accounts[i].User, user) {
			accounts[i].Password = password
		}
	}
	g.opt.Accounts = accounts
}

// logOn checks a log-on as a domain controller does, and locks accounts as one does; right is asked about the password.
func (g *Group) logOn(user string, right func(password string) bool) (Account, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := strings.ToLower(user)
	b := g.badLogons[name]
	if b == nil {
		b = &badLogons{}
		if len(g.badLogons) < 1000 { // beyond, somebody is guessing names
			g.badLogons[name] = b
		}
	}
	for _, a := range g.opt.Accounts {
		locked := g.opt.LockAfter > 0 && b.inARow >= g.opt.LockAfter
		if strings.EqualFold(a.User, user) && right(a.Password) && !locked {
			b.inARow = 0
			if a.Role == "" {
				a.Role = "Operator"
			}
			return a, true
		}
	}
	b.inARow++
	b.total++
	return Account{}, false
}

// authenticate takes the four spellings that public clients use: the body is a JSON string of the
// base64 of Windows, (Network):DOMAIN\user:password, AuthenticationMode:DOMAIN\user:password or
// Network:DOMAIN\user:password.
func (c *Console) authenticate(w http.ResponseWriter, r *request) {
	var encoded string
	if err := json.Unmarshal(r.body, &encoded); err != nil {
		refuse(w, http.StatusBadRequest, "The request body is not a JSON string.")
		return
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The input is not a valid Base-64 string.")
		return
	}
	var account Account
	var ok bool
	form, rest, split := strings.Cut(string(text), ":")
	user, password, _ := strings.Cut(rest, ":") // a password may hold colons
	switch {
	case string(text) == "Windows" && c.opt.FrontHeader != "" && r.Header.Get(c.opt.FrontHeader) != "":
		account, ok = c.group.logOn(r.Header.Get(c.opt.FrontHeader), func(string) bool { return !r.faults.WrongPassword })
	case split && (c.opt.LoginForm == "" || c.opt.LoginForm == form):
		account, ok = c.group.logOn(user, func(right string) bool { return password == right && !r.faults.WrongPassword })
	}
	if !ok {
		c.count(func(n *Counters) { n.BadLogons++ })
		c.refuse(w, c.opt.BadLogonStatus, "The user name or password is incorrect.")
		return
	}
	s := c.open(account)
	http.SetCookie(w, &http.Cookie{Name: "SCOMSessionId", Value: s.id, Path: "/", HttpOnly: true})
	if s.token != "" {
		w.Header().Add("Set-Cookie", "SCOM-CSRF-TOKEN="+url.PathEscape(s.token)+"; path=/")
	}
	writeJSON(w, map[string]string{"name": strings.ToLower(s.user), "expiryTime": s.expires.Format(wireTime), "role": s.role})
}

// open starts a session.
func (c *Console) open(a Account) *session {
	g := c.group
	g.mu.Lock()
	s := &session{id: newGUID(g.rnd), user: a.User, role: a.Role, expires: g.now().Add(g.opt.SessionLife)}
	if g.atLeast("2019UR1") {
		s.token = newToken(g.rnd)
	}
	g.mu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) == maxSessions {
		var first *session
		for _, old := range c.sessions {
			if first == nil || old.expires.Before(first.expires) {
				first = old
			}
		}
		delete(c.sessions, first.id)
	}
	c.sessions[s.id] = s
	c.counters.Logons++
	return s
}

// newToken draws a CSRF token that shows whether it was unescaped rightly: it holds + / and =, of which
// the cookie escapes only the slash, so that who takes a plus for a blank is refused.
func newToken(r *rand.Rand) string {
	var b [18]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return "+" + base64.StdEncoding.EncodeToString(b[:]) + "/+="
}

// admit checks session and token; it answers itself where it refuses.
func (c *Console) admit(w http.ResponseWriter, r *request) bool {
	cookie, err := r.Cookie("SCOMSessionId")
	if err != nil {
		c.refuse(w, c.opt.NoSessionStatus, "The session does not exist.")
		return false
	}
	c.mu.Lock()
	s := c.sessions[cookie.Value]
	if r.faults.SessionGone {
		delete(c.sessions, cookie.Value)
	}
	c.mu.Unlock()
	if s == nil || r.faults.SessionGone || !c.group.now().Before(s.expires) {
		c.refuse(w, c.opt.ExpiredStatus, "The session has expired.")
		return false
	}
	if s.token != "" && !hasToken(r, s.token) {
		c.refuse(w, c.opt.NoTokenStatus, "The anti-forgery token is missing or wrong.")
		return false
	}
	r.session = s
	return true
}

// hasToken asks for the cookie as it was given and for the header with the value unescaped.
func hasToken(r *request, token string) bool {
	cookie, err := r.Cookie("SCOM-CSRF-TOKEN")
	return err == nil && cookie.Value == url.PathEscape(token) && r.Header.Get("SCOM-CSRF-TOKEN") == token
}

func (c *Console) signOut(w http.ResponseWriter, r *request) {
	c.mu.Lock()
	delete(c.sessions, r.session.id)
	c.mu.Unlock()
	writeJSON(w, true)
}

// DropSessions forgets all log-ons, as a restart of the console's service does; those of connections, too.
func (c *Console) DropSessions() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.sessions)
	c.restarts++
}

// Sessions is the number of sessions that are open.
func (c *Console) Sessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}
