package main

import (
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

// trio is three members in contact with votes; each argument is NODE=VERSION. The first leads.
func trio(versions ...string) v1.Status {
	roles := map[string]string{"primary": "Primary", "secondary": "Secondary", "witness": "Witness"}
	s := v1.Status{Time: sceneTime}
	for i, nv := range versions {
		node, version, _ := strings.Cut(nv, "=")
		if i == 0 {
			s.Leader = node
		}
		s.Members = append(s.Members, v1.Member{Node: node, Role: roles[node], Version: version, Voter: true, Leader: i == 0, LastContact: sceneTime.Add(time.Second)})
	}
	return s
}

func TestTheLeaderIsUpgradedLast(t *testing.T) {
	for _, c := range []struct {
		name   string
		status v1.Status
		next   string
		leads  bool
	}{
		{"who stands by first", trio("primary=1", "secondary=1", "witness=1"), "secondary", false},
		{"then the witness", trio("primary=1", "secondary=2", "witness=1"), "witness", false},
		{"then the leader", trio("primary=1", "secondary=2", "witness=2"), "primary", true},
		{"the secondary leads", trio("secondary=1", "primary=1", "witness=1"), "primary", false},
		{"the new one leads already", trio("secondary=2", "primary=1", "witness=2"), "primary", false},
		{"nothing left", trio("primary=2", "secondary=2", "witness=2"), "", false},
		{"back to the version before", trio("primary=3", "secondary=3"), "secondary", false},
		{"one node", trio("primary=1"), "primary", true},
	} {
		u := nextUpgrade(c.status, nil, "2")
		if u.Next != c.next || u.Leads != c.leads || u.Wait != "" {
			t.Errorf("%s: got %+v, want %q, leads %v", c.name, u, c.next, c.leads)
		}
		if len(u.Done)+len(u.Left) != len(c.status.Members) {
			t.Errorf("%s: %v and %v are not all members", c.name, u.Done, u.Left)
		}
	}
}

func TestNoNodeIsStoppedWhileTheClusterIsNotWhole(t *testing.T) {
	unready := map[string]string{}
	for want, change := range map[string]func(*v1.Status){
		"the cluster has no leader":                func(s *v1.Status) { s.Leader = "" },
		"secondary is out of contact (no answer)":  func(s *v1.Status) { s.Members[1].Fault = "no answer" },
		"secondary was not heard of":               func(s *v1.Status) { s.Members[1].LastContact = sceneTime },
		"secondary has no vote yet":                func(s *v1.Status) { s.Members[1].Voter = false },
		"secondary is 5000 log entries behind":     func(s *v1.Status) { s.Members[1].Behind = 5000 },
		"witness is not ready: it reads its store": func(*v1.Status) { unready["witness"] = "it reads its store" },
		"primary leads, and secondary, which shoul": func(s *v1.Status) {
			s.Members[1].Maintenance = true
			s.Members[1].Version, s.Members[2].Version = "2", "2"
		},
	} {
		s := trio("primary=1", "secondary=1", "witness=1")
		clear(unready)
		change(&s)
		if u := nextUpgrade(s, unready, "2"); u.Next != "" || !strings.HasPrefix(u.Wait, want) {
			t.Errorf("got %+v, want to wait: %s", u, want)
		}
	}
}
