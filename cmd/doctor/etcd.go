package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/etcdnode"
)

// What is asked of each endpoint once there is a connection, and of the etcd as a whole.
var (
	endpointSteps = []string{"log-on", "quorum", "rights", "version", "database"}
	etcdSteps     = []string{"keys", "members", "compaction", "lease"}
)

// etcd looks at each endpoint, and then at the etcd behind them, as the node itself does.
func (e *exam) etcd(ctx context.Context) (parts []*part, look func()) {
	cfg := e.node.EtcdConfig(e.opt.Version)
	whole := e.part("etcd", "")
	for _, u := range cfg.Endpoints {
		p := e.part("etcd", u)
		p.group = "etcd"
		parts = append(parts, p)
	}
	return append(parts, whole), func() {
		var seen etcdnode.Survey
		reached := make([]bool, len(cfg.Endpoints))
		var wg sync.WaitGroup
		wg.Go(func() { seen = etcdnode.Look(ctx, cfg) })
		for i, u := range cfg.Endpoints {
			wg.Go(func() {
				parts[i].doing("connection")
				reached[i] = parts[i].endpointWire(ctx, u, cfg.TLS)
			})
		}
		wg.Wait()
		for i := range cfg.Endpoints {
			switch {
			case seen.Fault != "":
				parts[i].skip(seen.Fault, endpointSteps...)
			case !reached[i] && seen.Endpoints[i].Fault != "":
				parts[i].skip("there is no connection that can be used", endpointSteps...)
			default:
				parts[i].endpoint(seen.Endpoints[i], cfg)
			}
		}
		whole.keys(seen, cfg)
	}
}

// endpointWire looks at name, connection and TLS.
func (p *part) endpointWire(ctx context.Context, address string, settings func() (*tls.Config, error)) bool {
	target, err := url.Parse(address)
	if err != nil || target.Host == "" {
		p.add("name", finding{Fail, address + " is no address", "correct Etcd.Endpoints"})
		p.skip("there is no name", "tcp", "tls")
		return false
	}
	conf, err := settings()
	if err != nil && target.Scheme == "https" {
		p.add("tls", finding{Fail, err.Error(), "correct Etcd.CaFile, CertFile and KeyFile in node.json"})
		p.skip("the files for TLS cannot be used", "name", "tcp")
		return false
	}
	return p.wire(ctx, route{target: target, tls: conf, plain: "whoever reaches that network can read and change the keys"})
}

// endpoint tells what one has shown, up to what it lacks.
func (p *part) endpoint(s etcdnode.Seen, cfg etcdnode.Config) {
	if s.LoggedOn && s.Lacks != etcdnode.LogOn {
		p.add("log-on", judgeUser(cfg.User))
	} else if s.Lacks != etcdnode.LogOn {
		p.add("log-on", notTried("it gives no answer"))
	}
	if s.Fault != "" && s.Lacks != etcdnode.Recent {
		p.lacks(s)
		return
	}
	took := time.Now().Add(-s.Took)
	p.timed("quorum", judgeQuorum(s), took)
	p.add("rights", ok("the keys that begin with %s may be read", cfg.Prefix))
	if s.Lacks == etcdnode.Recent {
		p.add("version", judgeFault(s.Fault))
	} else {
		p.add("version", ok("etcd %s", s.Version))
	}
	p.add("database", judgeDatabase(s))
}

// lacks adds the failure where it belongs, and what was not tried for it.
func (p *part) lacks(s etcdnode.Seen) {
	found := false
	for _, step := range endpointSteps {
		switch {
		case step == string(s.Lacks):
			p.add(step, judgeFault(s.Fault))
			found = true
		case found:
			p.add(step, notTried("%s is not given", s.Lacks))
		case step == string(etcdnode.Majority):
			p.add(step, ok("it answers")) // with a refusal, and only a majority can refuse
		}
	}
}

// keys tells of the etcd as a whole.
func (p *part) keys(s etcdnode.Survey, cfg etcdnode.Config) {
	if !s.Works() {
		p.skip("no endpoint can be used", etcdSteps...)
		return
	}
	k := s.Keys
	if k.Fault != "" {
		p.add("keys", judgeFault(k.Fault))
	} else if k.Exist {
		p.add("keys", ok("those that begin with %s may be written, and are this cluster's", cfg.Prefix))
	} else {
		p.add("keys", ok("those that begin with %s may be written, and there are none yet", cfg.Prefix))
	}
	if k.Unread {
		p.skip("they cannot be read", etcdSteps[1:]...)
		return
	}
	p.add("members", judgeEtcdMembers(k))
	p.add("compaction", judgeCompaction(k.Compaction))
	p.add("lease", judgeLease(k))
}

func judgeUser(user string) finding {
	if user == "" {
		return ok("none is asked for, and the settings name no Etcd.User")
	}
	return ok("as %s", user)
}

// judgeFault is for the node's own words, which end in what to do.
func judgeFault(words string) finding {
	seen, do, cut := strings.Cut(words, ": ")
	if !cut {
		do = "look at the etcd's log, and at Etcd in node.json"
	}
	return finding{Fail, seen, do}
}

func judgeQuorum(s etcdnode.Seen) finding {
	switch {
	case !s.HasLeader:
		return finding{Warning, "it has answered, and knows no leader of the etcd now", "look again; if that lasts, look at the network between the etcd's members"}
	case s.Leader:
		return ok("a majority answers; this member leads the etcd")
	}
	return ok("a majority answers; another member leads the etcd")
}

func judgeDatabase(s etcdnode.Seen) finding {
	seen := fmt.Sprintf("%s of its quota (%s)", bytesWord(uint64(max(0, s.SizeBytes))), s.Quota())
	switch {
	case s.Full(): // at a quota that the older ones do not tell
		return finding{Fail, bytesWord(uint64(max(0, s.SizeBytes))) + ": it is full, and takes no writes: " + s.Alarm, cluster.FreeEtcd}
	case s.Alarm != "":
		return finding{Warning, seen + "; it complains: " + s.Alarm, "etcdctl alarm list, and mend what it names"}
	case s.Large():
		return finding{Warning, seen + "; at its quota it takes no writes at all", "compact and defragment it"}
	}
	return ok("%s", seen)
}

func judgeEtcdMembers(k etcdnode.Keys) finding {
	switch {
	case k.Members == 0:
		return notTried("it does not say")
	case k.Few():
		return finding{Warning, fmt.Sprintf("%d: the etcd stops when one machine is lost, and this cluster with it", k.Members), "run an etcd of three"}
	}
	return ok("%d", k.Members)
}

func judgeCompaction(c etcdnode.Compaction) finding {
	switch c {
	case etcdnode.Dropped:
		return ok("it has dropped old revisions; how often it does, it does not show")
	case etcdnode.Never:
		return finding{Fail, "it has never dropped an old revision: its database grows until it takes no writes", "turn on auto-compaction: --auto-compaction-mode=periodic --auto-compaction-retention=1h"}
	}
	return notTried("it is too young to have dropped old revisions, and the setting is not shown to clients")
}

func judgeLease(k etcdnode.Keys) finding {
	switch {
	case k.Leader != "":
		return ok("%s leads, for %v more unless it renews its lease", k.Leader, k.LeaseLeft)
	case k.Exist:
		return finding{Warning, "nobody holds the leader's lease: no node leads", "start the nodes; one that runs says on its page why it does not lead"}
	}
	return notTried("no node has run on this etcd yet")
}
