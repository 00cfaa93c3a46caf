package raftnode_test

import (
	"testing"

	"scomconnector/cluster/clustertest"
)

func TestConformanceInMemory(t *testing.T) {
	for name, shape := range map[string]clustertest.Shape{"one": clustertest.One, "pair": clustertest.Pair, "three": clustertest.Three} {
		t.Run(name, func(t *testing.T) {
			clustertest.Conformance(t, clustertest.Suite{
				Shape:  shape,
				New:    func(*testing.T) clustertest.Backend { return clustertest.NewMemory(shape) },
				Bubble: true,
			})
		})
	}
}
