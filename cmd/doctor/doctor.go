package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"scomconnector/api/client"
	"scomconnector/cluster"
	"scomconnector/cmd/settings"
)

// Options say what to look at, and how far to go.
type Options struct {
	NodeFile    string
	ClusterFile string // empty: beside NodeFile
	Version     string // of this program
	// URL and Token are of the running node; an empty URL is the one that node.json names.
	URL, Token string
	// ProbeWrite is an alert to close, as proof that the account may; empty: nothing is written to SCOM.
	ProbeWrite string
	// ProbeLAM posts two marked test events to each LAM.
	ProbeLAM bool
	// Force logs on although the account is being left alone.
	Force bool
	// Progress is told what is being looked at; nil: nobody is.
	Progress func(doing string)
}

// all bounds the whole examination: what is slow is said to be so.
const all = 2 * time.Minute

// exam is one run.
type exam struct {
	opt     Options
	node    *settings.Node
	cluster *settings.Cluster // nil: there are none that can be used
	why     string            // why not
	live    *running
}

// part collects the hops of one server; only its own goroutine touches it.
type part struct {
	exam *exam
	kind string
	of   string
	// group is the console's list, the LAM's destination or the etcd: of several that serve the same, one that works is enough.
	group string
	hops  []Hop
}

func (e *exam) part(kind, name string) *part { return &part{exam: e, kind: kind, of: name} }

func (p *part) add(what string, f finding) {
	p.hops = append(p.hops, Hop{Part: p.kind, Name: p.of, Step: what, Result: f.result, Seen: f.seen, Do: f.do})
}

// timed is add with the time since start.
func (p *part) timed(what string, f finding, start time.Time) {
	p.add(what, f)
	p.hops[len(p.hops)-1].Milliseconds = float64(time.Since(start).Microseconds()) / 1000
}

// skip names steps that were not tried, and why.
func (p *part) skip(why string, steps ...string) {
	for _, s := range steps {
		p.add(s, notTried("%s", why))
	}
}

func (p *part) doing(what string) {
	if f := p.exam.opt.Progress; f != nil {
		f(strings.TrimSpace(p.kind + " " + p.of + " " + what))
	}
}

// works reports whether this console, LAM or etcd could do its work: nothing failed, and what comes last before the work was tried.
func (p *part) works() bool {
	last := map[string]string{"scom": "poll", "lam": "path", "etcd": "database"}[p.kind]
	reached := false
	for _, h := range p.hops {
		if h.Result == Fail {
			return false
		}
		reached = reached || h.Step == last && h.Result != NotTried
	}
	return reached
}

// Run looks at everything, all servers at the same time. It takes at most two minutes.
func Run(ctx context.Context, opt Options) Report {
	ctx, cancel := context.WithTimeout(ctx, all)
	defer cancel()
	e := &exam{opt: opt}
	checked := settings.CheckFiles(opt.NodeFile, opt.ClusterFile)
	r := Report{Version: opt.Version, Time: time.Now().UTC()}
	e.read()
	node := e.part("node", "")
	if e.node == nil {
		node.add("", notTried("node.json cannot be used"))
	} else {
		r.Node, node.of = e.node.NodeID, e.node.NodeID
		node.doing("status")
		e.live = e.askNode(ctx, node)
	}
	parts := []*part{e.settings(checked), node}
	if e.node != nil {
		parts = append(parts, e.lookAround(ctx, checked)...)
	}
	works := map[string]bool{}
	for _, p := range parts {
		works[p.group] = works[p.group] || p.group != "" && p.works()
	}
	var spare []bool
	for _, p := range parts {
		r.Hops = append(r.Hops, p.hops...)
		// Of members a cluster can do without some, and this node alone does not know without which.
		spare = append(spare, slices.Repeat([]bool{p.kind == "peer" || works[p.group]}, len(p.hops))...)
	}
	r.OK, r.Text = conclude(r.Hops, spare)
	return r
}

// lookAround examines all servers, each in a goroutine of its own, and the node's disk.
func (e *exam) lookAround(ctx context.Context, checked settings.Report) []*part {
	parts := []*part{e.part("disk", "")}
	jobs := []func(){func() { parts[0].disk() }}
	parts = append(parts, e.certificates(checked.Ends))
	consoles, lookAtConsoles := e.consoles(ctx)
	parts, jobs = append(parts, consoles...), append(jobs, lookAtConsoles)
	lams, lookAtLAMs := e.lams(ctx)
	parts, jobs = append(parts, lams...), append(jobs, lookAtLAMs...)
	if e.node.Coordination == "etcd" {
		ends, lookAtEtcd := e.etcd(ctx)
		parts, jobs = append(parts, ends...), append(jobs, lookAtEtcd)
	}
	for _, m := range e.node.Members {
		if m.NodeID == e.node.NodeID {
			continue
		}
		p := e.part("peer", m.NodeID)
		parts, jobs = append(parts, p), append(jobs, func() { p.peer(ctx, m) })
	}
	var wg sync.WaitGroup
	for _, job := range jobs {
		wg.Go(job)
	}
	wg.Wait()
	return parts
}

// read takes the settings that Check has judged.
func (e *exam) read() {
	n, faults := settings.LoadNode(e.opt.NodeFile)
	if len(faults) > 0 {
		return
	}
	e.node = n
	if n.Role == cluster.Witness {
		e.why = "a witness speaks neither to SCOM nor to Moogsoft"
		return
	}
	path := e.clusterFile()
	s, faults := settings.LoadCluster(path, settings.Options{Dir: n.Dir})
	if len(faults) > 0 {
		e.why = settings.ClusterFileName + " cannot be used: see above"
		return
	}
	e.cluster = s
}

func (e *exam) clusterFile() string {
	if e.opt.ClusterFile != "" {
		return e.opt.ClusterFile
	}
	return filepath.Join(e.node.Dir, settings.ClusterFileName)
}

// inUse takes the settings that the running cluster uses in place of the file's, where these are others or there is no file. Its plain
// secrets are not shown by a node; the file's serve where it names the same servers.
func (e *exam) inUse(ctx context.Context, c *client.Client, p *part, differs bool) {
	if e.node.Role == cluster.Witness || e.cluster != nil && !differs {
		return
	}
	theirs, err := c.Settings(ctx, 0)
	if err != nil {
		e.stayWithFile(p, "the settings in use cannot be read: "+err.Error())
		return
	}
	own, _ := os.ReadFile(e.clusterFile()) // without it the plain secrets stay hidden
	name := fmt.Sprintf("settings version %d", theirs.Version)
	s, faults := settings.ParseCluster(name, settings.Unmasked([]byte(theirs.Text), own), settings.Options{Dir: e.node.Dir})
	if len(faults) > 0 {
		e.stayWithFile(p, faults[0].String())
		return
	}
	seen := fmt.Sprintf("version %d is in use, and what follows is about it", theirs.Version)
	if e.cluster != nil {
		p.add("settings", finding{Warning, seen + "; the file differs", "scomconnector config diff " + settings.ClusterFileName})
	} else {
		p.add("settings", ok("%s", seen))
	}
	e.cluster = s
}

func (e *exam) stayWithFile(p *part, why string) {
	if e.cluster == nil {
		p.add("settings", notTried("%s", why))
		e.why = "neither the file nor the settings in use can be used: see above"
		return
	}
	p.add("settings", finding{Warning, "the file differs from the settings in use, and what follows is about the file: " + why, "scomconnector config diff " + settings.ClusterFileName})
}

// settings turns what check says into hops.
func (e *exam) settings(checked settings.Report) *part {
	p := e.part("settings", "")
	for _, n := range checked.Notes {
		p.add("", ok("%s", n))
	}
	for _, f := range checked.Warnings {
		if e.live.answers() && (f.Key == "ListenAddress" || f.Key == "ClusterAddress") {
			continue // who listens there is this node, as it has just said
		}
		p.add("", finding{Warning, f.String(), ""})
	}
	for _, f := range checked.Faults {
		p.add("", finding{Fail, f.String(), "mend it, then look again; scomconnector check tries the files alone"})
	}
	return p
}

// certificates lists the ends of those in files; check has judged them.
func (e *exam) certificates(ends []settings.End) *part {
	p := e.part("certificate", "")
	for _, end := range ends {
		p.of = end.Key
		f := finding{OK, fmt.Sprintf("%s ends on %s (%s)", end.Path, end.At.Format(time.DateOnly), days(time.Until(end.At))), ""}
		if end.Soon {
			f.result, f.do = Warning, "see the settings above"
		}
		p.add("", f)
	}
	if len(ends) == 0 {
		p.add("", notTried("the settings name no certificate file"))
	}
	return p
}

func joined(list []string) string { return strings.Join(list, ", ") }
