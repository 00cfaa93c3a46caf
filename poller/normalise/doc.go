// Package normalise makes a Moogsoft event of a SCOM alert.
//
// It is pure: no clock, no I/O. Settings that are text in the file (severity
// table, filter, mapping) are compiled and type-checked once, by Compile, so that
// a mistake is found when the settings are read and not at 3 a.m.
package normalise
