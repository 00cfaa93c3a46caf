package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"

	v1 "scomconnector/api/v1"
)

// answerText answers a probe, one line each.
func answerText(w http.ResponseWriter, code int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(strings.NewReplacer("\r", " ", "\n", " ").Replace(l)) // a reason is one line
		text.WriteByte('\n')
	}
	w.Write([]byte(text.String()))
}

func answerJSON(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // only by a NaN or an impossible date in our own values
		fail(w, http.StatusInternalServerError, "the answer cannot be written as JSON: "+err.Error(), "report this as a bug")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}

// fail is the one place where a refusal gets its body.
func fail(w http.ResponseWriter, code int, what, hint string) {
	answerJSON(w, code, v1.Error{Error: what, Hint: hint})
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	fail(w, http.StatusNotFound, "there is nothing at this address", "the status page is at /, its figures at /api/v1/status")
}

func methodNotAllowed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	fail(w, http.StatusMethodNotAllowed, "this address can only be read", "use GET")
}

// reading lets those pass who may read.
func (s *server) reading(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.token.allows(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="scomconnector", charset="UTF-8"`)
			fail(w, http.StatusUnauthorized, "a token is needed to read",
				"send Authorization: Bearer with the content of ReadTokenFile; in a browser give it as the password, with any name")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// token is a secret that requests must carry. Hashes are compared, so that neither its content nor its
// length can be learnt from the time it takes.
type token struct {
	set bool
	sum [sha256.Size]byte
}

func newToken(secret string) token { return token{secret != "", sha256.Sum256([]byte(secret))} }

// allows takes the token as Bearer or, since a browser cannot send that, as the password of Basic.
func (t token) allows(r *http.Request) bool {
	if !t.set {
		return true
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		_, given, _ = r.BasicAuth()
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1
}

// guarded bounds every request, and tells browsers to do nothing with an answer but show it.
func guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cache-Control", "no-store")
		if r.ContentLength > maxBodyBytes {
			fail(w, http.StatusRequestEntityTooLarge, "the request body is too large", "send at most 64 KiB")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		h.ServeHTTP(w, r)
	})
}
