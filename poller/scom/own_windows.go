//go:build windows

package scom

import (
	"fmt"

	"github.com/alexbrainman/sspi"
	"github.com/alexbrainman/sspi/negotiate"
)

// own proves by the account that this program runs under: Windows holds the password, and chooses between Kerberos and NTLM.
type own struct{ spn string }

func newOwnAccount(spn string) (proof, error) { return own{spn}, nil }

func (own) schemes() []string { return []string{"Negotiate"} }

func (o own) begin() (handshake, error) {
	cred, err := negotiate.AcquireCurrentUserCredentials()
	if err != nil {
		return nil, fmt.Errorf("the service's own account: %w", err)
	}
	return &ownHandshake{spn: o.spn, cred: cred}, nil
}

type ownHandshake struct {
	spn  string
	cred *sspi.Credentials
	ctx  *negotiate.ClientContext
	done bool
}

func (h *ownHandshake) next(challenge []byte) (message []byte, err error) {
	if h.ctx == nil {
		h.ctx, message, err = negotiate.NewClientContext(h.cred, h.spn)
		return message, err
	}
	if h.done {
		return nil, fmt.Errorf("the console goes on asking after Windows has shown all it has for %s", h.spn)
	}
	h.done, message, err = h.ctx.Update(challenge)
	return message, err
}

func (h *ownHandshake) end() {
	if h.ctx != nil {
		h.ctx.Release()
	}
	h.cred.Release()
}
