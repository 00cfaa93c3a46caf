package daemon

import (
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"

	"scomconnector/api"
	"scomconnector/cmd/settings"
)

// tokenFile is the last good content of a file that holds a token. It is read with each request, so that a new token is used without a
// restart, and the one before no more; size and time of the file would not do, since two writes within one tick of the clock look the
// same, and a line is quickly read. While the file is missing or empty the last good one stays: a half-written file must
// neither open a door nor lock out those who hold the key.
type tokenFile struct {
	key, path string
	log       hclog.Logger

	mu    sync.Mutex // guards what follows
	good  string
	fault string // of what was read last; empty: none
}

// openToken is the token in a file, which must be good at the start; an empty name is no token.
func openToken(key, path string, log hclog.Logger) (api.Secret, error) {
	if path == "" {
		return nil, nil
	}
	f := &tokenFile{key: key, path: path, log: log}
	good, err := settings.ReadToken(path)
	if err != nil {
		return nil, fmt.Errorf("%s: read the token: %w", key, err)
	}
	f.good = good
	return f.now, nil
}

func (f *tokenFile) now() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	token, err := settings.ReadToken(f.path)
	if err != nil {
		if f.fault != err.Error() {
			f.fault = err.Error()
			f.log.Warn("the token's file cannot be used; the token before stays in use", "key", f.key, "error", err)
		}
		return f.good
	}
	if token != f.good {
		f.log.Info("the token's file has changed and is used", "key", f.key)
	}
	f.good, f.fault = token, ""
	return f.good
}
