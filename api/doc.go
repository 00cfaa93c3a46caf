// Package api is what a node shows to people, load balancers and Prometheus over HTTP.
//
//	h := api.New(api.Config{ReadToken: token}, api.Deps{Status: ..., Ready: ..., Settings: ..., Log: ...})
//	srv := api.Server(h)
//	go srv.Serve(listener)
//
//	GET /                the status page, with /page.js to keep it up to date
//	GET /settings        a page with the settings in use, and those before
//	GET /act/...         pages that say what an act would do (transfer, retry, remove), with a form; POST is that form
//	GET /maintenance     a page with who leads, what would happen, and a form; POST is that form
//	GET /healthz         200 while the process can do its part, else 503 and a reason a line
//	GET /readyz          200 when this node can take a close request, else 503 and a reason a line
//	GET /leader          200 on the node that polls, else 503: for a load balancer in front of the nodes
//	GET /metrics         Prometheus
//	GET /api/v1/...      what the page shows as JSON, the settings, the outbox, the parked entries (openapi.yaml)
//	GET /api/v1/events   server-sent events of the status
//	POST /event_post/    a moobot's request to close an alert, or to change it, on any node
//	PUT, POST, DELETE    what an operator may change: settings, parked entries, who leads
//
// It knows nothing of what it shows: status crosses as one function that returns api/v1's types, so that
// a page never needs a lock of the poller's, and a slow browser never holds one. What an operator may change
// crosses as the small interfaces Settings, Parked, Cursors and Office, close requests as Submitter.
//
// The pages work without JavaScript and ask for nothing outside, because the machines they are read on have
// no way out. Names in alerts come from strangers: with a content security policy that allows no script but the node's own file, and
// that only on the status page, a hostile one stays text.
//
// The status page is a pure function of the status, and one template makes it, always: the events that keep an open page up to date
// carry the part that this template has made, and the script only puts it in place. A second renderer in JavaScript would say something
// else one day, on the night when somebody reads it. The script adds what only a browser can know: the reader's time zone, and that
// the node does not answer any more, with links to the others. Without it the browser renews the page. What changes something has
// a page of its own, so that nobody's half-typed token is renewed away, and it works the same with and without a script.
//
// Reading is open unless a read token is configured, as it was with the original's page. The three probes
// stay open even then, since a load balancer cannot log on; without the token they give no reasons.
//
// Changing needs the operator token, or, where none is configured, that the request comes from the node's own
// machine: whoever is logged on there could change the files anyway. A browser on that machine is what makes this
// dangerous, since any page it shows can send requests to localhost: so a foreign Origin is refused, and so is a name
// that somebody else's name server has pointed at this machine. The token is never taken from Basic, which browsers
// send by themselves. Every change, and every refused one, stands in the log.
//
// Close requests are under rules of their own, since moobots send no credentials, cannot be told much, and seldom ask twice: with
// or without slashes, of any Content-Type, with anything in the text but the id. Whoever can reach the node may send them, unless a
// callback token is configured. They are never slowed down, except those that cannot be understood. Every answer is JSON with
// "success", and 200 is only given for what is in the replicated outbox.
//
// The forms are under the same rules. They carry the token in a field, and a one-time code bound to
// the form and to the machine that was shown the page, since old browsers, which servers still have, send no Origin with a form.
package api
