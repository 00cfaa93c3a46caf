package raftnode_test

import (
	"testing"

	"scomconnector/cluster/clustertest"
)

func TestConformanceInMemory(t *testing.T) {
	for name, s := range map[string]struct {
		shape    clustertest.Shape
		takeover string
	}{
		"one":              {clustertest.One, ""},
		"pair":             {clustertest.Pair, "availability"},
		"pair by claim":    {clustertest.Pair, "claim"},
		"pair by operator": {clustertest.Pair, "operator"},
		"three":            {clustertest.Three, ""},
	} {
		t.Run(name, func(t *testing.T) {
			clustertest.Conformance(t, clustertest.Suite{
				Shape: s.shape,
				New: func(*testing.T) clustertest.Backend {
					b := clustertest.NewMemory(s.shape)
					b.PairTakeover = s.takeover
					return b
				},
				Bubble: true,
			})
		})
	}
}
