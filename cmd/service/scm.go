package service

import (
	"crypto/sha1" //nolint:gosec // Windows itself makes the SIDs of services with it
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// windowsPlan is what the service control manager is asked for. It is pure: only host_windows.go carries it out.
type windowsPlan struct {
	remove bool
	spec   Spec
	// folders get an access list of SYSTEM, Administrators and the service's account, and nobody else.
	folders []string
}

// restarts are the recovery actions: the third is repeated for ever.
var restarts = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute}

// recoveryReset is after how long without a failure the count of failures begins anew.
const recoveryReset = 24 * time.Hour

// preshutdown is how long Windows waits at its own shutdown, in which a node hands over.
const preshutdown = StopLimit

func windowsInstall(s Spec) (*windowsPlan, error) {
	if err := validName(s.Name); err != nil {
		return nil, err
	}
	if s.Account == "" {
		s.Account = `NT SERVICE\` + s.Name
	}
	if s.Password == "" && hasPassword(s.Account) {
		return nil, fmt.Errorf("the account %s needs its password: --password-file FILE", s.Account)
	}
	p := &windowsPlan{spec: s}
	for _, dir := range []string{s.Home, s.DataDir} {
		if dir = filepath.Clean(dir); !slices.Contains(p.folders, dir) {
			p.folders = append(p.folders, dir)
		}
	}
	for _, dir := range p.folders {
		if len(strings.Trim(dir, `\/.`)) <= 2 {
			return nil, fmt.Errorf(`%s is a whole drive: the service needs a folder of its own, such as %%ProgramData%%\scomconnector`, dir)
		}
	}
	return p, nil
}

func windowsUninstall(name string) (*windowsPlan, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	return &windowsPlan{remove: true, spec: Spec{Name: name}}, nil
}

// hasPassword: the accounts of Windows itself, of services and those that Active Directory manages have none that is typed.
func hasPassword(account string) bool {
	upper := strings.ToUpper(account)
	for _, prefix := range []string{`NT SERVICE\`, `NT AUTHORITY\`, "LOCALSYSTEM", `.\LOCALSYSTEM`} {
		if strings.HasPrefix(upper, prefix) {
			return false
		}
	}
	return !strings.HasSuffix(account, "$")
}

// serviceSID is the SID of NT SERVICE\NAME: SHA-1 over the upper case name in UTF-16, as Windows makes it.
func serviceSID(name string) string {
	var raw []byte
	for _, u := range utf16.Encode([]rune(strings.ToUpper(name))) {
		raw = binary.LittleEndian.AppendUint16(raw, u)
	}
	sum := sha1.Sum(raw)
	sid := "S-1-5-80"
	for i := 0; i < len(sum); i += 4 {
		sid += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(sum[i:]))
	}
	return sid
}

// accessList is the folder's whole access list in SDDL: inherited rights are cut off, so that ordinary users of the machine read
// neither data nor secrets.
func accessList(sid string) string {
	list := "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	if sid != "" && sid != "S-1-5-18" { // SYSTEM is there already
		list += "(A;OICI;FA;;;" + sid + ")"
	}
	return list
}

// firewall is the command that opens the ports; we print it, since who may call is the operator's decision.
func (p *windowsPlan) firewall() string {
	return fmt.Sprintf(`netsh advfirewall firewall add rule name="%s" dir=in action=allow protocol=TCP localport=%s program="%s"`,
		p.spec.Name, strings.Join(p.spec.Ports, ","), p.spec.Program)
}

// commandLine is what the service runs, quoted as Windows takes it apart.
func (p *windowsPlan) commandLine() string {
	words := []string{`"` + p.spec.Program + `"`}
	for _, a := range p.spec.arguments() {
		if strings.ContainsAny(a, " \t") {
			a = `"` + a + `"`
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// String implements Plan.
func (p *windowsPlan) String() string {
	var b strings.Builder
	if p.remove {
		fmt.Fprintf(&b, "stop the service %s\nremove it, and its event source\n", p.spec.Name)
		return b.String()
	}
	fmt.Fprintf(&b, "create the service %s, started with the machine, delayed\n  runs      %s\n  under     %s\n", p.spec.Name, p.commandLine(), p.spec.Account)
	fmt.Fprintf(&b, "  restarts  after a failure: %v, %v, then every %v; counted anew after %v\n", restarts[0], restarts[1], restarts[2], recoveryReset)
	fmt.Fprintf(&b, "  shutdown  Windows waits %v for it\n", preshutdown)
	fmt.Fprintf(&b, "create the event source %s in the log Application\n", p.spec.Name)
	for _, dir := range p.folders {
		fmt.Fprintf(&b, "let only SYSTEM, Administrators and %s into %s\n", p.spec.Account, dir)
	}
	for _, dir := range append(slices.Clone(p.spec.Writable), p.spec.Shared...) {
		if !slices.Contains(p.folders, filepath.Clean(dir)) {
			fmt.Fprintf(&b, "not changed: %s, to which %s must be able to write\n", dir, p.spec.Account)
		}
	}
	return b.String()
}
