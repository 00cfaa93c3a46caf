package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"
	"strings"
	"time"

	"scomconnector/cmd/settings"
	"scomconnector/cmd/settings/pki"
)

const helpCert = `Makes the certificates by which the nodes know each other (ClusterTls in node.json). init has made the
first ones; these commands renew them, and make those of a node that is added or of files written by hand.

  cert ca --out DIR
      makes a new authority: cluster-ca.crt for every node, cluster-ca.key for none of them. Keep the
      folder safe and off the nodes.
  cert issue --ca DIR --node ID [--host HOST] --out DIR
      makes key and certificate of one node, good for two years, and a copy of cluster-ca.crt.
  cert renew --ca DIR --node-file FILE
      puts a new certificate for the same key in place of the node's. A running node takes it up by itself.
      The key need not be there: renew where the authority is kept, then copy cluster.crt to the node.
  cert show FILE [--json]
      what is in a file of certificates, and until when.

  --ca DIR          folder of the authority
  --node ID         the node's NodeID
  --host HOST       the host of its ClusterAddress
  --node-file FILE  its node.json, which names its certificate
  --out DIR         folder for the new files; nothing in it is overwritten

To replace an authority, without a restart: make a new one; append its cluster-ca.crt to that of every node;
renew every node's certificate with it (or, if somebody may have seen a key, issue it anew and copy cluster.crt
and cluster.key); at last take the old authority out of every cluster-ca.crt.

example: scomconnector cert renew --ca nodes/ca --node-file nodes/primary/node.json
`

func runCert(t terminal, args []string) error {
	what := map[string]func(terminal, []string) error{
		"ca": certCA, "issue": certIssue, "renew": certRenew, "show": certShow,
		"-h": certHelp, "--help": certHelp,
	}
	if len(args) == 0 || what[args[0]] == nil {
		return noVerb("cert", args, "ca, issue, renew or show")
	}
	return certHint(what[args[0]](t, args[1:]))
}

func certHelp(terminal, []string) error { return parse(flags("cert"), []string{"--help"}, 0) }

// certHint adds what to do about the errors that people will meet.
func certHint(err error) error {
	switch {
	case errors.Is(err, pki.ErrExists):
		return hinted{err, "nothing is overwritten: name another folder, or move the file away"}
	case errors.Is(err, pki.ErrNotVouched):
		return hinted{err, "is it the authority of this cluster? To go over to a new one, first append its cluster-ca.crt to that of every node"}
	case errors.Is(err, fs.ErrPermission) && runtime.GOOS == "windows": // which says the same of a file that somebody has open
		return hinted{err, "run it as an account that may read and write there, while no other program has the file open"}
	case errors.Is(err, fs.ErrPermission):
		return hinted{err, "run it as an account that may read and write there"}
	}
	return err
}

// given refuses flags that were left out.
func given(what string, flags ...string) error {
	var missing []string
	for i := 0; i < len(flags); i += 2 {
		if flags[i+1] == "" {
			missing = append(missing, flags[i])
		}
	}
	if len(missing) > 0 {
		return usageError{fmt.Errorf("%s needs %s", what, strings.Join(missing, ", "))}
	}
	return nil
}

func certCA(t terminal, args []string) error {
	var out string
	fs := flags("cert ca")
	fs.StringVar(&out, "out", "", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if err := given("cert ca", "--out DIR", out); err != nil {
		return err
	}
	a, err := pki.NewAuthority(time.Now())
	if err != nil {
		return err
	}
	files, err := a.Files()
	if err != nil {
		return err
	}
	if err := pki.Write(out, files); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Made an authority in %s, good until %s. Keep the folder safe and off the nodes: whoever has %s can\njoin the cluster. Next, for each node: scomconnector cert issue --ca %s --node ID --out DIR\n",
		out, day(a.Ends()), pki.AuthorityKey, out)
	return nil
}

func readAuthority(dir string) (*pki.Authority, error) {
	a, err := pki.ReadAuthority(dir)
	if err != nil {
		return nil, hinted{err, "--ca names the folder that init made as ca, or that cert ca made"}
	}
	return a, nil
}

func certIssue(t terminal, args []string) error {
	var ca, node, host, out string
	fs := flags("cert issue")
	fs.StringVar(&ca, "ca", "", "")
	fs.StringVar(&node, "node", "", "")
	fs.StringVar(&host, "host", "", "")
	fs.StringVar(&out, "out", "", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if err := given("cert issue", "--ca DIR", ca, "--node ID", node, "--out DIR", out); err != nil {
		return err
	}
	a, err := readAuthority(ca)
	if err != nil {
		return err
	}
	n, err := a.Issue(node, host, time.Now())
	if err != nil {
		return err
	}
	if err := pki.Write(out, n.Files); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Made %s, %s and %s of node %s in %s, good until %s.\nCopy them to that node's machine beside its node.json, which names them:\n  %s\n",
		pki.NodeCert, pki.NodeKey, pki.AuthorityCert, node, out, day(n.Ends),
		fmt.Sprintf(`"ClusterTls": {"CertFile": %q, "KeyFile": %q, "CaFile": %q},`, pki.NodeCert, pki.NodeKey, pki.AuthorityCert))
	return nil
}

func certRenew(t terminal, args []string) error {
	var ca, file string
	fs := flags("cert renew")
	fs.StringVar(&ca, "ca", "", "")
	fs.StringVar(&file, "node-file", "", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if err := given("cert renew", "--ca DIR", ca, "--node-file FILE", file); err != nil {
		return err
	}
	node, faults := settings.LoadNode(file)
	if err := faults.Err(); err != nil {
		return hinted{fmt.Errorf("the settings are not usable:\n%w", err), "scomconnector check --node " + file}
	}
	if node.ClusterTls.CertFile == "" {
		return hinted{fmt.Errorf("%s names no ClusterTls.CertFile: there is nothing to renew", file), "scomconnector cert issue makes the first one"}
	}
	a, err := readAuthority(ca)
	if err != nil {
		return err
	}
	r, err := a.Renew(node.ClusterTls.CertFile, node.ClusterTls.CaFile, node.NodeID, certHost(node), time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Renewed %s of node %s: it was good until %s, the new one until %s. The key is the same.\nA running node uses it from its next connection on, without a restart. Is the node on another machine?\nThen copy this one file there.\n",
		node.ClusterTls.CertFile, node.NodeID, day(r.Before), day(r.Ends))
	if r.Ends.Equal(a.Ends()) {
		fmt.Fprintf(t.out, "warning: the authority itself ends on that day, and with it all its certificates: scomconnector cert --help says how to replace it\n")
	}
	return nil
}

// certHost is the host that others call the node by.
func certHost(node *settings.Node) string {
	host, _, err := net.SplitHostPort(node.ClusterAddress)
	if err != nil {
		return ""
	}
	var ids []string
	for _, m := range node.Members {
		ids = append(ids, m.NodeID)
	}
	return pki.HostOf(node.NodeID, host, ids)
}

func certShow(t terminal, args []string) error {
	fs := flags("cert show")
	asJSON := fs.Bool("json", false, "")
	file, err := argument(fs, args)
	switch {
	case err != nil:
		return err
	case file == "":
		return usageError{errors.New("cert show needs the file to read")}
	case *asJSON:
		all, err := pki.Describe(file)
		if err != nil {
			return err
		}
		return printJSON(t, all)
	}
	return pki.Show(t.out, file, time.Now())
}

func day(t time.Time) string { return t.Format(time.DateOnly) }
