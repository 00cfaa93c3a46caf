//go:build !windows

package journal

import "errors"

func openEvents() (events, error) {
	return events{}, errors.New("only Windows has one")
}
