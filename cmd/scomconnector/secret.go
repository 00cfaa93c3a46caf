package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"golang.org/x/term"

	"scomconnector/cmd/settings"
)

const helpSecret = `Passwords and tokens may stand sealed in both settings files: "Password": "sealed:...". Only a machine
that has a key which they were sealed for can open them; the key is in the file secret.key beside node.json.

  secret keygen
      makes the key file, readable by this account only, and prints its public half. Copy the file to the
      other nodes' machines, or make a key on each and seal for all of them.
  secret seal
      reads a secret, unseen from a terminal, else from standard input, and prints what to write into the
      settings in its place: for the key of this machine, and for those that --for names.

  --node FILE  node.json, beside which the key file is (default /etc/scomconnector/node.json,
               on Windows %ProgramData%\scomconnector\node.json)
  --for KEY    the public half of another node's key (age1...); may be given several times

example: scomconnector secret seal < scom-password
`

func runSecret(t terminal, args []string) error {
	what := map[string]func(terminal, string, list) error{"keygen": secretKeygen, "seal": secretSeal}
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("secret"), args, 0)
	}
	if len(args) == 0 || what[args[0]] == nil {
		return noVerb("secret", args, "keygen or seal")
	}
	fs := flags("secret " + args[0])
	var to list
	nodeFile := fs.String("node", defaultNodeFile(), "")
	if args[0] == "seal" {
		fs.Var(&to, "for", "")
	}
	if err := parse(fs, args[1:], 0); err != nil {
		return err
	}
	return what[args[0]](t, filepath.Join(filepath.Dir(*nodeFile), settings.SecretKeyName), to)
}

func secretKeygen(t terminal, keyFile string, _ list) error {
	text, public, err := settings.NewSecretKey(time.Now())
	if err != nil {
		return err
	}
	if _, err := os.Lstat(keyFile); err == nil {
		return hinted{fmt.Errorf("%s is there already", keyFile), "it is kept, since what was sealed for it needs it; secret seal uses it, and moving it away makes room for another"}
	}
	if err := writeNew(keyFile, text); err != nil {
		return err
	}
	fmt.Fprintf(t.out, `Made %s, which the account that runs the node must be able to read, and nobody else.
Its public half, for secret seal --for on other machines:
%s
`, keyFile, public)
	return nil
}

func secretSeal(t terminal, keyFile string, others list) error {
	to, err := recipients(keyFile, others)
	if err != nil {
		return err
	}
	secret, err := askSecret(t)
	if err != nil {
		return err
	}
	sealed, err := settings.Seal(secret, to...)
	if err != nil {
		return err
	}
	fmt.Fprintln(t.out, sealed)
	return nil
}

// recipients are the public halves of this machine's keys, if it has any, and of the others.
func recipients(keyFile string, others list) ([]age.Recipient, error) {
	var to []age.Recipient
	for _, text := range others {
		r, err := settings.Recipient(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--for %w", err)}
		}
		to = append(to, r)
	}
	_, err := os.Stat(keyFile)
	if errors.Is(err, os.ErrNotExist) && len(to) > 0 {
		return to, nil
	}
	keys, err := settings.ReadSecretKey(keyFile)
	if err != nil {
		return nil, hinted{err, "--node names the node.json that the key file stands beside; --for seals for the key of another machine"}
	}
	return append(to, keys[0].Recipient()), nil
}

// maxSecret is what the settings take at most.
const maxSecret = 16 << 10

// askSecret reads a secret: twice from a terminal, where it is not seen, else all of standard input. The line's end does not
// belong to it.
func askSecret(t terminal) (string, error) {
	f, ok := t.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return pipedSecret(t.in)
	}
	read := func(prompt string) ([]byte, error) {
		fmt.Fprint(t.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(t.err)
		return b, err
	}
	first, err := read("the secret (it is not shown): ")
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	second, err := read("once more: ")
	switch {
	case err != nil:
		return "", fmt.Errorf("read the secret: %w", err)
	case !bytes.Equal(first, second):
		return "", hinted{errors.New("the two are not the same"), "nothing was sealed; run it again"}
	}
	return checkedSecret(first)
}

func pipedSecret(in io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	return checkedSecret(bytes.TrimRight(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), "\r\n"))
}

func checkedSecret(b []byte) (string, error) {
	switch {
	case len(b) == 0:
		return "", hinted{errors.New("there is no secret to seal"), "type it on the terminal, or give a file: secret seal < FILE"}
	case len(b) > maxSecret:
		return "", hinted{fmt.Errorf("the secret is larger than %d bytes", maxSecret), "no password or token is: is it the right file?"}
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return "", hinted{errors.New("the secret is UTF-16 text"), "save its file as UTF-8, or type it on the terminal"}
	case bytes.ContainsAny(b, "\r\n"):
		return "", hinted{errors.New("the secret has more than one line"), "no password or token has: is it the right file?"}
	}
	return string(b), nil
}
