package scomtest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // NTLM is made of it
)

// NTLMOptions describe IIS' Windows authentication in front of a console, as [MS-NTHT] and [MS-NLMP] say: a log-on belongs to a
// connection, and is a challenge between two messages on that one. It needs Serve, which knows of connections.
type NTLMOptions struct {
	// Offers are the schemes in WWW-Authenticate, by default Negotiate and then NTLM. Under Negotiate plain NTLM messages are taken
	// as well, as IIS does.
	Offers []string
	// NoKeepAlive closes the connection after every answer but those of a handshake.
	NoKeepAlive bool
	// EachRequest forgets the log-on after each request (authPersistSingleRequest).
	EachRequest bool
	// DropEvery drops the connection in the middle of every n-th handshake: in turn before the challenge, and right after it.
	DropEvery int
}

// gateState is what IIS knows of one connection.
type gateState struct {
	challenge []byte // sent, and waiting for its answer
	user      string // DOMAIN\user; empty: not logged on
	broken    bool   // a handshake failed; some servers never take another one on that connection
	restarts  int    // of the console, when this was learnt
}

// gate is IIS in front of the console. It reports whether the request may pass; else it has answered.
func (c *Console) gate(w http.ResponseWriter, r *http.Request) bool {
	o := c.opt.NTLM
	conn, ok := r.Context().Value(connKey{}).(*connState)
	if !ok {
		http.Error(w, "scomtest: NTLM needs Serve", http.StatusInternalServerError)
		return false
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	g := &conn.gate
	c.mu.Lock()
	restarts := c.restarts
	c.mu.Unlock()
	if g.restarts != restarts {
		*g = gateState{restarts: restarts}
	}
	scheme, message, shown := shownBy(r)
	switch {
	case shown && !slices.ContainsFunc(o.Offers, func(s string) bool { return strings.EqualFold(s, scheme) }), g.broken:
		c.refuseConn(w, "")
		return false
	case shown && len(message) > 12 && bytes.HasPrefix(message, ntlmSignature) && message[8] == 1:
		c.challenge(w, g, scheme)
		return false
	case shown:
		user, err := c.answerOf(g, message)
		if err != nil {
			g.broken = true
			c.refuseConn(w, "")
			return false
		}
		g.user = user
		c.count(func(n *Counters) { n.Handshakes++ })
	case g.user == "":
		c.refuseConn(w, "")
		return false
	}
	r.Header.Set(gateHeader, g.user)
	if o.EachRequest {
		g.user = ""
	}
	if o.NoKeepAlive {
		w.Header().Set("Connection", "close")
	}
	return true
}

// gateHeader is set by the gate alone, on requests that have passed it.
const gateHeader = "X-Scomtest-User"

func shownBy(r *http.Request) (scheme string, message []byte, ok bool) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok {
		return "", nil, false
	}
	message, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return scheme, nil, true
	}
	return scheme, message, true
}

// refuseConn answers 401, with a page as long as IIS' own.
func (c *Console) refuseConn(w http.ResponseWriter, challenge string) {
	c.offer(w.Header(), challenge)
	w.Header().Set("Content-Type", "text/html; charset=us-ascii")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, htmlPage, "401 - Unauthorized: Access is denied due to invalid credentials."+strings.Repeat("<!-- padding -->", 300))
}

// offer puts WWW-Authenticate into an answer; IIS does so with every 401, also SCOM's own.
func (c *Console) offer(h http.Header, challenge string) {
	h.Del("WWW-Authenticate")
	if challenge != "" {
		h.Set("WWW-Authenticate", challenge)
		return
	}
	for _, scheme := range c.opt.NTLM.Offers {
		h.Add("WWW-Authenticate", scheme)
	}
}

// challenge answers the first message.
func (c *Console) challenge(w http.ResponseWriter, g *gateState, scheme string) {
	c.mu.Lock()
	c.handshakes++
	n, every := c.handshakes, c.opt.NTLM.DropEvery
	c.mu.Unlock()
	drop := every > 0 && n%every == 0
	if drop && n/every%2 == 0 {
		panic(http.ErrAbortHandler)
	}
	if drop {
		w.Header().Set("Connection", "close")
	}
	g.user = ""
	g.challenge = make([]byte, 8)
	c.group.mu.Lock()
	binary.LittleEndian.PutUint64(g.challenge, c.group.rnd.Uint64())
	c.group.mu.Unlock()
	c.refuseConn(w, scheme+" "+base64.StdEncoding.EncodeToString(challengeMessage(g.challenge, c.group.now())))
}

var ntlmSignature = []byte("NTLMSSP\x00")

func challengeMessage(challenge []byte, now time.Time) []byte {
	const flags = 0x00000001 | 0x00000004 | 0x00000200 | 0x00008000 | 0x00010000 | 0x00080000 | 0x00800000 | 0x20000000 | 0x80000000
	target := utf16le("CONTOSO")
	var info []byte
	pair := func(id uint16, value []byte) {
		info = binary.LittleEndian.AppendUint16(info, id)
		info = binary.LittleEndian.AppendUint16(info, uint16(len(value)))
		info = append(info, value...)
	}
	pair(2, target)
	pair(1, utf16le("SCOM1"))
	pair(4, utf16le("contoso.com"))
	pair(3, utf16le("scom1.contoso.com"))
	pair(7, binary.LittleEndian.AppendUint64(nil, uint64(now.UnixNano()/100)+116444736000000000))
	pair(0, nil)

	const head = 48
	m := append([]byte{}, ntlmSignature...)
	m = binary.LittleEndian.AppendUint32(m, 2)
	m = appendField(m, len(target), head)
	m = binary.LittleEndian.AppendUint32(m, flags)
	m = append(m, challenge...)
	m = append(m, make([]byte, 8)...)
	m = appendField(m, len(info), head+len(target))
	return append(append(m, target...), info...)
}

func appendField(m []byte, size, offset int) []byte {
	m = binary.LittleEndian.AppendUint16(m, uint16(size))
	m = binary.LittleEndian.AppendUint16(m, uint16(size))
	return binary.LittleEndian.AppendUint32(m, uint32(offset))
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func fromUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// field is one of a message's fields: length, room, offset at position at.
func field(m []byte, at int) ([]byte, error) {
	if len(m) < at+8 {
		return nil, errors.New("the message is too short")
	}
	size, offset := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
	if offset+size > len(m) {
		return nil, errors.New("a field lies outside the message")
	}
	return m[offset : offset+size], nil
}

// answerOf checks the last message and says who has logged on. What is not an answer to this connection's challenge never
// reaches a directory, and is no bad log-on.
func (c *Console) answerOf(g *gateState, m []byte) (string, error) {
	challenge := g.challenge
	g.challenge = nil
	if challenge == nil || !bytes.HasPrefix(m, ntlmSignature) || len(m) < 12 || m[8] != 3 {
		return "", errors.New("no answer to a challenge of this connection")
	}
	proof, err1 := field(m, 20)
	domain, err2 := field(m, 28)
	user, err3 := field(m, 36)
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", err
	}
	if len(proof) <= 24 {
		return "", errors.New("that is version 1, or nobody")
	}
	name := fromUTF16(domain) + `\` + fromUTF16(user)
	_, ok := c.group.logOn(name, func(password string) bool {
		key := hmacMD5(ntHash(password), utf16le(strings.ToUpper(fromUTF16(user))+fromUTF16(domain)))
		return subtle.ConstantTimeCompare(hmacMD5(key, challenge, proof[16:]), proof[:16]) == 1 && !c.Faults().WrongPassword
	})
	if !ok {
		c.count(func(n *Counters) { n.BadLogons++ })
		return "", errors.New("the user name or password is incorrect")
	}
	return name, nil
}

func ntHash(password string) []byte {
	h := md4.New()
	h.Write(utf16le(password))
	return h.Sum(nil)
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
