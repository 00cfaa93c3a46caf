package raftnode_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"

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

func TestTheLinesOfWhoLeadsAreMarked(t *testing.T) {
	clustertest.TurnsAreMarked(t, clustertest.Three, func(_ *testing.T, log hclog.Logger) clustertest.Backend {
		b := clustertest.NewMemory(clustertest.Three)
		b.Log = log
		return b
	})
}
