package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"scomconnector/api/client"
	"scomconnector/cmd/settings"
)

// node is a running node to ask, and how.
type node struct {
	url, tokenFile string
	file           string // node.json of this machine's node, which is asked where no url is given
	ca, cert, key  string // files for a url with https, as PEM
	json, yes      bool
}

// nodeFlags are the flags of all commands that speak to a running node; yes is only for those that change something.
func nodeFlags(fs *flag.FlagSet, changes bool) *node {
	var n node
	fs.StringVar(&n.url, "url", "", "")
	fs.StringVar(&n.file, "node", "", "")
	fs.StringVar(&n.tokenFile, "token-file", "", "")
	fs.StringVar(&n.ca, "ca", "", "")
	fs.StringVar(&n.cert, "cert", "", "")
	fs.StringVar(&n.key, "key", "", "")
	fs.BoolVar(&n.json, "json", false, "")
	if changes {
		fs.BoolVar(&n.yes, "yes", false, "")
	}
	return &n
}

func (n *node) client() (*client.Client, error) {
	token := ""
	if n.tokenFile != "" {
		var err error
		token, err = settings.ReadToken(n.tokenFile)
		if err != nil {
			return nil, hinted{fmt.Errorf("read the token: %w", err), "--token-file names the file that the node's OperatorTokenFile names"}
		}
	}
	if n.url == "" {
		if n.ca+n.cert+n.key != "" {
			return nil, usageError{errors.New("--ca, --cert and --key are for --url: of this machine's own node node.json says all that")}
		}
		return n.local(token)
	}
	c := client.New(n.url, token)
	c.Name = person()
	if n.ca+n.cert+n.key == "" {
		return c, nil
	}
	config, err := n.tls()
	if err != nil {
		return nil, err
	}
	c.Trust(config)
	return c, nil
}

// tls believes the authority of --ca, and none besides, and shows the certificate of --cert.
func (n *node) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.ca != "" {
		text, err := os.ReadFile(n.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca: %s holds no certificate in PEM form", n.ca)
		}
	}
	switch {
	case n.cert == "" && n.key == "":
		return config, nil
	case n.cert == "" || n.key == "":
		return nil, usageError{errors.New("--cert and --key belong together")}
	}
	pair, err := tls.LoadX509KeyPair(n.cert, n.key)
	if err != nil {
		return nil, fmt.Errorf("--cert and --key: %w", err)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}

// person is who types this, for the node's audit: several people share a token.
func person() string {
	name := os.Getenv("USER")
	if name == "" {
		name = os.Getenv("USERNAME")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name)
}

// advised is a node's refusal, or why there was no answer, with what to do in terms of this command.
func advised(err error) error {
	refusal, ok := errors.AsType[*client.Error](err)
	switch {
	case !ok:
		return err
	case refusal.Code == http.StatusUnauthorized:
		return hinted{err, "on the node's own machine run it as who may read OperatorTokenFile (sudo); elsewhere --token-file FILE gives its content; to read, that of ReadTokenFile will do"}
	case refusal.Code == http.StatusPreconditionFailed:
		return hinted{err, "run the command again: it starts from the settings that are in use now"}
	case refusal.Code == http.StatusNotFound && strings.Contains(refusal.Message, "of the settings"):
		return hinted{err, "scomconnector config show --versions lists them, config show without --version shows the one in use"}
	case refusal.Code == 0:
		if f, is := errors.AsType[*guessFault](err); is {
			return f.advised(err)
		}
		if hint := tlsHint(err); hint != "" {
			return hinted{err, hint}
		}
		return hinted{err, refusal.Hint + " (--url names the node to ask)"}
	}
	return hinted{err, refusal.Hint}
}

// noVerb is for a command without one of its first words: it names what was typed, and what there is.
func noVerb(command string, args []string, known string) error {
	switch {
	case len(args) == 0:
		return usageError{fmt.Errorf("%s needs what to do: %s", command, known)}
	case strings.HasPrefix(args[0], "-"):
		return usageError{fmt.Errorf("%s needs what to do before the flags: %s", command, known)}
	}
	return usageError{fmt.Errorf("%s has no %q: only %s", command, clip(args[0], 40), known)}
}

// argument reads flags that may stand before and behind the one argument; it is empty if there is none.
func argument(fs *flag.FlagSet, args []string) (string, error) {
	if err := parse(fs, args, len(args)); err != nil || fs.NArg() == 0 {
		return "", err
	}
	found := fs.Arg(0)
	return found, parse(fs, fs.Args()[1:], 0)
}

// agreed asks before something is changed.
func (n *node) agreed(t terminal, question string) (bool, error) {
	if n.yes {
		return true, nil
	}
	if f, ok := t.in.(*os.File); n.json || ok && !term.IsTerminal(int(f.Fd())) {
		return false, hinted{errors.New("nothing was changed: nobody is there to agree"), "--yes agrees beforehand"}
	}
	fmt.Fprintf(t.out, "%s [y/N] ", question)
	line, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil && line == "" {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

func printJSON(t terminal, v any) error {
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// tlsHint is what to do about a connection that the one side's certificates forbid; empty: it is something else.
func tlsHint(err error) string {
	if _, is := errors.AsType[x509.UnknownAuthorityError](err); is {
		return "--ca FILE names the authority's certificate, as PEM"
	}
	// What the node says of a client's certificate; the types of these alerts are crypto/tls's own.
	if said, is := errors.AsType[*net.OpError](err); is && said.Op == "remote error" && slices.Contains([]string{"tls: bad certificate", "tls: certificate required"}, said.Err.Error()) {
		return "the node asks for a certificate of an authority in its Tls.CaFile (Tls.RequireClientCert): --cert FILE and --key FILE show yours"
	}
	return ""
}
