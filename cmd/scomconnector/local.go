package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"scomconnector/api/client"
	"scomconnector/cmd/settings"
)

// usualURL is where a node is asked that has no node.json here.
const usualURL = "http://localhost:8085"

// local is a client for this machine's own node: its node.json says where it listens, with which certificate, and where its tokens
// are, so that nobody has to type them. Whoever may read the token's file may use it.
func (n *node) local(token string) (*client.Client, error) {
	path := n.file
	if path == "" {
		path = defaultNodeFile()
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			c := client.New(usualURL, token)
			c.Name = person()
			c.HTTP.Transport = guessed{c.HTTP.Transport, path, err}
			return c, nil
		}
	}
	own, faults := settings.LoadNode(path)
	if err := faults.Err(); err != nil {
		return nil, hinted{fmt.Errorf("the node to ask is not known:\n%w", err), "--url names it, whatever stands in node.json"}
	}
	if token == "" {
		token = ownToken(own)
	}
	c := client.New(own.OwnURL(), token)
	c.Name = person()
	config, err := own.OwnTLS()
	if err != nil {
		return nil, hinted{err, "--url names the node by the name in its certificate"}
	}
	c.Trust(config)
	return c, nil
}

// guessed asks the node where one usually is, since its node.json was not found.
type guessed struct {
	http.RoundTripper
	path string
	err  error // of looking for it
}

func (g guessed) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, &guessFault{g, err}
	}
	return resp, nil
}

// guessFault is that nobody was there.
type guessFault struct {
	guessed
	err error
}

func (f *guessFault) Error() string { return f.err.Error() }
func (f *guessFault) Unwrap() error { return f.err }

// advised says where node.json was looked for, and what to do; err is what became of asking.
func (f *guessFault) advised(err error) error {
	if errors.Is(f.guessed.err, fs.ErrPermission) {
		return hinted{fmt.Errorf("this account may not look for %s, so the usual address was asked: %w", f.path, err), "run it with sudo; elsewhere --url names the node to ask"}
	}
	return hinted{fmt.Errorf("no node.json was found at %s, so the usual address was asked: %w", f.path, err),
		"--node FILE names one, init makes one; elsewhere --url names the node to ask"}
}

// ownToken is the token with which the most may be done of those that can be read here. Without any, the node says what it asks for.
func ownToken(own *settings.Node) string {
	for _, file := range []string{own.Auth.OperatorTokenFile, own.Auth.ReadTokenFile} {
		if token, err := settings.ReadToken(file); err == nil {
			return token
		}
	}
	return ""
}
