package daemon

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"scomconnector/poller"
)

const (
	// warnBeforeEnd is when the page begins to warn of a certificate's end, alarmBeforeEnd when Moogsoft is told.
	warnBeforeEnd  = 60 * 24 * time.Hour
	alarmBeforeEnd = 14 * 24 * time.Hour
	// certsEvery is how often the leader asks the members; a renewed certificate clears the alarm as late.
	certsEvery = 10 * time.Minute
	// certsReread is how often the files are read for the page.
	certsReread = time.Minute
)

// certificateAlarm is the kind of the self-alert about a node's certificates, before its NodeID.
const certificateAlarm = "certificate-"

// certificate is the end of one that a node works with.
type certificate struct {
	What string    `json:"what"` // key and file; empty: there is none
	End  time.Time `json:"end"`
}

// certificates are those of this node's connections, and the authorities behind them, the first to end first. faults names files
// that cannot be read.
func (n *node) certificates() (all []certificate, faults []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := &n.certs; c.at.IsZero() || time.Since(c.at) >= certsReread {
		*c = certFiles{at: time.Now()}
		t, between := n.opts.Node.Tls, n.opts.Node.ClusterTls
		c.read("Tls.CertFile", t.CertFile)
		c.read("Tls.CaFile", t.CaFile)
		c.read("ClusterTls.CertFile", between.CertFile)
		c.read("ClusterTls.CaFile", between.CaFile)
		slices.SortStableFunc(c.ends, func(a, b certificate) int { return a.End.Compare(b.End) })
	}
	return n.certs.ends, n.certs.faults
}

// certFiles is what the files said when they were last read.
type certFiles struct {
	at     time.Time
	ends   []certificate
	faults []string
}

// read takes in the first end of all certificates in a file.
func (c *certFiles) read(key, path string) {
	if path == "" {
		return
	}
	end, err := firstEnd(path)
	if err != nil {
		c.faults = append(c.faults, fmt.Sprintf("%s %s cannot be used: %v", key, path, err))
		return
	}
	c.ends = append(c.ends, certificate{What: key + " " + path, End: end})
}

func firstEnd(path string) (end time.Time, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return end, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return end, err
		}
		if end.IsZero() || cert.NotAfter.Before(end) {
			end = cert.NotAfter.UTC()
		}
	}
	if end.IsZero() {
		return end, errors.New("it holds no certificate")
	}
	return end, nil
}

// nearestEnd is the certificate of this node that ends first; the zero value without any.
func (n *node) nearestEnd() certificate {
	if all, _ := n.certificates(); len(all) > 0 {
		return all[0]
	}
	return certificate{}
}

// certificateWarnings are for the page of the node itself.
func (n *node) certificateWarnings(now time.Time) []string {
	all, faults := n.certificates()
	out := slices.Clone(faults)
	for _, c := range all {
		if left := c.End.Sub(now); left < warnBeforeEnd {
			out = append(out, fmt.Sprintf("%s %s; renew it: %s", c.What, ending(c.End, left), howToRenew(c.What)))
		}
	}
	return out
}

func ending(end time.Time, left time.Duration) string {
	if left <= 0 {
		return "has ended on " + end.Format(time.DateOnly)
	}
	return fmt.Sprintf("ends on %s, in %d days", end.Format(time.DateOnly), int(left/(24*time.Hour)))
}

func howToRenew(what string) string {
	switch {
	case strings.HasPrefix(what, "ClusterTls.CertFile"):
		return "scomconnector cert renew"
	case strings.HasPrefix(what, "ClusterTls.CaFile"):
		return "make a new authority as scomconnector cert --help says"
	}
	return "ask whoever issued it, and replace the file; no restart is needed"
}

// watchCertificates has the leader know until when every member's certificates are good.
func (n *node) watchCertificates(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	var asked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v := n.coord.View()
		if !v.Leading {
			asked = time.Time{}
			continue
		}
		if !asked.IsZero() && time.Since(asked) < certsEvery {
			continue
		}
		asked = time.Now()
		for _, m := range v.Members {
			c, err := n.nearestEnd(), error(nil)
			if m.NodeID != v.NodeID {
				if !present(m) {
					continue // what it said last still holds
				}
				c, err = ask[certificate](ctx, n, m.NodeID, question{Ask: askCertificates})
			}
			if err == nil {
				n.mu.Lock()
				n.memberCerts[m.NodeID] = c
				n.mu.Unlock()
			}
		}
	}
}

// certificateAlarms are those of all members. One that was dropped has none any more.
func (n *node) certificateAlarms(pipeline string) []poller.Alarm {
	now := time.Now()
	var all []poller.Alarm
	n.mu.Lock()
	for id, c := range n.memberCerts {
		left := c.End.Sub(now)
		all = append(all, poller.Alarm{
			Kind: certificateAlarm + id, Raised: c.What != "" && left < alarmBeforeEnd,
			Text: fmt.Sprintf("On %s, %s %s. After that nobody connects to this node any more. Renew it: %s",
				id, c.What, ending(c.End, left), howToRenew(c.What)),
			Cleared: "The certificates of " + id + " were renewed.",
		})
	}
	n.mu.Unlock()
	slices.SortFunc(all, func(a, b poller.Alarm) int { return strings.Compare(a.Kind, b.Kind) })
	info, _ := n.state().Pipeline(pipeline)
	for _, kind := range info.Raised {
		if id, ok := strings.CutPrefix(kind, certificateAlarm); ok && !n.named(id) {
			all = append(all, poller.Alarm{Kind: kind, Cleared: id + " is no member any more."})
		}
	}
	return all
}

// named reports whether node.json names the member.
func (n *node) named(id string) bool {
	for _, m := range n.opts.Node.Members {
		if m.NodeID == id {
			return true
		}
	}
	return false
}
