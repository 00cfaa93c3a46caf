package api

import "net/http"

// guards are in the head of every answer, and tell browsers to do nothing with it but show it. This is the one table: a page that
// needs more sets its own value in place of the one here, as the pages with a form or a script do with the policy.
var guards = []struct{ name, value string }{
	{"Content-Security-Policy", policy},
	{"X-Content-Type-Options", "nosniff"},           // text of a stranger's is never taken for a page
	{"X-Frame-Options", "DENY"},                     // for browsers that do not know frame-ancestors
	{"Referrer-Policy", "no-referrer"},              // the address of a node is nobody else's business
	{"Cross-Origin-Resource-Policy", "same-origin"}, // no other site shows or measures what is here
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Permissions-Policy", "camera=(), geolocation=(), microphone=()"},
	{"Cache-Control", "no-store"}, // alerts do not stay in a browser's folder
}

// guarded bounds every request, and puts the guards into every answer.
func guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, g := range guards {
			w.Header().Set(g.name, g.value)
		}
		if r.ContentLength > maxBodyBytes {
			turnAway(w, r, errTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		h.ServeHTTP(w, r)
	})
}
