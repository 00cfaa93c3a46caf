package clustertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// Filled is a state that has something of every part, and several of most.
func Filled(t testing.TB) *state.State {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := state.New()
	token := state.Token{Epoch: state.Epoch{Number: 1, Node: "primary"}, Term: 2}
	do := func(op state.Op) {
		t.Helper()
		b, err := state.Encode(state.Command{Token: token, Op: op})
		if err != nil {
			t.Fatal(err)
		}
		if res, _, err := s.Apply(0, 0, b); err != nil || res.Err != nil {
			t.Fatalf("%T: %v, %v", op, err, res.Err)
		}
	}
	do(state.TermStart{Node: "primary", ClusterID: "0123456789abcdef0123456789abcdef", Cause: "formed", Reason: "the cluster was formed", At: at})
	do(state.SetManagementGroup{Name: "MG1"})
	for v := range uint64(3) {
		do(state.SetConfig{Expect: v, Text: fmt.Appendf(nil, `{"ConnectorName": "c%d"}`, v), Author: "anna", At: at})
	}
	do(state.SetMaintenance{Node: "secondary", On: true, Sticky: true, Author: "anna", At: at})
	do(state.NoteLogon{Account: `CONTOSO\svc`, Secret: 7, Event: state.LogonRefused, At: at, Until: at.Add(time.Hour), Reason: "wrong password", Console: "scom1", Node: "primary"})
	do(state.AdoptNote{Node: "secondary", Epoch: state.Epoch{Number: 1, Node: "secondary"}, Text: "it had gone on alone", At: at})
	for p, name := range []string{"default", "second"} {
		for i := range 40 {
			now := alert.MillisOf(at.Add(time.Duration(i) * time.Minute))
			c := state.Commit{Pipeline: name, Start: i == 0, Cursor: now, Floor: now - 1000, Raised: []string{fmt.Sprint("kind", i%3)}}
			for k := range 30 {
				c.Sent = append(c.Sent, alert.Version{ID: numbered(p*10_000 + i*100 + k), LastModified: now - alert.Millis(k), State: uint8(k)})
			}
			if i%8 == 0 {
				v := alert.Version{ID: numbered(p*10_000 + i*100 + 99), LastModified: now}
				c.Handled = append(c.Handled, v)
				c.Parked = []state.Parked{{Key: v.ID, Version: v, At: at, Reason: "refused", LAM: "lam", Status: 400, Answer: "no", Payload: []byte{1, 2, 3}}}
			}
			do(c)
		}
	}
	for i := range 12 {
		// Not in the order of their IDs: their order is that of their acceptance.
		do(state.Accept{Request: state.Request{ID: requestID(i), Key: fmt.Sprint("k", i), Alert: numbered(50_000 + i), State: 255, Comment: "closed", From: "moogsoft", Node: "primary", At: at}, MaxEntries: 100, MaxBytes: 1 << 20})
	}
	do(state.Begin{Begun: []state.Begun{{ID: requestID(4), Seen: alert.MillisOf(at)}}})
	do(state.Settle{At: at, Settled: []state.Settlement{
		{ID: requestID(0), Outcome: state.Done}, {ID: requestID(3), Outcome: state.Already}, {ID: requestID(7), Outcome: state.Refused, Reason: "no such alert"}}})
	return s
}

func requestID(i int) string { return fmt.Sprintf("%016x", (i*7919+13)%9973) }

func numbered(n int) (id alert.ID) {
	binary.BigEndian.PutUint32(id[:], uint32(n)*2654435761)
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

// Bytes are those of the state's snapshot, but for the numbers that place close requests: only their order is part of the state.
func Bytes(t testing.TB, s *state.State) []byte {
	t.Helper()
	c, err := s.Clone()
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range c.Outbox(state.MaxOutbox) {
		st := c.Stored(state.Part{Kind: state.PartOutbox, Request: q.ID})
		st.Order = uint64(i + 1)
		if err := c.Install(state.Stored{Part: st.Part}, st); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := c.Snapshot().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
