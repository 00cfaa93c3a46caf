package api

import (
	"strings"
	"time"

	v1 "scomconnector/api/v1"
)

// now is the clock of all fixtures.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

// healthy is what the leader of a working three-node cluster shows.
func healthy() v1.Status {
	return v1.Status{
		Node: "primary", Role: "Primary", Version: "v0.1.0", LogLevel: "INFO", Cluster: "scomconnector1", Time: now, Leader: "primary", Term: 7, Epoch: 1, Token: "1.primary.7",
		Verdict: v1.Verdict{Level: v1.OK, Text: "Delivering: all that SCOM shows has reached Moogsoft.", Since: before(26 * time.Hour)},
		Totals:  v1.Totals{Processed: 1284377, Parked: 2},
		Pipelines: []v1.Pipeline{{
			Name: "alerts/default", Cursor: before(32 * time.Second), LagSeconds: 0.8, LagKnown: true, Sent: 1284377, Remembered: 812,
			LastPoll: before(time.Second), LastSent: before(9 * time.Second), Phase: "idle",
			Flow: v1.Flow{Since: before(26 * time.Hour), RatesKnown: true, Polls: v1.Step{Count: 46800, PerMinute: 30}, Read: v1.Step{Count: 90210, PerMinute: 12.6}, Sent: v1.Step{Count: 90214, PerMinute: 12.6}, Accepted: v1.Step{Count: 90209, PerMinute: 11.6}, Waiting: 1}, LatenessSeconds: 3.4,
		}},
		SCOM: []v1.Console{
			{Name: "scom1.contoso.com", URL: "https://scom1.contoso.com/OperationsManager", Priority: 1, InUse: true, State: "ok", LastOK: before(time.Second), LatencyMS: 143},
			{Name: "scom2.contoso.com", URL: "https://scom2.contoso.com/OperationsManager", Priority: 2, State: "unknown"},
		},
		LAMs: []v1.LAM{
			{Name: "moog1", URL: "https://moog1.contoso.com/events/scom_lam_microsoftscom1", Destination: "default", InUse: true, State: "ok", LastOK: before(9 * time.Second), LatencyMS: 12},
		},
		Members: []v1.Member{
			{Node: "primary", Role: "Primary", URL: "http://scomc1.contoso.com:8085", Voter: true, Leader: true, LastContact: now, Version: "v0.1.0"},
			{Node: "secondary", Role: "Secondary", URL: "http://scomc2.contoso.com:8085", Voter: true, LastContact: before(300 * time.Millisecond), Version: "v0.1.0"},
			{Node: "witness", Role: "Witness", URL: "http://scomw.contoso.com:8085", Voter: true, LastContact: before(400 * time.Millisecond), Version: "v0.1.0"},
		},
		Config: v1.ConfigState{Version: 3, Author: "alice", At: before(50 * time.Hour), Versions: []v1.SettingsVersion{
			{Version: 3, Author: "alice", At: before(50 * time.Hour)}, {Version: 2, Author: "bob", At: before(90 * time.Hour)}, {Version: 1, Author: "file of primary", At: before(900 * time.Hour)},
		}},
		Store:        v1.Store{WriteMS: 0.31, FreeBytes: 41 << 30},
		Certificates: []v1.Certificate{{Name: "ClusterTls.CertFile /etc/scomconnector/cluster.crt", Ends: now.Add(400 * 24 * time.Hour)}},
		Changes: []v1.Change{
			{At: before(26 * time.Hour), Node: "primary", Term: 7, Epoch: 1, Token: "1.primary.7", Cause: "failback", Reason: "the Primary took over again after maintenance"},
			{At: before(27 * time.Hour), Node: "secondary", Term: 6, Epoch: 1, Token: "1.primary.6", Cause: "maintenance", Reason: "asked for by alice"},
		},
	}
}

// broken is what the leader shows on a bad night.
func broken() v1.Status {
	s := healthy()
	s.Verdict = v1.Verdict{
		Level: v1.Stopped, Since: before(11 * time.Minute),
		Text: "NOT DELIVERING since 03:53 CET (02:53 UTC): LAM moog1: HTTP 502 Bad Gateway from https://moog1.contoso.com/events/scom_lam_microsoftscom1",
		Do:   "start the LAM, or the web server in front of it; nothing is lost meanwhile: SCOM keeps the alerts",
	}
	s.Totals.Parked = 27
	p := &s.Pipelines[0]
	p.LagSeconds, p.Parked, p.Phase, p.Progress = 673, 2, "waiting for the LAM", "412 alerts in hand"
	p.LastError = "LAM moog1: HTTP 502 Bad Gateway from https://moog1.contoso.com/events/scom_lam_microsoftscom1; trying again in 42 s"
	s.SCOM[1].State, s.SCOM[1].LastError, s.SCOM[1].LastOK = "failing", "connect: no route to host", before(3*24*time.Hour)
	s.LAMs[0].State, s.LAMs[0].LastError, s.LAMs[0].LastOK = "failing", "HTTP 502 Bad Gateway", before(11*time.Minute)
	s.LAMs = append(s.LAMs, v1.LAM{Name: "moog2", URL: "https://moog2.contoso.com:48003/", Destination: "default", State: "failing", LastError: "connection refused"})
	s.Members[1].Voter, s.Members[1].LastContact = false, before(5*time.Hour)
	s.Outbox, s.Refused = waiting()
	p.Flow.Accepted.PerMinute, p.Flow.Waiting = 0, 412
	s.Store = v1.Store{Fault: "write past its deadline of 10 s", WriteMS: 812}
	s.Certificates = append([]v1.Certificate{{Fault: "Tls.CertFile /etc/scomconnector/api.crt cannot be used: it holds no certificate"}}, s.Certificates...)
	s.Members[1].Fault = "secondary does not answer: connect: no route to host"
	s.Members[2].Behind = 1204
	s.Members[2].Slow = "is too slow for Timing lan: within 10 minutes it stood still 4 times for 500ms or longer, at worst 2.1s. The nodes then take each other for lost"
	s.Members[1].Maintenance, s.Members[1].Sticky = true, true
	s.Maintenance = []string{"secondary"}
	s.Notes = []v1.Note{{At: before(6 * time.Hour), Node: "secondary", Text: "3 close requests that it had accepted alone were taken over"}}
	s.Archives = []v1.Archive{{Name: "archive-2-secondary", At: before(6 * time.Hour), Epoch: 2}}
	s.Config.DiffersFromFile = true
	s.Warnings = []string{"SCOM server scom1.contoso.com: InsecureSkipVerify is set: anybody on the way can read the password", "cluster: a pair without a witness stands still when the active machine dies"}
	s.Parked = v1.Parked{Count: 25, Newest: []v1.ParkedEntry{
		{Key: "5d0c6c2e-0000-4000-8000-000000000001", Pipeline: "alerts/default", Alert: "d3144ac9-4316-45ce-94b9-f50936219e24", At: before(40 * time.Minute),
			Reason: "the LAM refused this event and accepted others", LAM: "moog1", Status: 400, Answer: `{"success":false,"message":"custom_info is no object"}`},
		{Key: "5d0c6c2e-0000-4000-8000-000000000002", Pipeline: "alerts/default", At: before(50 * time.Hour), Reason: "a row of SCOM's answer cannot be understood: it has no id"},
	}}
	return s
}

// waiting is an outbox on a bad night, and what SCOM has refused before.
func waiting() (v1.OutboxList, v1.ParkedRequestList) {
	closing := v1.OutboxEntry{ID: "00c0ffee00c0ffee", Alert: "d3144ac9-4316-45ce-94b9-f50936219e24", State: 255, From: "moogsoft from 192.0.2.20", Node: "secondary", At: before(8 * time.Minute),
		Stands: "waiting for SCOM since 02:56 UTC"}
	changing := v1.OutboxEntry{ID: "00c0ffee00c0ffef", Alert: closing.Alert, State: -1, Fields: map[string]string{"TicketId": "INC1", "Owner": "bob"}, From: "192.0.2.21", Node: "witness", At: before(time.Minute),
		Stands: "waiting behind 1 of the same alert"}
	acknowledging := closing
	acknowledging.ID, acknowledging.State, acknowledging.Comment, acknowledging.Stands = "00c0ffee00c0fff0", 249, "by the night shift", ""
	return v1.OutboxList{
		Pending: 3, Oldest: closing.At, Error: "SCOM does not answer: connect: no route to host; trying again in 42 s",
		Entries: []v1.OutboxEntry{closing, changing},
		Settled: []v1.SettledEntry{
			{ID: "00c0ffee00c0ffe0", Alert: closing.Alert, State: 255, From: "192.0.2.20", Status: "refused", Reason: "the monitor is unhealthy", Asked: before(time.Hour), At: before(59 * time.Minute)},
			{ID: "00c0ffee00c0ffe4", Alert: closing.Alert, State: 255, From: "192.0.2.20", Status: "already_closed", Reason: "unknown to SCOM: it never had this alert",
				Asked: before(70 * time.Minute), At: before(70 * time.Minute)},
			{ID: "00c0ffee00c0ffe5", Alert: closing.Alert, State: 254, From: "192.0.2.20", Status: "already_done", Asked: before(80 * time.Minute), At: before(80 * time.Minute)},
			{ID: "00c0ffee00c0ffe1", Alert: closing.Alert, State: 255, From: "192.0.2.20", Status: "closed", Asked: before(2 * time.Hour), At: before(2 * time.Hour)},
		},
	}, v1.ParkedRequestList{Count: 1, Requests: []v1.ParkedRequest{{OutboxEntry: acknowledging, Reason: "AlertMonitorUnhealthyException: the monitor is unhealthy", ParkedAt: before(59 * time.Minute)}}}
}

// standby is what another node than the leader shows.
func standby() v1.Status {
	s := healthy()
	s.Node, s.Role = "secondary", "Secondary"
	s.Verdict.Text = "Standing by: primary leads and delivers; details are on its page."
	s.Pipelines[0] = v1.Pipeline{Name: "alerts/default", Cursor: before(32 * time.Second), Sent: 1284377, Remembered: 812}
	for i := range s.SCOM {
		s.SCOM[i] = v1.Console{Name: s.SCOM[i].Name, URL: s.SCOM[i].URL, Priority: i + 1, State: "unknown"}
	}
	s.LAMs[0] = v1.LAM{Name: "moog1", URL: s.LAMs[0].URL, Destination: "default", State: "unknown"}
	return s
}

// arbitrated is what a leader shows where an etcd decides, one endpoint of which is away.
func arbitrated() v1.Status {
	s := healthy()
	s.Members = s.Members[:2]
	s.Members[0].Part, s.Members[1].Part = "ready", "without etcd"
	s.Members[1].Voter = false
	s.Etcd = &v1.Etcd{Prefix: "/scomconnector/", LeaseSeconds: 5, LeaseLeftSeconds: 3.24, Endpoints: []v1.EtcdEndpoint{
		{URL: "https://etcd1.contoso.com:2379", Version: "3.5.21", Leader: true, SizeBytes: 5 << 20, LatencyMS: 1.2},
		{URL: "https://etcd2.contoso.com:2379", Version: "3.5.21", SizeBytes: 5 << 20, LatencyMS: 1.4, Alarm: "NOSPACE"},
		{URL: "https://etcd3.contoso.com:2379", Fault: "nothing listens at etcd3.contoso.com:2379: start etcd, or correct Etcd.Endpoints"},
	}}
	return s
}

// lonely is what the survivor of a strict pair shows, whose leader is lost.
func lonely() v1.Status {
	s := standby()
	s.Leader, s.Members = "", s.Members[:2]
	s.Verdict = v1.Verdict{Level: v1.Stopped, Text: "NOT DELIVERING since 03:03:25: primary is lost.", Do: "start primary, or take over on this node's maintenance page", Since: before(40 * time.Second)}
	s.Members[0].Leader, s.Members[0].LastContact, s.Members[0].Fault = false, before(40*time.Second), "primary does not answer: i/o timeout"
	s.Takeover = v1.Takeover{Possible: true, LastHeard: before(40 * time.Second), Warnings: []string{"primary had committed 3 entries that this node does not have"}, At: now.Add(8 * time.Second)}
	return s
}

// hostile has strangers' text wherever strangers' text can come from.
func hostile() v1.Status {
	const evil = `</style></title><script>alert(1)</script><img src=x onerror=alert(2)>"'` + "`${7*7}{{.Node}}\x00\u202e"
	s := broken()
	s.Cluster, s.Version, s.Leader = evil, evil, evil
	s.Verdict.Text, s.Verdict.Do, s.Verdict.Level = evil, evil, v1.Level(evil)
	s.Pipelines[0].Name, s.Pipelines[0].LastError, s.Pipelines[0].Phase = evil, evil, evil
	s.SCOM[0].URL, s.SCOM[0].State, s.SCOM[0].LastError = "javascript:alert(1)", evil, evil
	s.LAMs[0].Name, s.LAMs[0].LastError = evil, strings.Repeat("very-long-word", 300)
	s.Members[0].URL, s.Members[1].URL, s.Members[1].Node = "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", evil
	s.Parked.Newest[0].Answer, s.Parked.Newest[0].Reason = evil, evil
	s.Warnings = []string{evil}
	s.Maintenance = []string{evil}
	s.Members[0].Slow, s.Members[1].Fault, s.Notes[0].Node, s.Notes[0].Text, s.Archives[0].Name = evil, evil, evil, evil, evil
	s.Takeover.Refusal, s.Takeover.Warnings = evil, []string{evil}
	s.Changes[0].Cause, s.Changes[0].Token, s.Token = evil, evil, evil
	s.Changes[0].Reason = evil
	s.Store.Fault, s.Certificates[0].Fault, s.Certificates[1].Name, s.Config.Author, s.Config.Versions[0].Author = evil, evil, evil, evil, evil
	s.Outbox.Error = evil
	e, d := &s.Outbox.Entries[0], &s.Outbox.Settled[0]
	e.ID, e.Alert, e.From, e.Node, e.Stands, e.Fields = evil, evil, evil, evil, evil, map[string]string{evil: evil}
	d.ID, d.Alert, d.From, d.Status, d.Reason = evil, evil, evil, evil, evil
	p := &s.Refused.Requests[0]
	p.OutboxEntry, p.Reason, p.Comment = *e, evil, evil
	s.Parked.Newest[0].Key, s.Parked.Newest[0].Pipeline, s.Parked.Newest[0].LAM = evil, evil, evil
	return s
}
