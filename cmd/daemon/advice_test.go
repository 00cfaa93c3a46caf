package daemon

import (
	"strings"
	"testing"

	"scomconnector/poller/alert"
)

// What was seen from real failures, and the cure that belongs to it: a page with "log-on" in its explanation is not a wrong password.
func TestTheAdviceBelongsToTheFault(t *testing.T) {
	for _, c := range []struct {
		class      alert.FaultClass
		said, want string
	}{
		{alert.FaultTransport, "HTML came instead of JSON: wrong path in the console's URL, or a log-on page", "check the Url"},
		{alert.FaultTransport, "log-on: HTTP 503 Service Unavailable", "application pool"},
		{alert.FaultTransport, "HTTP 404 Not Found: is the path in the console's URL right (usually /OperationsManager)?", "check the Url"},
		{alert.FaultTimeout, "no answer within 10s", "take too long"},
		{alert.FaultTransport, "no connection: dial tcp 10.0.0.1:443: connect: connection refused", "reachable from this node"},
		{alert.FaultTransport, "no connection: x509: certificate signed by unknown authority: set CaFile to the authority that signed it", "CaFile"},
		{alert.FaultTransport, "no connection: tls: first record does not look like a TLS handshake", "plain HTTP"},
		{alert.FaultAuth, `log-on of C\svc was refused (HTTP 401 Unauthorized): correct user and password; the next try is at 04:10:15 UTC, so that the account is not locked`, "Password"},
		{alert.FaultAuth, `log-on: the console wants Windows authentication: set "Auth" of this server to windows or kerberos, or use another console`, "set Auth"},
		{alert.FaultAuth, `refused although the log-on was accepted a moment ago: may C\svc read alerts? session over (HTTP 403 Forbidden)`, "role that may read"},
		{alert.FaultTransport, "this console belongs to the management group B, and the other consoles to A: it is not used", "take that console out"},
		{alert.FaultCriteria, "the console refused the query: HTTP 400 Bad Request: The criteria could not be parsed.", "CriteriaDateForm"},
		{alert.FaultTransport, "no connection: [Root cause: Networking_Error] Networking_Error: AS Exchange Error: no KDCs defined in configuration for realm NOWHERE.COM", "Krb5ConfFile"},
		{alert.FaultTransport, "no KDC SRV records found for realm NOWHERE.COM", "realm in Domain"},
		{alert.FaultAuth, `log-on of C\svc was refused (HTTP 401 Unauthorized (the console is set to Network authentication)): correct user and password; the next try is at 04:10:15 UTC`, "Auth of that SCOM server to network"},
		{alert.FaultTransport, "its times are not UTC but 2:00 h ahead of it", "time zone"},
	} {
		if got := AboutConsole(c.class, "SCOM console scom1 does not answer as it should: "+c.said); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want it to contain %q", c.said, got, c.want)
		}
	}
}
