// Package alert holds the values that cross every floor: an alert as SCOM shows
// it, the key of one of its versions, and what was asked and answered about it.
//
// It has no behaviour of its own beyond reading and printing those values, and
// it imports nothing but the standard library, so that the parts that must not
// know each other (poller, scom, publisher, state) can still speak of one thing.
package alert
