package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Limits of the codes in forms.
const (
	// codeLife is how long a page may lie open before its form is sent: what it says of the cluster is old by then.
	codeLife = 10 * time.Minute
	// maxUsedCodes are remembered. Only forms of those who may write are, so that no stranger can fill this.
	maxUsedCodes = 1000
)

// Errors of forms.
var (
	errOldForm   = errors.New("this form is too old, or not from a page of this node that was shown to you")
	errSentForm  = errors.New("this form was sent before; nothing was done again")
	errManyForms = errors.New("too many forms were sent within ten minutes")
)

// codes makes the one-time codes that stand in forms. A code is good for one sending, for codeLife, in this process, for the
// form it stands in, and for the address it was shown to: who reads a page elsewhere cannot have another's browser send it.
//
// A code is signed rather than remembered, so that showing a page changes nothing, and nobody can push an operator's code out
// by asking for pages. Only those that were used are kept, until they would not be taken any more anyway.
type codes struct {
	key   [sha256.Size]byte
	begun time.Time // what a code tells of time counts from here, on the clock that never jumps

	mu   sync.Mutex                  // guards used
	used map[codeNonce]time.Duration // when it ends
}

type codeNonce [16]byte

func newCodes() *codes {
	c := &codes{begun: time.Now(), used: map[codeNonce]time.Duration{}}
	rand.Read(c.key[:]) // never fails, by its own promise
	return c
}

// issue makes a code for that form, shown to that address.
func (c *codes) issue(form, remoteAddr string) string {
	var nonce codeNonce
	rand.Read(nonce[:])
	code := binary.BigEndian.AppendUint64(nil, uint64(time.Since(c.begun)+codeLife))
	code = append(code, nonce[:]...)
	return base64.RawURLEncoding.EncodeToString(append(code, c.sign(code, form, remoteAddr)...))
}

func (c *codes) sign(code []byte, form, remoteAddr string) []byte {
	m := hmac.New(sha256.New, c.key[:])
	m.Write(code)
	m.Write([]byte(form + "\x00" + addressee(remoteAddr)))
	return m.Sum(nil)
}

// use takes a code once.
func (c *codes) use(code, form, remoteAddr string) error {
	raw, err := base64.RawURLEncoding.DecodeString(code)
	const signed = 8 + len(codeNonce{})
	if err != nil || len(raw) != signed+sha256.Size || !hmac.Equal(raw[signed:], c.sign(raw[:signed], form, remoteAddr)) {
		return errOldForm
	}
	now, ends := time.Since(c.begun), time.Duration(binary.BigEndian.Uint64(raw))
	if now >= ends {
		return errOldForm
	}
	nonce := codeNonce(raw[8:signed])
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, e := range c.used {
		if now >= e {
			delete(c.used, n)
		}
	}
	if _, sent := c.used[nonce]; sent {
		return errSentForm
	}
	if len(c.used) >= maxUsedCodes {
		return errManyForms
	}
	c.used[nonce] = ends
	return nil
}

// addressee is the machine behind an address. This one has several names: a browser may ask over IPv6 and send over IPv4.
func addressee(remoteAddr string) string {
	peer, err := netip.ParseAddrPort(remoteAddr)
	switch {
	case err != nil:
		return remoteAddr
	case peer.Addr().Unmap().IsLoopback():
		return "this machine"
	}
	return peer.Addr().Unmap().WithZone("").String()
}
