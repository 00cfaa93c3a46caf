package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

// crashName is the file for the stack of a crash, beside the log: a service has no other place to leave it.
const crashName = "crash.log"

// maxCrash is what the file may hold before it is put aside; one crash is some hundred KiB.
const maxCrash = 4 << 20

// KeepCrashes has a crash of this process write its stack into the folder as well.
func KeepCrashes(dir string) error {
	path := filepath.Join(dir, crashName)
	if info, err := os.Stat(path); err == nil && info.Size() > maxCrash {
		if err := os.Rename(path, path+".old"); err != nil {
			return fmt.Errorf("put crashes aside: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("file for crashes: %w", err)
	}
	return errors.Join(debug.SetCrashOutput(f, debug.CrashOptions{}), f.Close())
}
