package doctor

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Result is what a hop came to.
type Result string

// The results. Only a hop that was tried can be OK.
const (
	OK       Result = "ok"
	Warning  Result = "warning"
	Fail     Result = "fail"
	NotTried Result = "not tried"
)

// Hop is one thing that was looked at.
type Hop struct {
	// Part is where it belongs: settings, node, disk, certificate, scom, lam, etcd, peer.
	Part   string `json:"part"`
	Name   string `json:"name"` // of the server, file or member; may be empty
	Step   string `json:"step"`
	Result Result `json:"result"`
	Seen   string `json:"seen"`
	Do     string `json:"do"` // empty where nothing is to be done
	// Milliseconds is how long it took; 0 where that says nothing.
	Milliseconds float64 `json:"ms"`
}

// Report is all hops, in the order in which an alert meets them, and what they mean together.
type Report struct {
	Node    string    `json:"node"` // NodeID; empty where node.json cannot be read
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	// OK: nothing that was tried would keep the job from running.
	OK   bool   `json:"ok"`
	Text string `json:"text"` // the same in a sentence
	Hops []Hop  `json:"hops"`
}

// Print writes a line for each hop and the sentence. Steps that were not tried for one and the same reason share a line.
func (r *Report) Print(w io.Writer) {
	for i := 0; i < len(r.Hops); i++ {
		h := r.Hops[i]
		for ; i+1 < len(r.Hops) && h.Result == NotTried && sameReason(h, r.Hops[i+1]); i++ {
			h.Step += ", " + r.Hops[i+1].Step
		}
		fmt.Fprintf(w, "%-10s %s: %s", string(h.Result), h.where(), h.Seen)
		if h.Do != "" {
			fmt.Fprintf(w, "; do: %s", h.Do)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%s\n", r.Text)
}

func sameReason(a, b Hop) bool {
	return b.Result == a.Result && b.Part == a.Part && b.Name == a.Name && b.Seen == a.Seen
}

// where names the hop in a line.
func (h Hop) where() string {
	var parts []string
	for _, p := range []string{h.Part, h.Name, h.Step} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " ")
}
