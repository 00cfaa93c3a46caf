//go:build !windows

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"
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
	since := time.Now()
	err := run(ctx, "systemctl", verb, name)
	if err == nil || verb != "start" {
		return err
	}
	// systemctl only names the journal, where what the node said is the last of it. What cannot be read there is no fault of the start.
	if run(ctx, "journalctl", "--sync") == nil {
		said, _ := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--since=@"+strconv.FormatInt(since.Unix(), 10), "_SYSTEMD_UNIT="+name+".service").Output()
		if words := lastWords(string(said)); words != "" {
			return errors.New("the node ended as it started, and systemd goes on trying. It said:\n" + words)
		}
	}
	return err
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
