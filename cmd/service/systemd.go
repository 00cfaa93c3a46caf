package service

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Where things go on Linux.
const (
	unitDir     = "/etc/systemd/system"
	programDir  = "/usr/local/bin"
	stateParent = "/var/lib/"
)

// step is one command, or one file to write.
type step struct {
	why     string
	command []string
	file    string
	text    string
}

// linuxPlan is a list of steps.
type linuxPlan struct {
	steps []step
	after string // what to know once they are done
}

// String implements Plan: a script that does the same.
func (p *linuxPlan) String() string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\nset -e\n")
	for _, s := range p.steps {
		fmt.Fprintf(&b, "\n# %s\n", s.why)
		if s.file != "" {
			fmt.Fprintf(&b, "cat > %s <<'END'\n%sEND\n", shellQuoted(s.file), s.text)
			continue
		}
		quoted := make([]string, len(s.command))
		for i, w := range s.command {
			quoted[i] = shellQuoted(w)
		}
		b.WriteString(strings.Join(quoted, " ") + "\n")
	}
	for line := range strings.Lines(p.after) {
		b.WriteString("# " + line)
	}
	return b.String()
}

func shellQuoted(w string) string {
	plain := strings.IndexFunc(w, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:=@%+,", r)
	}) < 0
	if plain && w != "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// linuxInstall is what installing takes; accountKnown: the user is there already.
func linuxInstall(s Spec, accountKnown bool) (*linuxPlan, error) {
	if err := s.fitForSystemd(); err != nil {
		return nil, err
	}
	if s.Account == "" {
		s.Account = DefaultName
	}
	p := &linuxPlan{after: "Installed, and started with the machine. Start it now: scomconnector service start" + nameFlag(s.Name) + "\n"}
	do := func(why string, command ...string) { p.steps = append(p.steps, step{why: why, command: command}) }
	if installed := s.programPlace(); installed != s.Program {
		do("the program; the one that runs keeps its own copy until it is restarted", "install", "-m", "0755", s.Program, installed)
		s.Program = installed
	}
	if !accountKnown {
		do("an account for it alone, which nobody can log on with", "useradd", "--system", "--user-group", "--no-create-home",
			"--home-dir", s.DataDir, "--shell", "/usr/sbin/nologin", s.Account)
	}
	owner := s.Account + ":"
	for _, dir := range s.written() {
		do("what it writes to", "install", "-d", "-m", "0700", "-o", s.Account, dir)
	}
	do("its settings and secrets, of which nobody else reads those that are kept from others", "chown", "-R", owner, s.Home)
	if !within(s.DataDir, s.Home) {
		do("its data, should they be there already", "chown", "-R", owner, s.DataDir)
	}
	p.steps = append(p.steps, step{why: "the unit", file: path.Join(unitDir, s.Name+".service"), text: Unit(s)})
	do("make it known", "systemctl", "daemon-reload")
	do("start it with the machine", "systemctl", "enable", s.Name)
	return p, nil
}

func nameFlag(name string) string {
	if name == DefaultName {
		return ""
	}
	return " --name " + name
}

func linuxUninstall(name string) (*linuxPlan, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	return &linuxPlan{steps: []step{
		{why: "stop it, and start it with the machine no more", command: []string{"systemctl", "disable", "--now", name}},
		{why: "the unit", command: []string{"rm", "-f", path.Join(unitDir, name+".service")}},
		{why: "make it known", command: []string{"systemctl", "daemon-reload"}},
	}, after: "Removed. Settings, data, the program and the account are left as they are.\n"}, nil
}

// systemFolders are shared with others: they are never given to the service's account.
var systemFolders = []string{"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/root", "/run", "/sbin", "/srv",
	"/tmp", "/usr", "/usr/local", "/usr/local/bin", "/usr/local/etc", "/var", "/var/lib", "/var/log", "/var/tmp", "/etc/systemd"}

// hidden are the folders that the unit's own hardening keeps from the service.
var hidden = []string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"}

func (s *Spec) fitForSystemd() error {
	if err := validName(s.Name); err != nil {
		return err
	}
	for _, dir := range append([]string{s.Home}, s.written()...) {
		if slices.Contains(systemFolders, path.Clean(dir)) {
			return misplaced(dir + " is shared with others: settings, DataDir and log each need a folder that is the service's own, such as /etc/scomconnector")
		}
	}
	for _, file := range slices.Concat([]string{s.NodeFile, s.ConfigFile}, s.written(), s.Shared) {
		for _, h := range hidden {
			if within(file, h) {
				return misplaced(fmt.Sprintf("%s: a service does not see what is in %s: put the node's folder elsewhere, such as /etc/scomconnector", file, h))
			}
		}
		if strings.ContainsAny(file, "\n\r\"\\") {
			return misplaced(fmt.Sprintf("%q cannot stand in a unit: rename it", file))
		}
	}
	return nil
}

// programPlace is where the service takes the program from: where it is, if that is a place for programs.
func (s *Spec) programPlace() string {
	for _, dir := range []string{"/usr", "/opt"} {
		if within(s.Program, dir) {
			return s.Program
		}
	}
	return path.Join(programDir, "scomconnector")
}

// within reports whether a path is dir or lies below it.
func within(file, dir string) bool {
	file, dir = path.Clean(file), path.Clean(dir)
	return file == dir || strings.HasPrefix(file, strings.TrimSuffix(dir, "/")+"/")
}

// written are the folders that the node writes to, each once.
func (s *Spec) written() []string {
	all := []string{path.Clean(s.DataDir)}
	for _, dir := range s.Writable {
		if dir = path.Clean(dir); !slices.ContainsFunc(all, func(a string) bool { return within(dir, a) }) {
			all = append(all, dir)
		}
	}
	return all
}

// Unit is the text of the systemd unit.
func Unit(s Spec) string {
	args := make([]string, 0, 6)
	for _, a := range append([]string{s.Program}, s.arguments()...) {
		args = append(args, unitQuoted(a))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Written by scomconnector service install.
[Unit]
Description=scomconnector: alerts from Microsoft SCOM to Moogsoft, closes back
Wants=network-online.target
After=network-online.target
# It is tried again for ever: who is paged wants it back, however long the cause lasts.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=%s
User=%s
# Whatever its exit code: a crash of Go, and what systemd's watchdog ends, have the 2 of wrong flags.
Restart=always
RestartSec=5
TimeoutStartSec=%d
# A planned stop finishes the batch in flight and hands over within 10 s.
TimeoutStopSec=%d
WatchdogSec=60
LimitNOFILE=65536
UMask=0077

`, strings.Join(args, " "), s.Account, int(StartLimit.Seconds()), int(StopLimit.Seconds()))
	s.folders(&b)
	s.capabilities(&b)
	b.WriteString(hardening)
	return b.String()
}

// folders are what it may write to, everything else is read-only.
func (s *Spec) folders(b *strings.Builder) {
	b.WriteString("# Everything else is read-only for it.\n")
	for _, dir := range s.written() {
		if rest, ok := strings.CutPrefix(dir, stateParent); ok {
			fmt.Fprintf(b, "StateDirectory=%s\nStateDirectoryMode=0700\n", unitQuoted(rest))
			continue
		}
		fmt.Fprintf(b, "ReadWritePaths=-%s\n", unitQuoted(dir)) // of one that is gone the node says what to do; systemd would only say NAMESPACE
	}
	for _, dir := range s.Shared {
		fmt.Fprintf(b, "ReadWritePaths=-%s\n", unitQuoted(dir)) // it may be away when the machine starts
	}
}

// capabilities: none, unless a port below 1024 asks for one.
func (s *Spec) capabilities(b *strings.Builder) {
	for _, port := range s.Ports {
		if n, err := strconv.Atoi(port); err == nil && n > 0 && n < 1024 {
			b.WriteString("CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n")
			return
		}
	}
	b.WriteString("CapabilityBoundingSet=\nAmbientCapabilities=\n")
}

// lastWords are the error with its cure that ends what a node has written to the journal; empty: it has ended without one.
func lastWords(journal string) string {
	const begin = "error: "
	at := strings.LastIndex("\n"+journal, "\n"+begin)
	if at < 0 {
		return ""
	}
	return strings.TrimSpace(journal[at:])
}

// unitQuoted keeps blanks together, and percent signs and dollars from meaning something.
func unitQuoted(w string) string {
	w = strings.NewReplacer("%", "%%", "$", "$$").Replace(w)
	if strings.ContainsAny(w, " \t;'") {
		return `"` + w + `"`
	}
	return w
}

// hardening is what a program needs that opens sockets and writes to its own folders, and nothing more. AF_NETLINK tells it the
// machine's own addresses. ProtectSystem leaves some folders in memory writable, which all share. @privileged is not taken away: a
// rotated log file is given the owner of the one before.
const hardening = `NoNewPrivileges=yes
ProtectSystem=strict
InaccessiblePaths=-/dev/shm -/dev/mqueue -/run/lock
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`
