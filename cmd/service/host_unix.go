//go:build !windows

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strings"
)

// Hold runs f under what has started this process. The context ends where the manager has no signal to say so; here it
// has: SIGTERM.
func Hold(f func(ctx context.Context, s Supervisor) error) error {
	if n, ok := NewNotifier(os.Getenv, os.Getpid()); ok {
		return f(context.Background(), n)
	}
	return f(context.Background(), Nobody{})
}

// Held reports whether a service manager has started this process.
func Held() bool {
	_, ok := NewNotifier(os.Getenv, os.Getpid())
	return ok
}

// Host is this machine's service manager.
func Host() System { return systemd{} }

type systemd struct{}

// Install implements System.
func (systemd) Install(s Spec) (Plan, error) {
	if s.Account == "" {
		s.Account = DefaultName
	}
	_, err := user.Lookup(s.Account)
	return linuxInstall(s, err == nil)
}

// Uninstall implements System.
func (systemd) Uninstall(name string) (Plan, error) { return linuxUninstall(name) }

// Carry implements System.
func (systemd) Carry(ctx context.Context, p Plan, tell func(string)) error {
	plan, ok := p.(*linuxPlan)
	if !ok {
		return fmt.Errorf("a plan of another system: %T", p)
	}
	if err := booted(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return ErrRights
	}
	for _, s := range plan.steps {
		if s.file != "" {
			tell("write " + s.file)
			if err := os.WriteFile(s.file, []byte(s.text), 0o644); err != nil {
				return fmt.Errorf("%s: %w", s.why, err)
			}
			continue
		}
		tell(strings.Join(s.command, " "))
		if err := run(ctx, s.command...); err != nil {
			return fmt.Errorf("%s: %w", s.why, err)
		}
	}
	return nil
}

// Start implements System.
func (systemd) Start(ctx context.Context, name string) error { return control(ctx, "start", name) }

// Stop implements System.
func (systemd) Stop(ctx context.Context, name string) error { return control(ctx, "stop", name) }

func control(ctx context.Context, verb, name string) error {
	if err := validName(name); err != nil {
		return err
	}
	if err := booted(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return ErrRights
	}
	return run(ctx, "systemctl", verb, name)
}

// booted is how sd_booted(3) finds out.
func booted() error {
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		return ErrNoManager
	}
	return nil
}

func run(ctx context.Context, command ...string) error {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return errors.New(text)
	}
	return err
}
