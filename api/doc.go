// Package api is what a node shows to people, load balancers and Prometheus over HTTP.
//
//	h := api.New(api.Config{ReadToken: token}, api.Deps{Status: ..., Ready: ..., Leader: ..., Gatherer: reg})
//	srv := api.Server(h)
//	go srv.Serve(listener)
//
//	GET /                the status page
//	GET /healthz         200 while the process serves at all
//	GET /readyz          200 when this node can take a close request, else 503 and a reason a line
//	GET /leader          200 on the node that polls, else 503: for a load balancer in front of the nodes
//	GET /metrics         Prometheus
//	GET /api/v1/status   what the page shows, as JSON (openapi.yaml)
//
// It knows nothing of what it shows: status crosses as one function that returns api/v1's types, so that
// a page never needs a lock of the poller's, and a slow browser never holds one.
//
// The page works without JavaScript and asks for nothing outside, because the machines it is read on have
// no way out, and because names in alerts come from strangers: with a content security policy that allows
// no script at all, a hostile one stays text. It is refreshed by the browser.
//
// Reading is open unless a read token is configured, as it was with the original's page. The three probes
// stay open even then, since a load balancer cannot log on; without the token they give no reasons.
package api
