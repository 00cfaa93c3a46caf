package scom

import (
	"fmt"
	"net/url"
	"slices"
)

// newCarrier is what the console's requests go through.
func newCarrier(con *console) (carrier, error) {
	switch c := con.conf; {
	case c.OwnAccount:
		own, err := newOwnAccount(c.spn())
		if err != nil {
			return nil, err
		}
		return newLanes(con, own), nil
	case c.Auth == AuthWindows:
		return newLanes(con, newNTLM(c)), nil
	case c.Auth == AuthKerberos:
		return newTickets(con)
	}
	return con.transport, nil
}

// completeAuth checks what belongs to the way of logging on.
func (c *Console) completeAuth() error {
	if !slices.Contains([]string{AuthNetwork, AuthWindows, AuthKerberos}, c.Auth) {
		return fmt.Errorf("web console %s: auth %q: must be network, windows or kerberos", c.Name, c.Auth)
	}
	if c.OwnAccount && c.Auth == AuthNetwork {
		return fmt.Errorf("web console %s: network authentication needs user and password: the service's own account has no password to show", c.Name)
	}
	if c.Auth == AuthKerberos && !c.OwnAccount && c.Domain == "" {
		return fmt.Errorf("web console %s: kerberos needs the realm as the account's domain", c.Name)
	}
	if len(c.Keytab) > 0 && c.Auth != AuthKerberos {
		return fmt.Errorf("web console %s: a keytab is of use only with kerberos", c.Name)
	}
	return nil
}

// spn is what the console is called in the directory.
func (c *Console) spn() string {
	if c.ServicePrincipalName != "" {
		return c.ServicePrincipalName
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return "" // complete has parsed it
	}
	return "HTTP/" + u.Hostname()
}
