//go:build race

package test

// raceDetector: everything takes several times as long.
const raceDetector = true
