package settings

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
)

// SecretKeyName is the file, beside node.json and never in DataDir, whose key opens the sealed secrets of both files. It is
// local to a machine: the settings travel to every node, and into backups, and the key does not.
const SecretKeyName = "secret.key"

// A sealed secret is what age makes of it, in the letters of base64 that need no quoting anywhere.
var sealedText = base64.RawURLEncoding

// ageHeader begins whatever age has encrypted.
const ageHeader = "age-encryption.org/v1\n"

var errBrokenSeal = errors.New("is not a whole sealed secret: copy again, as one line, what scomconnector secret seal has printed")

// Seal is the reference, sealed:..., to write in place of a secret. Whoever has the key of one of the recipients opens it.
func Seal(secret string, to ...age.Recipient) (string, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return "", fmt.Errorf("seal the secret: %w", err)
	}
	_, err = io.WriteString(w, secret)
	if err = errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("seal the secret: %w", err)
	}
	return "sealed:" + sealedText.EncodeToString(out.Bytes()), nil
}

// checkSealed looks at what can be seen without the key: most of what goes wrong is a line that was copied in part.
func checkSealed(rest string) error {
	sealed, err := sealedText.DecodeString(rest)
	if err != nil || len(sealed) > 2*maxSecretBytes || !bytes.HasPrefix(sealed, []byte(ageHeader)) {
		return errBrokenSeal
	}
	return nil
}

// unseal opens a sealed secret with the key in the file. Errors name the key's file and never show what is sealed.
func unseal(rest, keyFile string) (string, error) {
	keys, err := ReadSecretKey(keyFile)
	if err != nil {
		return "", fmt.Errorf("open the sealed secret: %w", err)
	}
	all := make([]age.Identity, len(keys))
	for i, k := range keys {
		all[i] = k
	}
	sealed, err := sealedText.DecodeString(rest)
	if err != nil {
		return "", errBrokenSeal
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), all...)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return "", fmt.Errorf("open the sealed secret: it was sealed for another key than that in %s: seal it anew on this machine, or with --for %s", keyFile, keys[0].Recipient())
	}
	if err != nil {
		return "", errBrokenSeal
	}
	secret, err := io.ReadAll(io.LimitReader(r, maxSecretBytes+1))
	if err != nil || len(secret) > maxSecretBytes {
		return "", errBrokenSeal
	}
	return string(secret), nil
}

// ReadSecretKey reads the keys of a key file; the first is the one to seal for.
func ReadSecretKey(path string) ([]*age.X25519Identity, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no key file %s: copy it from the node on which it was made, or make one with scomconnector secret keygen", path)
	case err != nil:
		return nil, fmt.Errorf("key file %s: %s", path, fileTrouble(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretBytes))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %s", path, fileTrouble(err))
	}
	var keys []*age.X25519Identity
	for line := range strings.Lines(string(bytes.TrimPrefix(text, utf8BOM))) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k, err := age.ParseX25519Identity(line)
		if err != nil { // age's own words may quote the line
			return nil, fmt.Errorf("key file %s holds something else than keys that begin with AGE-SECRET-KEY-1", path)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("key file %s holds no key", path)
	}
	return keys, nil
}

// NewSecretKey is the text of a new key file, and its public half, for which secrets may be sealed anywhere.
func NewSecretKey(now time.Time) (file []byte, public string, err error) {
	k, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	public = k.Recipient().String()
	return fmt.Appendf(nil, `# KEEP THIS SECRET. It opens the sealed secrets (sealed:...) of node.json and %s.
# It belongs beside node.json, not into DataDir nor into the backups that hold the settings.
# made %s, public half: %s
%s
`, ClusterFileName, now.UTC().Format(time.DateOnly), public, k), public, nil
}

// Recipient reads the public half of a key.
func Recipient(text string) (age.Recipient, error) {
	r, err := age.ParseX25519Recipient(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("is no public key: it begins with age1, as secret keygen prints it")
	}
	return r, nil
}

// sealed is the key file of a sealed: secret.
func (s Secret) sealed() (keyFile string, ok bool) {
	if s.ref == nil || s.ref.scheme != "sealed" {
		return "", false
	}
	return s.ref.keyFile, true
}

// within reports whether path lies in the folder, or is it.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
