package scaffold

import (
	"path/filepath"
	"strings"
	"time"

	"scomconnector/cmd/settings/pki"
)

// certificates makes the authority and a certificate for each node, by NodeID.
func (p *plan) certificates() (nodes map[string][]content, authority []content, err error) {
	if !p.Tls() {
		return nil, nil, nil
	}
	a, err := pki.NewAuthority(p.Now)
	if err != nil {
		return nil, nil, err
	}
	files, err := a.Files()
	if err != nil {
		return nil, nil, err
	}
	var ids []string
	for _, m := range p.Machines {
		ids = append(ids, m.ID)
	}
	nodes = map[string][]content{}
	for _, m := range p.Machines {
		n, err := a.Issue(m.ID, pki.HostOf(m.ID, m.Host, ids), p.Now)
		if err != nil {
			return nil, nil, err
		}
		nodes[m.ID] = contents(n.Files)
		p.NodeCertEnds = n.Ends
	}
	p.AuthorityEnds = a.Ends()
	return nodes, contents(files), nil
}

func contents(files []pki.File) []content {
	var all []content
	for _, f := range files {
		all = append(all, content{f.Name, f.Text, 0o600})
	}
	return all
}

// Authority is the folder with the authority's key.
func (p *plan) Authority() string { return p.typed(filepath.Join(p.Out, authorityDir)) }

// Folder is where the node's folder was made.
func (p *plan) Folder(m machine) string { return p.typed(filepath.Join(p.Out, m.ID)) }

// NodeFile is the node.json in it.
func (p *plan) NodeFile(m machine) string { return p.typed(filepath.Join(p.Out, m.ID, "node.json")) }

// typed is the path as it is typed on the system that the commands are for.
func (p *plan) typed(path string) string {
	path = filepath.ToSlash(path)
	if p.windows() {
		path = strings.ReplaceAll(path, "/", `\`)
	}
	if strings.Contains(path, " ") {
		return `"` + path + `"`
	}
	return path
}

// Day of a time, as it is printed.
func (p *plan) Day(t time.Time) string { return t.Format(time.DateOnly) }
