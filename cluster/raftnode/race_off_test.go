//go:build !race

package raftnode_test

const raceDetector = false
