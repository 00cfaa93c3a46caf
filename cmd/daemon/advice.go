package daemon

import (
	"strings"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom"
)

// AboutConsole is what to do about a web console that failed so, with these words: the same on the page, in the log and by doctor.
func AboutConsole(class alert.FaultClass, said string) string {
	if do := bySign(said); do != "" {
		return do
	}
	switch class {
	case alert.FaultAuth:
		return doAboutLogon
	case alert.FaultTimeout:
		return "check the web console and its management server: they take too long"
	case alert.FaultCriteria:
		return "the console refuses the query: set CriteriaDateForm to the other form"
	}
	return "check that the web console is up and reachable from this node"
}

// bySign finds the cure by the words, "" if they name none. They are ours, but for what a server says behind a colon, so
// the more particular ones stand first.
func bySign(said string) string {
	for _, c := range aboutConsole {
		for _, sign := range c.signs {
			if strings.Contains(said, sign) {
				return c.do
			}
		}
	}
	return ""
}

var aboutConsole = []struct {
	signs []string
	do    string
}{
	{[]string{"belongs to the management group"}, "take that console out of ScomServers, or give it a connector of its own"},
	{[]string{"its times are not UTC"}, "set the time zone of the web console's server to UTC, or use a console that offers lastmodifiedutc"},
	{[]string{"reads dates in queries not as UTC"}, "set CriteriaDateForm to iso"},
	{[]string{"set ServicePrincipalName"}, "have the console's service name registered in the directory (setspn), or set ServicePrincipalName of that SCOM server"},
	{[]string{"no KDCs defined", "no KDC SRV records"}, "check the realm in Domain, and that Krb5ConfFile (else /etc/krb5.conf) names the KDCs of that realm"},
	{[]string{"the console is set to Network authentication"}, "set Auth of that SCOM server to network, as the console is set"},
	{[]string{"the console is set to Windows authentication"}, "set Auth of that SCOM server to windows or kerberos, as the console is set"},
	{[]string{"set the clock"}, "set this machine's clock"},
	{[]string{"offers neither NTLM nor Negotiate"}, "set Auth of that SCOM server to network, or switch on Windows authentication in IIS"},
	{[]string{"wants Windows authentication"}, "set Auth of that SCOM server to windows or kerberos"},
	{[]string{"read alerts?"}, "give the account a role that may read alerts: Read-Only Operator, or Operator, which may close them, too"},
	{[]string{"HTML came", "is the path in the console's URL right", "the console sends us to"}, "check the Url of the SCOM server in the settings: mostly https://HOST/OperationsManager"},
	{[]string{"first record does not look like a TLS handshake"}, "what answers there speaks plain HTTP: write https:// with the port of HTTPS into Url of the SCOM server, or http:// if it has none"},
	{[]string{"certificate", "x509", "tls: "}, "check the web console's certificate, and CaFile of the SCOM server in the settings"},
	{[]string{scom.NoVerdict, "log-on: HTTP 5", "HTTP 500", "HTTP 502", "HTTP 503", "HTTP 504"}, doWithoutVerdict},
}
