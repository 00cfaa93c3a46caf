//go:build race

package raftnode_test

// raceDetector: everything takes several times as long.
const raceDetector = true
