// Package freeport gives tests addresses on loopback for programs that they start later, and keeps those addresses from everybody who asks for no port in particular.
package freeport

import "testing"

// Take is an address on 127.0.0.1 that no program listens on. Until the test ends neither a listener on port 0 nor an outgoing connection is given its port; whoever
// names the port may listen there, as often as it likes. Elsewhere than on Linux the port was only free a moment ago.
func Take(t testing.TB) string {
	t.Helper()
	address, release, err := hold()
	if err != nil {
		t.Fatalf("no free port: %v", err)
	}
	t.Cleanup(release)
	return address
}
