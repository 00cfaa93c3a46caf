// Package scom reads alerts from SCOM's web consoles over REST (1801 or later).
//
// Nothing in it was checked against a live SCOM: the documentation is thin, so it
// decodes leniently (strings, numbers and nulls are interchangeable, columns may
// be missing or in any order) and keeps every assumption about SCOM in wire.go.
package scom
