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
		fail(w, "the answer cannot be written as JSON: "+err.Error(), "report this as a bug")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}

// fail answers for faults of our own, which are in no table.
func fail(w http.ResponseWriter, what, hint string) {
	answerJSON(w, http.StatusInternalServerError, v1.Error{Error: what, Hint: hint})
}

// reading lets those pass who may read.
func (s *server) reading(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.mayRead(r) {
			refuse(w, errReadToken)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// mayRead takes the token as Bearer or, since a browser cannot send that, as the password of Basic. Who may write may read:
// changing begins with reading, and there is one file to give to a command.
func (s *server) mayRead(r *http.Request) bool {
	if !s.readers.set() {
		return true
	}
	given, ok := bearer(r)
	if !ok {
		_, given, _ = r.BasicAuth()
	}
	return s.readers.is(given) || s.operators.set() && s.operators.is(given)
}

// bearer is the token of the Authorization header.
func bearer(r *http.Request) (string, bool) {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(given), strings.EqualFold(scheme, "Bearer")
}

// token is a secret that requests must carry. Hashes are compared, so that neither its content nor its
// length can be learnt from the time it takes.
type token struct{ now Secret }

func (t token) set() bool { return t.now != nil }

func (t token) is(given string) bool {
	if t.now == nil {
		return false
	}
	theirs, ours := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(t.now()))
	return subtle.ConstantTimeCompare(theirs[:], ours[:]) == 1
}
