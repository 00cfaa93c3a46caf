package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"scomconnector/poller/scom"
)

// What was seen, and what it means: no I/O and no clock in this file.

// finding is a hop's result without its place.
type finding struct {
	result   Result
	seen, do string
}

func ok(format string, args ...any) finding { return finding{OK, fmt.Sprintf(format, args...), ""} }

func notTried(format string, args ...any) finding {
	return finding{NotTried, fmt.Sprintf(format, args...), ""}
}

// judgeName is for a name that did not resolve.
func judgeName(host string, err error) finding {
	f := finding{Fail, host + ": " + err.Error(), "check the spelling, and the DNS servers of this machine"}
	if dns, is := errors.AsType[*net.DNSError](err); is {
		switch {
		case dns.IsNotFound:
			f.seen = "no such name: " + host
		case dns.IsTimeout || dns.IsTemporary:
			f.seen, f.do = "the DNS server does not answer for "+host, "check the DNS servers of this machine"
		}
	}
	return f
}

// judgeDial is for a connection that was not made.
func judgeDial(address string, err error) finding {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, wsaConnRefused):
		return finding{Fail, address + " refuses the connection", "nothing listens there: check the port, and that the service runs"}
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return finding{Fail, address + " does not answer", "a firewall may drop it, or the machine is down: open the port from this machine"}
	}
	return finding{Fail, fmt.Sprintf("%s cannot be reached: %v", address, err), "check the network between here and there"}
}

// What Windows says where others say ECONNREFUSED and ECONNRESET.
const (
	wsaConnRefused = syscall.Errno(10061)
	wsaConnReset   = syscall.Errno(10054)
)

func isTimeout(err error) bool {
	late, is := errors.AsType[net.Error](err)
	return is && late.Timeout()
}

// expirySoon is when a server's certificate is worth a warning: a month is time to have a new one signed.
const expirySoon = 30 * 24 * time.Hour

// judgeChain is for the certificates that a server showed, whether they were accepted or not. unchecked is why nobody looked at them.
func judgeChain(chain []*x509.Certificate, err error, unchecked string, now time.Time) finding {
	end := firstEnd(chain)
	seen := ""
	if len(chain) > 0 {
		seen = fmt.Sprintf("%s, signed by %s, valid until %s (%s)", subject(chain[0]), issuer(chain[0]), end.Format(time.DateOnly), days(end.Sub(now)))
	}
	switch {
	case err != nil:
		f := judgeHandshake(err)
		if seen != "" {
			f.seen += ": " + seen
		}
		return f
	case unchecked != "":
		return finding{Warning, seen + "; not verified (" + unchecked + ")", "anybody in between can read the password: set CaFile, and take InsecureSkipVerify out"}
	case end.Sub(now) < 0: // a pin does not mind
		return finding{Warning, seen, "it is accepted since it is the one in MoogPublicKey; have it renewed some day"}
	case end.Sub(now) < expirySoon:
		return finding{Warning, seen, "have it renewed: after that day nothing is delivered"}
	}
	return ok("%s", seen)
}

func firstEnd(chain []*x509.Certificate) time.Time {
	var end time.Time
	for _, c := range chain {
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter.UTC()
		}
	}
	return end
}

func subject(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return "a certificate without a name"
}

func issuer(c *x509.Certificate) string {
	switch {
	case c.Issuer.String() == c.Subject.String():
		return "itself"
	case c.Issuer.CommonName != "":
		return c.Issuer.CommonName
	}
	return c.Issuer.String()
}

func days(d time.Duration) string {
	n := int(d / (24 * time.Hour))
	switch {
	case d < 0:
		return "it has ended"
	case n == 0:
		return "less than a day left"
	case n == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", n)
}

// judgeHandshake is for a handshake that failed.
func judgeHandshake(err error) finding {
	if _, is := errors.AsType[x509.UnknownAuthorityError](err); is {
		return finding{Fail, "the certificate is not signed by an authority that this machine trusts", "name the authority's certificate: CaFile of the SCOM server or of Etcd, MoogPublicKey of the LAM"}
	}
	if e, is := errors.AsType[x509.HostnameError](err); is {
		return finding{Fail, fmt.Sprintf("the certificate is not for %q", e.Host), "use the name that the certificate is for"}
	}
	if e, is := errors.AsType[x509.CertificateInvalidError](err); is && e.Reason == x509.Expired {
		return finding{Fail, "the certificate has ended, or is not valid yet by this machine's clock", "have it renewed on that server; check this machine's clock"}
	}
	if _, is := errors.AsType[tls.RecordHeaderError](err); is {
		return finding{Fail, "what listens there does not speak TLS", "check the port, and whether https is right"}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, wsaConnReset) {
		return finding{Fail, "it closes the connection at once", "look whether the service behind it runs, and what stands in between: a firewall, a load balancer; or whether it speaks without TLS, and http is right"}
	}
	if isTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return finding{Fail, "it took the connection, and then says nothing", "check what listens there, and what stands in between"}
	}
	if strings.Contains(err.Error(), "protocol version") {
		return finding{Fail, "it speaks no TLS 1.2 or later", "enable TLS 1.2 on that server"}
	}
	return finding{Fail, "the TLS handshake fails: " + err.Error(), "check the certificates on both sides"}
}

// judgeRights is what SCOM's word for the account's role means for the job.
func judgeRights(role string) finding {
	switch r := strings.ToLower(role); {
	case role == "":
		return finding{NotTried, "SCOM does not say which role the account has; reading is tried below, closing only with --probe-write ID", ""}
	case strings.HasPrefix(r, "read-only"):
		return finding{Warning, "role " + role + ": it may read alerts and not close them", "for close requests from Moogsoft give the account the role Operator"}
	}
	return ok("role %s: it may read and close alerts; that closing works is tried only with --probe-write ID", role)
}

// judgeVersion says what the console has shown of SCOM's version, and what that costs.
func judgeVersion(f scom.Features, group string) finding {
	var lacks []string
	for _, has := range []struct {
		what  string
		value scom.Has
	}{
		{"the CSRF token", f.CSRF}, {"alertColumns", f.AlertColumns}, {"ManagementGroup", f.ManagementGroup}, {"alertDetails (owner, ticket and custom fields cannot be written)", f.AlertDetails},
		{"resetMonitorByAlertId (CloseUnhealthyMonitor reset cannot work)", f.ResetMonitor}, {"UTC columns", f.UTCColumns},
	} {
		if has.value == scom.No {
			lacks = append(lacks, has.what)
		}
	}
	seen := f.Version()
	if group != "" {
		seen += ", management group " + group
	}
	seen += ", dates in the form " + f.DateForm + ", times " + f.Times
	if len(lacks) > 0 {
		seen += "; without " + strings.Join(lacks, ", ")
	}
	return ok("%s", seen)
}

// Clocks. Positions are SCOM's time alone, so a difference loses nothing; what people read and what Kerberos demands suffer.
const (
	clockSlack    = 5 * time.Second
	clockKerberos = 5 * time.Minute
)

// judgeClock is for how far a server's clock is ahead of this machine's, known to within unsure.
func judgeClock(ahead, unsure time.Duration, known bool) finding {
	if !known {
		return finding{Warning, "the answers carry no Date header", "positions need SCOM's clock: look what takes the header out between here and the console"}
	}
	size, word := ahead, "ahead of"
	if ahead < 0 {
		size, word = -ahead, "behind"
	}
	seen := fmt.Sprintf("its clock is %v %s this machine's (to within %v)", size.Round(time.Second), word, unsure.Round(time.Second))
	switch {
	case size <= clockSlack+unsure:
		return ok("in step with this machine's, to within %v", max(unsure, size).Round(time.Second))
	case size <= clockKerberos:
		return finding{Warning, seen, "set both by the same time server; nothing is lost, but times on page and in the log differ from SCOM's"}
	}
	return finding{Warning, seen, "set both by the same time server: beyond 5 minutes Kerberos refuses, certificates are misjudged, and Moogsoft may take alerts for old ones; nothing is lost"}
}

// lastHour counts what SCOM showed of the last hour.
type lastHour struct {
	rows, alerts, open, closed, broken int
	took                               time.Duration
	firstError                         string
}

func judgePoll(c lastHour) finding {
	seen := fmt.Sprintf("%d alerts changed in the last hour: %d open, %d closed; %d rows in %v", c.alerts, c.open, c.closed, c.rows, c.took.Round(time.Millisecond))
	if c.broken > 0 {
		return finding{Warning, fmt.Sprintf("%s; %d rows cannot be understood: %s", seen, c.broken, c.firstError), "such rows are parked and shown on the page"}
	}
	return ok("%s", seen)
}

// judgeLateness warns where the page does: at half of the sum of OverlapSeconds and SettleSeconds.
func judgeLateness(late, overlap, settle time.Duration) finding {
	if late*2 > overlap+settle {
		return finding{Warning, fmt.Sprintf("SCOM has shown a change up to %v after its time", late.Round(time.Second)), "raise OverlapSeconds; check the load of SCOM's database"}
	}
	return ok("SCOM has shown every change within %v of its time, in the present term", late.Round(time.Second))
}

// judgeGet is for what a GET at a LAM's address brought, which no LAM is made for.
func judgeGet(status int, html bool, location string, hasUser bool) finding {
	const only = "; whether it takes events, only a POST shows"
	switch {
	case status >= 300 && status < 400:
		return finding{Warning, fmt.Sprintf("GET is redirected to %s (HTTP %d)%s", location, status, only), "redirects are not followed: set MoogUrl to the LAM's final address"}
	case status == 401 || status == 403:
		if hasUser {
			return ok("it asks for a log-on (HTTP %d), as the settings expect%s", status, only)
		}
		return finding{Warning, fmt.Sprintf("it asks for a log-on (HTTP %d), and the settings name none%s", status, only), "set Username and Password of the LAM"}
	case status >= 500:
		return finding{Fail, fmt.Sprintf("GET brings HTTP %d", status), "look at the LAM and at what stands in front of it"}
	case status == 404:
		return finding{Warning, "GET brings HTTP 404: nothing is at this path" + only, "check the path in MoogUrl"}
	case html && status < 400:
		return finding{Warning, fmt.Sprintf("GET brings a web page (HTTP %d), perhaps a log-in page%s", status, only), "check the path in MoogUrl"}
	}
	return ok("something answers there (GET brings HTTP %d)%s", status, only)
}

// The file system under DataDir.
const (
	leastFree = 1 << 30  // warn: state, snapshots and logs have room for months
	noRoom    = 64 << 20 // fail: a snapshot may not fit any more
	slowSync  = 50 * time.Millisecond
	deadSync  = 500 * time.Millisecond // of the order of the cluster's deadlines
)

func judgeSpace(free uint64) finding {
	seen := fmt.Sprintf("%s free", bytesWord(free))
	switch {
	case free < noRoom:
		return finding{Fail, seen, "make room on the file system of DataDir: without it nothing can be committed, and so nothing delivered"}
	case free < leastFree:
		return finding{Warning, seen, "make room on the file system of DataDir"}
	}
	return ok("%s", seen)
}

// judgeNoWrite is for a file that could not be made, written or forced to the disk.
func judgeNoWrite(err error) finding {
	f := finding{Fail, "nothing can be written: " + err.Error(), "check the disk under DataDir"}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, errorDiskFull):
		f.seen, f.do = "nothing can be written: the disk is full", "make room on the file system of DataDir"
	case errors.Is(err, fs.ErrPermission):
		f.do = "let this account write in DataDir, or run doctor under the node's account"
	}
	return f
}

// errorDiskFull is what Windows says where others say ENOSPC.
const errorDiskFull = syscall.Errno(112)

func judgeSync(median, worst time.Duration) finding {
	seen := fmt.Sprintf("fdatasync takes %v, at worst %v", short(median), short(worst))
	switch {
	case median >= deadSync:
		return finding{Fail, seen, "the cluster would take this disk for dead: put DataDir on a local disk"}
	case median >= slowSync:
		return finding{Warning, seen, "every batch waits for it: put DataDir on a faster disk"}
	}
	return ok("%s", seen)
}

func short(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}

func bytesWord(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// conclude says what the hops mean together. spare marks those whose failure stops nothing, since another of the kind works.
func conclude(hops []Hop, spare []bool) (fine bool, text string) {
	n := map[Result]int{}
	fine = true
	for i, h := range hops {
		n[h.Result]++
		fine = fine && (h.Result != Fail || spare[i])
	}
	switch {
	case !fine:
		text = fmt.Sprintf("The job cannot run as it is set up: see the %s above.", count(n[Fail], "failure"))
	case n[Fail] > 0:
		text = fmt.Sprintf("The job can run, without what fails: see the %s above.", count(n[Fail], "failure"))
	case n[Warning] > 0:
		text = fmt.Sprintf("Nothing that was tried keeps the job from running; see the %s above.", count(n[Warning], "warning"))
	default:
		text = "Nothing that was tried keeps the job from running."
	}
	if n[NotTried] > 0 {
		text += fmt.Sprintf(" Not tried: %d.", n[NotTried])
	}
	return fine, text
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
