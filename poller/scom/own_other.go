//go:build !windows

package scom

import "errors"

// newOwnAccount is for Windows, where a service has an account that the directory knows.
func newOwnAccount(string) (proof, error) {
	return nil, errors.New("only a service on Windows has an account of its own that a web console knows: set user and password")
}
