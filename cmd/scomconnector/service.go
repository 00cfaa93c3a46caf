package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"scomconnector/cmd/service"
	"scomconnector/cmd/settings"
)

const helpService = `Has the operating system hold this node: started with the machine, restarted after failures, stopped in good order.

  service install
      Linux: the program in /usr/local/bin, an account of its own, its folders, a hardened systemd unit.
      Windows: a service with delayed start, restart after failures and an event source; only SYSTEM, Administrators
      and the service's account read the node's folders; the firewall rule to set is printed.
      Reads node.json for the folders and ports. Does not start it. Installing again renews it (Linux)
  service uninstall
      stops and removes the service; settings and data stay
  service start
      starts it, and returns once the node serves
  service stop
      hands over, stops it, and returns once it has ended

  --node FILE           install: this node's settings (default as for run)
  --config FILE         install: the cluster's settings (default SCOMConnectorConfig.json beside node.json)
  --account NAME        install: the account it runs under (default scomconnector, on Windows NT SERVICE\scomconnector)
  --password-file FILE  install: the password of a Windows account that has one
  --dry-run             install, uninstall: print what would be done and change nothing; on Linux a shell script
  --name NAME           another name than scomconnector, for a second node on a machine

example: scomconnector service install --dry-run
         sudo scomconnector service install && sudo scomconnector service start
exit code: 0 also if it was running, or stopped, already
`

func runService(t terminal, args []string) error {
	verbs := map[string]func(terminal, []string) error{
		"install": installService, "uninstall": uninstallService,
		"start": controlService("start", service.System.Start, service.StartLimit), "stop": controlService("stop", service.System.Stop, service.StopLimit),
	}
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("service"), args, 0)
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		return noVerb("service", args, "install, uninstall, start, stop")
	}
	return verbs[args[0]](t, args[1:])
}

func installService(t terminal, args []string) error {
	var f files
	var s service.Spec
	var passwordFile string
	var dry bool
	fs := flags("service install")
	fs.StringVar(&f.node, "node", "", "")
	fs.StringVar(&f.cluster, "config", "", "")
	fs.StringVar(&s.Name, "name", service.DefaultName, "")
	fs.StringVar(&s.Account, "account", "", "")
	fs.StringVar(&passwordFile, "password-file", "", "")
	fs.BoolVar(&dry, "dry-run", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if f.cluster != "" {
		s.ConfigFile = f.cluster
	}
	f.complete()
	if err := describe(&s, f); err != nil {
		return err
	}
	if passwordFile != "" {
		text, err := os.ReadFile(passwordFile)
		if err != nil {
			return fmt.Errorf("read the account's password: %w", err)
		}
		s.Password = strings.TrimRight(string(text), "\r\n")
	}
	plan, err := service.Host().Install(s)
	if err != nil {
		return placeHint(err)
	}
	return carry(t, plan, dry, "Installed. "+installed(runtime.GOOS)+" service start starts it.")
}

// installed is how the program is called once it is a service: on Windows it is put on no PATH.
func installed(system string) string {
	if system == "windows" {
		return `.\scomconnector.exe`
	}
	return "scomconnector"
}

// describe fills in what node.json and this process tell.
func describe(s *service.Spec, f files) error {
	node, faults := settings.LoadNode(f.node)
	if err := faults.Err(); err != nil {
		return hinted{fmt.Errorf("the settings are not usable:\n%w", err), "scomconnector check shows all of this, and warnings; --node names another file"}
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if s.Program, err = filepath.EvalSymlinks(program); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	s.NodeFile, s.Home, s.DataDir = node.Path, node.Dir, node.DataDir
	if s.ConfigFile != "" {
		s.ConfigFile = f.cluster // made absolute
	}
	if node.Log.File != "" {
		s.Writable = append(s.Writable, filepath.Dir(node.Log.File))
	}
	if node.ClaimDir != "" {
		s.Shared = append(s.Shared, node.ClaimDir)
	}
	for _, address := range []string{node.ListenAddress, node.ClusterAddress} {
		if _, port, err := net.SplitHostPort(address); err == nil {
			s.Ports = append(s.Ports, port)
		}
	}
	return nil
}

func uninstallService(t terminal, args []string) error {
	var name string
	var dry bool
	fs := flags("service uninstall")
	fs.StringVar(&name, "name", service.DefaultName, "")
	fs.BoolVar(&dry, "dry-run", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	plan, err := service.Host().Uninstall(name)
	if err != nil {
		return err
	}
	return carry(t, plan, dry, "Removed. Settings and data are left as they are.")
}

// carryLimit bounds an installation: a service that is stopped on the way has its own limit in it.
const carryLimit = 2 * time.Minute

func carry(t terminal, plan service.Plan, dry bool, done string) error {
	if dry {
		fmt.Fprint(t.out, plan)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), carryLimit)
	defer cancel()
	if err := service.Host().Carry(ctx, plan, func(step string) { fmt.Fprintln(t.out, step) }); err != nil {
		return serviceHint(err)
	}
	fmt.Fprintln(t.out, done)
	return nil
}

func controlService(verb string, do func(service.System, context.Context, string) error, limit time.Duration) func(terminal, []string) error {
	return func(t terminal, args []string) error {
		var name string
		fs := flags("service " + verb)
		fs.StringVar(&name, "name", service.DefaultName, "")
		if err := parse(fs, args, 0); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit+10*time.Second)
		defer cancel()
		if err := do(service.Host(), ctx, name); err != nil {
			return serviceHint(err)
		}
		fmt.Fprintln(t.out, map[string]string{"start": "Started: the node serves.", "stop": "Stopped."}[verb])
		return nil
	}
}

// placeHint is for what is wrong with where a node's files are, or with the service's name.
func placeHint(err error) error {
	switch {
	case errors.Is(err, service.ErrName):
		return hinted{err, "--name gives the service another name; without it, it is called " + service.DefaultName}
	case errors.Is(err, service.ErrPlace):
		return hinted{err, "copy the folder that init made to /etc/scomconnector, or name where it is with --node FILE; DataDir, Log.File and ClaimDir stand in node.json"}
	}
	return err
}

func serviceHint(err error) error {
	switch {
	case errors.Is(err, service.ErrNoManager):
		return hinted{err, "hold `scomconnector run` by what starts programs here: it stays in the foreground and stops in good order on SIGTERM"}
	case errors.Is(err, service.ErrRights):
		return hinted{err, "run it with sudo, on Windows in a terminal of an administrator; --dry-run shows what it would do"}
	}
	return err
}
