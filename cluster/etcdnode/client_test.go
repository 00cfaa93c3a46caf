package etcdnode

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"scomconnector/cluster"
)

// An etcd that was away for a night is used again soon after it is back, whatever gRPC's own pauses between two attempts have grown to.
func TestAnEtcdThatIsAwayIsTriedEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last atomic.Pointer[time.Time] // gRPC dials on goroutines of its own
		refused := func(context.Context, string) (net.Conn, error) {
			now := time.Now()
			if before := last.Swap(&now); before != nil && now.Sub(*before) > redialMax*3/2 {
				t.Errorf("%v passed without an attempt", now.Sub(*before))
			}
			return nil, syscall.ECONNREFUSED
		}
		conn, err := grpc.NewClient("passthrough:///etcd", redial(), grpc.WithContextDialer(refused), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(lookAround) { // as calls do
			conn.Connect()
		}
		if at := last.Load(); at == nil || time.Since(*at) > redialMax*3/2 {
			t.Errorf("the last attempt was at %v", at)
		}
	})
}

// What is wrong with all endpoints alike is said once.
func TestEndpointsWithOneFaultAreNamedTogether(t *testing.T) {
	all := func(faults ...string) (list []cluster.Endpoint) {
		for i, f := range faults {
			list = append(list, cluster.Endpoint{URL: string(rune('a' + i)), Fault: f})
		}
		return list
	}
	for want, list := range map[string][]cluster.Endpoint{
		"etcd cannot be used: a, c: no; b: away": all("no", "away", "no"),
		"etcd cannot be used: b: no":             all(notAsked, "no"),
		"":                                       all("no", ""),
	} {
		if got := (&Node{kv: seenAs{list: list}}).endpointFaults(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// seenAs is an etcd of which only its endpoints' health is known.
type seenAs struct {
	kv
	list []cluster.Endpoint
}

func (s seenAs) Endpoints() []cluster.Endpoint { return s.list }

// An etcd that is silent is named, and what to do does not say once more what the text says.
func TestASilentEtcdIsNamed(t *testing.T) {
	n := &Node{kv: seenAs{list: []cluster.Endpoint{{URL: "http://a"}, {URL: "http://b"}}}, log: hclog.NewNullLogger()}
	n.noteTrouble(context.DeadlineExceeded)
	if n.trouble != "etcd does not answer at http://a, http://b" || strings.Contains(n.doing, "mend what the message names") {
		t.Errorf("got %q, do %q", n.trouble, n.doing)
	}
}
