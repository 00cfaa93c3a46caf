package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Secret is a reference to a password or token. It never prints what it refers to: not with %v, not with %#v, not as JSON.
// The zero Secret is "none given".
type Secret struct {
	// ref is a pointer so that not even a formatter that ignores our methods (a Secret in
	// somebody's unexported field) reaches the text.
	ref *reference
}

type reference struct {
	scheme  string // "env", "file", "sealed", "plain", schemeAddress
	rest    string // what follows the colon; for file an absolute path, or one relative to the working folder
	keyFile string // of "sealed"
}

// schemeAddress marks an address without a password, where a reference to one with a password could have stood.
const schemeAddress = "address"

// acceptedSecret is what a message offers in place of a bare password.
const acceptedSecret = "env:NAME, file:PATH, sealed:..., plain:TEXT"

// maxSecretBytes bounds a secret's file: a token or password is a line, and a path that
// leads to a log file by mistake must not become a request header.
const maxSecretBytes = 16 << 10

var (
	errBareSecret = errors.New("must say where the secret is kept, it must not be the secret itself. " +
		"Encrypted text from the original connector cannot be read: type the password anew")
	errEmptySecret = errors.New("names nothing after the colon")
)

// ParseSecret reads a reference. A relative file path starts at dir, where also the key of sealed secrets is. The empty text is the
// zero Secret.
func ParseSecret(text, dir string) (Secret, error) {
	if text == "" {
		return Secret{}, nil
	}
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "env", "file", "sealed", "plain":
	default:
		return Secret{}, errBareSecret
	}
	if rest == "" {
		return Secret{}, errEmptySecret
	}
	if scheme == "plain" && rest == hidden {
		return Secret{}, errMaskedSecret
	}
	ref := &reference{scheme: scheme, rest: rest}
	switch scheme {
	case "file":
		ref.rest = resolvePath(rest, dir)
	case "sealed":
		ref.keyFile = resolvePath(SecretKeyName, dir)
		if err := checkSealed(rest); err != nil {
			return Secret{}, err
		}
	}
	return Secret{ref}, nil
}

// IsZero reports whether no secret was given.
func (s Secret) IsZero() bool { return s.ref == nil }

// Resolve reads the secret now. A file's trailing line end does not belong to it. The error names the
// variable or the file, never the content. The zero Secret resolves to nothing.
func (s Secret) Resolve() (string, error) {
	if s.ref == nil {
		return "", nil
	}
	switch s.ref.scheme {
	case "env":
		v, ok := os.LookupEnv(s.ref.rest)
		if !ok || v == "" {
			return "", fmt.Errorf("the environment variable %s is not set for this process", s.ref.rest)
		}
		return v, nil
	case "file":
		return readSecretFile(s.ref.rest)
	case "sealed":
		return unseal(s.ref.rest, s.ref.keyFile)
	}
	return s.ref.rest, nil
}

func readSecretFile(path string) (string, error) {
	text, err := readLine(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read the secret: %w: write it into that file, as its only line", err)
	case err != nil:
		return "", fmt.Errorf("read the secret: %w", err)
	}
	return text, nil
}

// ReadToken reads a file that holds a token and nothing else, as editors write it; blanks around it do not count.
func ReadToken(path string) (string, error) {
	text, err := readLine(path)
	if err != nil {
		return "", err
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}

// readLine is the file's text without what editors put before and behind it.
func readLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSecretBytes {
		return "", fmt.Errorf("%s is larger than %d bytes, which no password is", path, maxSecretBytes)
	}
	if isUTF16(b) { // PowerShell's > writes so
		return "", fmt.Errorf("%s is UTF-16 text: save it as UTF-8", path)
	}
	b = bytes.TrimPrefix(b, utf8BOM) // Windows editors put one in front
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return string(b), nil
}

// String is the reference, with the text of a plain secret hidden.
func (s Secret) String() string {
	if s.ref == nil {
		return ""
	}
	if s.ref.scheme == "plain" {
		return "plain:" + hidden
	}
	if s.ref.scheme == schemeAddress {
		return s.ref.rest
	}
	return s.ref.scheme + ":" + s.ref.rest
}

// hidden stands for what is not shown.
const hidden = "(hidden)"

// GoString is String: %#v must not show more than %v.
func (s Secret) GoString() string { return s.String() }

// Format prints String whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText is String; it covers JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// file is the path of a file: secret.
func (s Secret) file() (string, bool) {
	if s.ref == nil || s.ref.scheme != "file" {
		return "", false
	}
	return s.ref.rest, true
}

// plain reports whether the secret stands in the settings themselves.
func (s Secret) plain() bool { return s.ref != nil && s.ref.scheme == "plain" }

// Ref is one secret of a file with the key that holds it.
type Ref struct {
	Key    string
	Line   int
	Secret Secret
}

// resolvePath makes path absolute relative to dir. One of another system stays as it is everywhere: joined to a folder, the message
// about it would show a path that nobody wrote.
func resolvePath(path, dir string) string {
	if path == "" || dir == "" || filepath.IsAbs(path) || path[0] == '/' || isWindowsPath(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func isWindowsPath(p string) bool {
	if p[0] == '\\' { // of a share, or of the drive that is in use
		return true
	}
	return len(p) >= 3 && p[1] == ':' && (p[2] == '\\' || p[2] == '/') && ('a' <= p[0]|0x20 && p[0]|0x20 <= 'z')
}
