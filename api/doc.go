// Package api is what a node shows to people, load balancers and Prometheus over HTTP.
//
//	h := api.New(api.Config{ReadToken: token}, api.Deps{Status: ..., Ready: ..., Settings: ..., Log: ...})
//	srv := api.Server(h)
//	go srv.Serve(listener)
//
//	GET /                the status page
//	GET /maintenance     a page with who leads, what would happen, and a form; POST is that form
//	GET /healthz         200 while the process serves at all
//	GET /readyz          200 when this node can take a close request, else 503 and a reason a line
//	GET /leader          200 on the node that polls, else 503: for a load balancer in front of the nodes
//	GET /metrics         Prometheus
//	GET /api/v1/...      what the page shows as JSON, the settings, the outbox, the parked entries (openapi.yaml)
//	POST /event_post/    a moobot's request to close an alert, or to change it, on any node
//	PUT, POST, DELETE    what an operator may change: settings, parked entries, who leads
//
// It knows nothing of what it shows: status crosses as one function that returns api/v1's types, so that
// a page never needs a lock of the poller's, and a slow browser never holds one. What an operator may change
// crosses as the small interfaces Settings, Parked and Office, close requests as Submitter.
//
// The pages work without JavaScript and ask for nothing outside, because the machines it is read on have
// no way out, and because names in alerts come from strangers: with a content security policy that allows
// no script at all, a hostile one stays text. The status page is refreshed by the browser.
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
// The maintenance page's form is under the same rules. It carries the token in a field of its own, and a one-time code bound to
// the machine that was shown the page, since old browsers, which servers still have, send no Origin with a form.
package api
