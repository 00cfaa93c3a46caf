package scaffold

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"

	"scomconnector/cmd/settings"
)

// home is where run and check look for node.json unless told otherwise.
const home = "/etc/scomconnector"

// explain prints what a person does next.
func (p *plan) explain(out io.Writer) error {
	text, err := render(explainTemplate, p)
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("print what to do next: %w", err)
	}
	return nil
}

// Home is where a node's folder goes.
func (p *plan) Home(m machine) string {
	if p.Stays(m) {
		return p.Folder(m)
	}
	return home
}

// Stays reports whether the node's folder stays where it was made: nodes that share a machine cannot
// share the folder that the program looks into by itself.
func (p *plan) Stays(m machine) bool {
	same := 0
	for _, other := range p.Machines {
		if strings.EqualFold(other.Host, m.Host) {
			same++
		}
	}
	return same > 1
}

// Moves reports whether a folder is to be copied to another machine.
func (p *plan) Moves() bool {
	return slices.ContainsFunc(p.Machines, func(m machine) bool { return !p.Stays(m) })
}

// Program is how the program is called where it was unpacked: it is on no PATH yet, and on Windows never.
func (p *plan) Program() string {
	if p.windows() {
		return `.\scomconnector.exe`
	}
	return "./scomconnector"
}

// Sudo stands before what only an administrator may do; on Windows the terminal is one's.
func (p *plan) Sudo() string {
	if p.windows() {
		return ""
	}
	return "sudo "
}

// Run is how the program is called for the node. What was copied to where it looks by itself is not everybody's to read.
func (p *plan) Run(m machine) string {
	if p.Stays(m) {
		return p.Program()
	}
	return p.Sudo() + p.Program()
}

// Elsewhere is how the program is called on the machines of the other kind.
func (p *plan) Elsewhere() string {
	if p.windows() {
		return "an administrator's terminal; on Linux: sudo ./scomconnector"
	}
	return `on Windows, in an administrator's terminal: .\scomconnector.exe`
}

func (p *plan) windows() bool { return cmp.Or(p.GOOS, runtime.GOOS) == "windows" }

// Port of an address.
func (p *plan) Port(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return port
}

// Placeholder is the text to replace, empty if the account was given.
func (p *plan) Placeholder() string {
	if p.ScomUser != "" || len(p.Scom) == 0 {
		return ""
	}
	return settings.Placeholder
}
