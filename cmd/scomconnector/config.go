package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
	"scomconnector/cmd/settings"
)

const helpConfig = `The settings that a running cluster shares, seen and changed through any of its nodes. Passwords are never
shown: where a text says plain:(hidden), applying it keeps the one that is set.

  config show
      prints the settings in use
  config diff FILE
      what FILE would change, key by key, and what follows from it
  config apply FILE
      shows the same, asks, and puts FILE into use on all nodes. Every node in contact checks the text and
      looks for the secrets and certificates it names; what is wrong is listed and nothing is changed
  config rollback [N]
      puts version N into use again; without N the one before the version in use
  config import FILE
      reads the original connector's SCOMConnectorConfig.json and writes ours: the same keys, with what cannot
      be taken over replaced, a comment at each place, and a report of what is left. The original's position, in
      SCOMLastPollTime.json beside it, becomes InitialLookback; what its SCOMConnector.exe.config says of the log is
      shown as node.json has it. Asks no node

  --node FILE         node.json of this machine's node, which is asked without --url (default as for run)
  --url URL           another node of the cluster
  --token-file FILE   another node's operator token; this machine's node has it in its OperatorTokenFile
  --ca FILE           authority of that node's https; --cert FILE, --key FILE: your certificate, if it asks for one
  --json              the answer as JSON
  --yes               do not ask
  --version N         show: another version than the one in use
  --versions          show: which versions are kept, by whom and from when
  --out FILE          import: where to write (default: standard output; never overwrites)
  --poll-time FILE    import: SCOMLastPollTime.json, if it is not beside FILE
  --log-config FILE   import: SCOMConnector.exe.config, if it is neither beside FILE nor above
  --answer KEY=VALUE  import: a value for a key, such as "ScomServers[0].Password=file:scom-password"

example: scomconnector config show > new.json     then edit new.json
         scomconnector config apply new.json --url http://scomc1:8085 --token-file operator.token
         scomconnector config rollback --yes
         scomconnector config import SCOMConnectorConfig.json --out new/SCOMConnectorConfig.json
`

func runConfig(t terminal, args []string) error {
	verbs := map[string]func(terminal, []string) error{
		"show": showConfig, "diff": diffConfig, "apply": applyConfig, "rollback": rollbackConfig, "import": importConfig,
	}
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("config"), args, 0)
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		return noVerb("config", args, "show, diff FILE, apply FILE, rollback, import FILE")
	}
	return verbs[args[0]](t, args[1:])
}

func showConfig(t terminal, args []string) error {
	fs := flags("config show")
	n := nodeFlags(fs, false)
	given := fs.String("version", "", "")
	list := fs.Bool("versions", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	version, err := versionOf(*given)
	if err != nil {
		return err
	}
	c, err := n.client()
	if err != nil {
		return err
	}
	ctx := context.Background() // each call has its own deadline
	if *list {
		all, err := c.SettingsVersions(ctx)
		if err != nil {
			return advised(err)
		}
		return printVersions(t, n, all)
	}
	s, err := c.Settings(ctx, version)
	if err != nil {
		return advised(err)
	}
	if n.json {
		return printJSON(t, s)
	}
	// Standard output is the file, so that it can be redirected into one.
	fmt.Fprintf(t.err, "version %d, by %s, %s\n", s.Version, s.Author, stamp(s.At))
	_, err = io.WriteString(t.out, strings.TrimRight(s.Text, "\n")+"\n")
	return err
}

// versionOf is a version as typed; none is 0.
func versionOf(typed string) (uint64, error) {
	if typed == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(typed, 10, 64)
	if err != nil || n == 0 {
		return 0, usageError{fmt.Errorf("%q is no version: config show --versions lists them", typed)}
	}
	return n, nil
}

func printVersions(t terminal, n *node, all []v1.SettingsVersion) error {
	if n.json {
		return printJSON(t, v1.SettingsVersions{Versions: all})
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tIN USE SINCE\tBY")
	for _, v := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\n", v.Version, stamp(v.At), v.Author)
	}
	return w.Flush()
}

func diffConfig(t terminal, args []string) error {
	fs := flags("config diff")
	n := nodeFlags(fs, false)
	p, err := planned(fs, args, n)
	if err != nil {
		return err
	}
	if err := p.refused("config apply would refuse it"); err != nil {
		return err
	}
	if n.json {
		return printJSON(t, struct {
			Version uint64 `json:"version"`
			settings.Difference
		}{p.current.Version, p.diff})
	}
	p.print(t)
	return nil
}

// refused is why the nodes would refuse the text, as far as the text alone tells: what it would change is of no interest before it
// can be read.
func (p *plan) refused(so string) error {
	_, faults := settings.ParseCluster(settings.ClusterFileName, settings.WithoutMasks(p.text), settings.Options{})
	if len(faults) == 0 {
		return nil
	}
	return hinted{p.named(fmt.Errorf("%s:\n%w", so, faults)), "mend what the lines name; nothing was changed"}
}

// plan is a text that may take the place of the settings in use.
type plan struct {
	client  *client.Client
	current v1.Settings
	name    string // of the text, for messages
	text    []byte
	from    uint64 // the version it was taken from; 0: it is a file
	diff    settings.Difference
}

// planned reads FILE and the settings in use.
func planned(fs *flag.FlagSet, args []string, n *node) (*plan, error) {
	file, err := argument(fs, args)
	if err != nil {
		return nil, err
	}
	if file == "" {
		return nil, usageError{fmt.Errorf("%s needs the file with the new settings", fs.Name())}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, hinted{fmt.Errorf("read the new settings: %w", err), "scomconnector config show > FILE writes the settings in use into a file, to be edited and applied"}
	}
	if len(text) > settings.MaxFileBytes {
		return nil, hinted{fmt.Errorf("%s is larger than %d KiB", file, settings.MaxFileBytes>>10), "shorten its comments, or is it another file?"}
	}
	p := &plan{name: file, text: text}
	if p.client, err = n.client(); err != nil {
		return nil, err
	}
	p.current, err = p.client.Settings(context.Background(), 0)
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Code == http.StatusNotFound {
		err = nil // the cluster has none yet: these are the first
	}
	if err != nil {
		return nil, advised(err)
	}
	return p, p.compare()
}

func (p *plan) compare() error {
	d, err := settings.Diff([]byte(p.current.Text), p.text)
	if err != nil {
		return hinted{p.named(err), "mend what the line names; nothing was changed"}
	}
	p.diff = d
	return nil
}

// named puts the file's own name into a message.
func (p *plan) named(err error) error {
	if p.from > 0 {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), settings.ClusterFileName+":", p.name+":"))
}

func (p *plan) print(t terminal) {
	same := strings.TrimSpace(string(settings.Masked(p.text))) == strings.TrimSpace(p.current.Text)
	switch {
	case len(p.diff.Changes) > 0:
		fmt.Fprintf(t.out, "%s, against version %d:\n", p.name, p.current.Version)
	case same:
		fmt.Fprintf(t.out, "%s is the same as version %d, which is in use\n", p.name, p.current.Version)
	default:
		fmt.Fprintf(t.out, "%s differs from version %d in comments and layout only\n", p.name, p.current.Version)
	}
	for _, c := range p.diff.Changes {
		switch {
		case c.Hidden:
			fmt.Fprintf(t.out, "  ~ %s: plain text, which is not shown; perhaps another one\n", c.Key)
		case c.Old == "":
			fmt.Fprintf(t.out, "  + %s: %s\n", c.Key, c.New)
		case c.New == "":
			fmt.Fprintf(t.out, "  - %s: %s\n", c.Key, c.Old)
		default:
			fmt.Fprintf(t.out, "  ~ %s: %s -> %s\n", c.Key, c.Old, c.New)
		}
	}
	for _, note := range p.diff.Notes {
		fmt.Fprintf(t.out, "note: %s\n", note)
	}
}

func applyConfig(t terminal, args []string) error {
	fs := flags("config apply")
	n := nodeFlags(fs, true)
	p, err := planned(fs, args, n)
	if err != nil {
		return err
	}
	return p.apply(t, n)
}

func rollbackConfig(t terminal, args []string) error {
	fs := flags("config rollback")
	n := nodeFlags(fs, true)
	given, err := argument(fs, args)
	if err != nil {
		return err
	}
	p := &plan{}
	if p.from, err = versionOf(given); err != nil {
		return err
	}
	if p.client, err = n.client(); err != nil {
		return err
	}
	if err := p.older(context.Background()); err != nil {
		return err
	}
	return p.apply(t, n)
}

// older reads the version to go back to, and the one in use.
func (p *plan) older(ctx context.Context) error {
	var err error
	if p.current, err = p.client.Settings(ctx, 0); err != nil {
		return advised(err)
	}
	if p.from == 0 {
		all, err := p.client.SettingsVersions(ctx)
		if err != nil {
			return advised(err)
		}
		i := slices.IndexFunc(all, func(v v1.SettingsVersion) bool { return v.Version < p.current.Version })
		if i < 0 {
			return hinted{fmt.Errorf("there is no version before version %d", p.current.Version), "config show --versions lists what is kept"}
		}
		p.from = all[i].Version
	}
	s, err := p.client.Settings(ctx, p.from)
	if err != nil {
		return advised(err)
	}
	p.name, p.text = fmt.Sprintf("version %d", p.from), []byte(s.Text)
	return p.compare()
}

// apply asks, and puts the text into use.
func (p *plan) apply(t terminal, n *node) error {
	if err := p.refused("the settings are not usable"); err != nil {
		return err
	}
	if !n.json {
		p.print(t)
	}
	if ok, err := n.agreed(t, "Put this into use on all nodes?"); err != nil {
		return err
	} else if !ok {
		fmt.Fprintf(t.out, "Nothing was changed: version %d is in use.\n", p.current.Version)
		return errReported
	}
	applied, err := p.client.ApplySettings(context.Background(), p.text, p.current.Version, p.from)
	if err != nil {
		var h hinted
		if errors.As(advised(err), &h) {
			return hinted{p.named(err), h.hint}
		}
		return err
	}
	switch {
	case n.json:
		return printJSON(t, applied)
	case applied.Version == p.current.Version:
		fmt.Fprintf(t.out, "Version %d is in use, as before.\n", applied.Version)
	default:
		fmt.Fprintf(t.out, "Version %d is in use; the leader takes it up within a second.\n", applied.Version)
		if away := applied.Unchecked; len(away) > 0 {
			fmt.Fprintf(t.out, "warning: not checked by %s, out of contact: whether it can read what this names shows once it is back\n", strings.Join(away, " and "))
		}
		if p.current.Version > 0 {
			fmt.Fprintf(t.out, "To undo it: scomconnector config rollback %d\n", p.current.Version)
		}
	}
	return nil
}
