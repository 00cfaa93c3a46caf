package etcdnode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// A node starts on a full outbox at once: its keys are read in their order, which is not that of the requests.
func TestAFullOutboxIsReadAtOnce(t *testing.T) {
	const requests = 50_000
	items := make([]keyValue, 0, requests)
	for i := range requests {
		id := fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15)
		st := state.StoredRequest(state.Request{ID: id, Alert: alert.ID{byte(i), byte(i >> 8), byte(i >> 16), 9}, State: 255, Comment: "closed", Node: "primary", At: time.Now().UTC()})
		items = append(items, keyValue{Key: st.Part.String(), Value: st.Content, Create: int64(i + 1), Mod: int64(i + 1)})
	}
	slices.SortFunc(items, func(a, b keyValue) int { return strings.Compare(a.Key, b.Key) })
	began := time.Now()
	r := newReplica()
	if err := r.loaded(requests+1, items); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second { // in the order of the keys 5,000 took 10 s, and four times that for twice as many
		t.Errorf("it took %v", took)
	}
	if n, _, _ := r.state.OutboxInfo(); n != requests {
		t.Errorf("%d requests wait, want %d", n, requests)
	}
	if first := r.state.Outbox(1)[0].ID; first != fmt.Sprintf("%016x", 0) {
		t.Errorf("the first is %s", first)
	}
}
