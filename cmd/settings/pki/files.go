package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"scomconnector/cluster/datadir"
)

// File is one file to be written, for its owner only.
type File struct {
	Name string
	Text []byte
}

// What stands above the PEM blocks; readers of PEM pass over it.
const (
	authorityCertNote = `The authority that vouches for the nodes of this cluster, until %s. This file is no secret.
Every node has the same one. While one authority replaces another it holds both certificates, one below the other.
`
	authorityKeyNote = `KEEP THIS SECRET, and off the nodes: the key of the authority that vouches for the nodes of this cluster.
Whoever has it can join the cluster, read and change all that the nodes share, and stop the alerts.
Only "scomconnector cert issue" and "scomconnector cert renew" need it.
`
	nodeCertNote = `The certificate of node %s for its connections to the other nodes, until %s. This file is no secret.
It names %s. "scomconnector cert renew" makes the next one, for the same key.
`
	nodeKeyNote = `KEEP THIS SECRET: the key of node %s for its connections to the other nodes. Whoever has it can act as this node.
It belongs on this node's machine and nowhere else.
`
)

func certPEM(note string, cert *x509.Certificate) []byte {
	return append([]byte(note), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
}

func nodePEM(nodeID string, cert *x509.Certificate) []byte {
	return certPEM(fmt.Sprintf(nodeCertNote, nodeID, day(cert.NotAfter), strings.Join(names(cert), ", ")), cert)
}

func privatePEM(note string, key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return append([]byte(note), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

// names are all that the certificate stands for.
func names(cert *x509.Certificate) []string {
	all := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// ErrExists is about a file that would have been overwritten.
var ErrExists = errors.New("is there already")

// Write puts new files into dir, which is made for its owner only if it is not there. Nothing is overwritten, and what was written is
// taken back if a later file cannot be: half of a key pair is worse than none.
func Write(dir string, files []File) (err error) {
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s %w", path, ErrExists)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			takeBack(dir, files, f.Name)
			return fmt.Errorf("write a file: %w", err)
		}
		_, err = out.Write(f.Text)
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			os.Remove(path)
			takeBack(dir, files, f.Name)
			return fmt.Errorf("write a file: %w", err)
		}
	}
	return nil
}

// takeBack removes the files before the named one.
func takeBack(dir string, files []File, until string) {
	for _, f := range files {
		if f.Name == until {
			return
		}
		os.Remove(filepath.Join(dir, f.Name))
	}
}

// replace puts text in place of the file's in one step: whoever opens it reads the old or the new, and never a part. The new file
// belongs to whom the old one did: root renews what a service account has to read.
func replace(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	old, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(old.Mode().Perm()), keepOwner(f, old), f.Sync(), f.Close())
	if err == nil {
		err = datadir.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}
