package etcdnode

import (
	"fmt"
)

// Finding is one thing that a Survey shows to be mended, in an operator's words.
type Finding struct {
	Endpoint string // empty: it is about the etcd as a whole
	Text     string
	Fatal    bool // it must be mended first
}

// Findings are what is to be mended. Without any all is well; each endpoint that works is named in working.
func (s Survey) Findings() (findings []Finding, working []string) {
	add := func(endpoint string, fatal bool, format string, args ...any) {
		findings = append(findings, Finding{endpoint, fmt.Sprintf(format, args...), fatal})
	}
	if s.Fault != "" {
		add("", true, "%s", s.Fault)
		return findings, nil
	}
	for _, e := range s.Endpoints {
		if e.Fault != "" {
			add(e.URL, !s.Works(), "%s", e.Fault)
			continue
		}
		working = append(working, fmt.Sprintf("%s (etcd %s, %.1f ms)", e.URL, e.Version, float64(e.Took.Microseconds())/1000))
		if e.Alarm != "" {
			add(e.URL, false, "it complains: %s", e.Alarm)
		}
		if e.Large() {
			add(e.URL, false, "its database has %d MB, and at its quota (%s) it takes no writes: compact and defragment it", e.SizeBytes>>20, e.Quota())
		}
	}
	if !s.Works() {
		return findings, nil
	}
	if s.Keys.Fault != "" {
		add("", true, "%s", s.Keys.Fault)
	}
	if s.Keys.Compaction == Never {
		add("", true, "%s", notCompacted)
	}
	if s.Keys.Few() {
		add("", false, "%s", s.Keys.fewWords())
	}
	return findings, working
}

// Few reports whether the etcd stops with one of its machines.
func (k Keys) Few() bool { return k.Members > 0 && k.Members < 3 }

func (k Keys) fewWords() string {
	word := "members"
	if k.Members == 1 {
		word = "member"
	}
	return fmt.Sprintf("it has %d %s: with fewer than three it stops when one machine is lost, and this cluster with it", k.Members, word)
}

// Large reports whether more than half of the quota is used, beyond which the etcd takes no writes at all.
func (s Seen) Large() bool { return s.SizeBytes > s.quota()/2 }

// Quota is the quota in words.
func (s Seen) Quota() string {
	if s.QuotaBytes == 0 {
		return "2 GB unless set"
	}
	return fmt.Sprintf("%d MB", s.QuotaBytes>>20)
}

// defaultQuota is etcd's own.
const defaultQuota = 2 << 30

func (s Seen) quota() int64 {
	if s.QuotaBytes == 0 {
		return defaultQuota
	}
	return s.QuotaBytes
}

// notCompacted: the client's interface does not show the setting, but that nothing was ever dropped.
const notCompacted = "it has never dropped an old revision: turn on auto-compaction (--auto-compaction-mode=periodic --auto-compaction-retention=1h), or its database grows until it takes no writes"
