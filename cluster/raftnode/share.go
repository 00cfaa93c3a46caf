package raftnode

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

const (
	// shareEvery is how often the folder of the claims is looked at, and shareTime how long it may take to answer.
	shareEvery = 10 * time.Second
	shareTime  = 3 * time.Second
	// placeFile tells one folder from another: whoever looks first makes it, with a random content.
	placeFile = "scomconnector-claims"
)

// watchShare tells people early that the claims' folder is of no use: it is out of reach, or not the one that the other node sees. The
// latter is what an unmounted share whose mount point exists looks like: each node would be given every claim.
func (n *Node) watchShare(ctx context.Context) {
	f, ok := n.claims.(*fileClaims)
	if !ok {
		return
	}
	for {
		look, cancel := context.WithTimeout(ctx, shareTime)
		place, err := f.place(look)
		cancel()
		if ctx.Err() != nil {
			return
		}
		n.noteShare(place, err)
		if !pause(ctx, shareEvery) {
			return
		}
	}
}

func (n *Node) noteShare(place string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	said := ""
	if err != nil {
		said = fmt.Sprintf("ClaimDir is of no use: %v; while that is so, the loss of the other node leaves nobody who leads", err)
	}
	if said != "" && n.share == "" {
		n.log.Error("the claims are out of reach: if the other node is lost now, nobody leads", "error", err, "do", "mount the share of ClaimDir, and let this account write there; if ClaimDir is new in node.json, scomconnector service install lets the service do so")
	}
	n.share = said
	if err == nil {
		n.place = place
	}
}

// sharePlace is the name of the folder that this node sees as ClaimDir; empty: it has seen none.
func (n *Node) sharePlace() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.place
}

// shareAlarms are what is wrong with the claims' folder.
func (n *Node) shareAlarms() (all []string) {
	n.mu.Lock()
	fault, place := n.share, n.place
	n.mu.Unlock()
	if fault != "" {
		all = append(all, fault)
	}
	for _, p := range n.peers {
		if k := p.now(); place != "" && k.fresh() && k.Place != "" && k.Place != place {
			all = append(all, fmt.Sprintf("%s and this node see different folders as ClaimDir, so that both could lead if they lose each other: mount the same share on both, and remove what is in the folder that was not the share", p.NodeID))
		}
	}
	return all
}

// place is the random name of the folder, given to it by whoever looked first. It does not use the slot of the claims, which must not
// wait for it; a look that hangs has the next ones fail at once.
func (f *fileClaims) place(ctx context.Context) (name string, err error) {
	select {
	case f.looking <- struct{}{}:
	default:
		return "", fmt.Errorf("the share of %s hangs: an earlier look has not ended", f.dir)
	}
	found := make(chan string, 1)
	err = awaitShare(ctx, f.dir, func() error {
		defer func() { <-f.looking }()
		name, err := f.findPlace()
		found <- name
		return err
	})
	if err != nil {
		return "", err
	}
	return <-found, nil
}

func (f *fileClaims) findPlace() (string, error) {
	if err := isFolder(f.dir); err != nil {
		return "", err
	}
	path := filepath.Join(f.dir, placeFile)
	if err := writeClaim(path, []byte(rand.Text())); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	text, err := readClaim(path)
	if err == nil && len(text) < len(rand.Text()) {
		err = errors.New("it is not completely written: while neither node writes it, it may be deleted")
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return string(text), nil
}
