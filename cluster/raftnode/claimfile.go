package raftnode

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"scomconnector/cluster/datadir"
)

// fileClaims keeps claims as files of a folder on a share that both nodes reach, one "claim-EPOCH" each. The file is made with
// O_CREATE|O_EXCL, the one thing that every file server does for one caller only, and its content is written under its final
// name: a rename could replace what another node has made. A file whose content is not complete is therefore somebody's, only
// not known whose.
//
// A share that is out of reach answers nothing, and nothing ends the call: each access runs in a goroutine of its own, and only
// one at a time, so that at most one is stuck.
type fileClaims struct {
	dir     string
	slot    chan struct{} // taken while an access to the share is under way, its caller waiting or not
	looking chan struct{} // taken while somebody looks whether the share is there, see place
}

// FileClaims is the arbiter in a folder. The folder is made by people: one that this node made itself, because the share was not
// mounted, would be an arbiter for one.
func FileClaims(dir string) Claims {
	return &fileClaims{dir: dir, slot: make(chan struct{}, 1), looking: make(chan struct{}, 1)}
}

// claimReread is the pause before a claim that is not completely written is read again.
const claimReread = 20 * time.Millisecond

// maxClaim bounds what is read: ours have 200 bytes.
const maxClaim = 4 << 10

func (f *fileClaims) path(epoch uint64) string {
	return filepath.Join(f.dir, fmt.Sprintf("claim-%d", epoch))
}

// Claim makes the claim; see Claims.
func (f *fileClaims) Claim(ctx context.Context, epoch uint64, by Claim) (Claim, error) {
	text, err := json.Marshal(by)
	if err != nil {
		return Claim{}, err
	}
	err = f.access(ctx, func() error { return writeClaim(f.path(epoch), text) })
	switch {
	case err == nil:
		return by, nil
	case !errors.Is(err, fs.ErrExist):
		return Claim{}, fmt.Errorf("make %s: %w", f.path(epoch), err)
	}
	owner, found, err := f.Owner(ctx, epoch)
	switch {
	case err != nil:
		return Claim{}, err
	case !found:
		return Claim{}, fmt.Errorf("%s was there and is gone: nothing in this folder may be deleted", f.path(epoch))
	}
	return owner, owner.sameCluster(by.ClusterID)
}

// Owner reads the claim; see Claims.
func (f *fileClaims) Owner(ctx context.Context, epoch uint64) (owner Claim, found bool, err error) {
	for seen := false; ; seen = true {
		var text []byte
		err := f.access(ctx, func() error {
			var err error
			text, err = readClaim(f.path(epoch))
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			return f.none(ctx)
		}
		over := ctx.Err() != nil
		if err != nil && (!seen || !over) {
			return Claim{}, false, fmt.Errorf("read %s: %w", f.path(epoch), err)
		}
		if err == nil && json.Unmarshal(text, &owner) == nil && owner.ClusterID != "" && owner.NodeID != "" {
			return owner, true, nil
		}
		if over || !pause(ctx, claimReread) {
			return Claim{}, false, fmt.Errorf("%s is not completely written: whoever made it was interrupted; while neither node leads and neither writes it, an operator may delete it", f.path(epoch))
		}
	}
}

// none: there is no such file. Without its folder that says nothing: the share may not be mounted.
func (f *fileClaims) none(ctx context.Context) (Claim, bool, error) {
	err := f.access(ctx, func() error { return isFolder(f.dir) })
	return Claim{}, false, err
}

// access does one thing on the share, and returns when it is done or ctx has ended: then it may still happen.
func (f *fileClaims) access(ctx context.Context, do func() error) error {
	select {
	case f.slot <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("the share of %s hangs: an earlier access has not ended: %w", f.dir, ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		<-f.slot
		return err
	}
	return awaitShare(ctx, f.dir, func() error {
		defer func() { <-f.slot }()
		return do()
	})
}

// awaitShare runs do, which may hang, and waits no longer than ctx. What do sets may be read only after a return of its own error.
func awaitShare(ctx context.Context, dir string, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }() // ends when the share answers, which nobody can hasten
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the share of %s does not answer: %w", dir, ctx.Err())
	}
}

// writeClaim makes the file if there is none. An error that is not fs.ErrExist leaves open what is there.
func writeClaim(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // the other node may run under another account
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return datadir.SyncDir(filepath.Dir(path))
}

func readClaim(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text := make([]byte, maxClaim)
	n := 0
	for n < len(text) {
		m, err := file.Read(text[n:])
		n += m
		if m == 0 || err != nil {
			break // what is not there is not complete, for whatever reason
		}
	}
	return text[:n], nil
}

// sameCluster says that the claim belongs to other people's pair.
func (c Claim) sameCluster(clusterID string) error {
	if c.ClusterID == clusterID {
		return nil
	}
	return fmt.Errorf("this folder is used by another cluster, %s, whose node %s has made a claim here: give each cluster a ClaimDir of its own", c.ClusterID, c.NodeID)
}

// CheckClaimDir says what is wrong with a ClaimDir, in an operator's words. It writes a small file there and removes it.
func CheckClaimDir(ctx context.Context, dir string) error {
	return awaitShare(ctx, dir, func() error {
		if err := isFolder(dir); err != nil {
			return err
		}
		path := filepath.Join(dir, "check-"+rand.Text())
		err := writeClaim(path, []byte("scomconnector may write here\n"))
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, datadir.ErrReadOnly) {
			return fmt.Errorf("%s cannot be written to: give the account that runs scomconnector the right to make files there: %w", dir, err)
		}
		if err != nil {
			os.Remove(path) //nolint:errcheck // the first error is the one to report
			return fmt.Errorf("write to %s: %w", dir, err)
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the file %s, which was only a trial: %w", path, err)
		}
		return nil
	})
}

func isFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the folder %s is not there: mount the share, and make the folder if it is new: %w", dir, err)
	case err != nil:
		return fmt.Errorf("use the folder %s: %w", dir, err)
	case !info.IsDir():
		return fmt.Errorf("%s is no folder: name one", dir)
	}
	return nil
}
