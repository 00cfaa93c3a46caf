package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"scomconnector/cmd/settings"
	"scomconnector/cmd/settings/scaffold"
)

const helpInit = `Writes a folder for each node, ready to copy to its machine: both settings files with comments, an
operator token, for several nodes the certificates by which they know each other, and for the Primary the
mark that lets it start first. Nothing is overwritten. Asks on a terminal for what is missing.

  --primary HOST     machine of the Primary
  --secondary HOST   machine of the Secondary
  --witness HOST     machine of the witness, such as the SCOM server
  --etcd URL         an etcd that decides in place of a witness; several: repeat, or commas
  --scom HOST        SCOM web console; several: repeat, or commas; the preferred first
  --scom-user USER   DOMAIN\user that reads SCOM
  --lam URL          the SCOM LAM, https://HOST/events/NAME; several: repeat, the preferred first
  --import FILE      the original connector's SCOMConnectorConfig.json; its position and its log levels are taken over,
                     too, from SCOMLastPollTime.json beside it and SCOMConnector.exe.config beside it or above
  --poll-time FILE   that SCOMLastPollTime.json, if it is elsewhere
  --log-config FILE  that SCOMConnector.exe.config, if it is elsewhere
  --answer KEY=VALUE what the import asks for, such as "ScomServers[0].Password=env:SCOM_PASSWORD"
  --out DIR          folder to make the nodes' folders in

example: scomconnector init --primary scomc1 --scom scom1.contoso.com \
           --lam https://moog/events/scom_lam --out ./nodes
`

func runInit(t terminal, args []string) error {
	var o scaffold.Options
	var scom, lam, etcd list
	answers := pairs{}
	fs := flags("init")
	fs.StringVar(&o.Primary, "primary", "", "")
	fs.StringVar(&o.Secondary, "secondary", "", "")
	fs.StringVar(&o.Witness, "witness", "", "")
	fs.Var(&etcd, "etcd", "")
	fs.Var(&scom, "scom", "")
	fs.StringVar(&o.ScomUser, "scom-user", "", "")
	fs.Var(&lam, "lam", "")
	fs.StringVar(&o.Import, "import", "", "")
	fs.StringVar(&o.PollTime, "poll-time", "", "")
	fs.StringVar(&o.LogConfig, "log-config", "", "")
	fs.Var(answers, "answer", "")
	fs.StringVar(&o.Out, "out", "", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	o.Scom, o.Lam, o.Etcd, o.Answers = scom, lam, etcd, answers
	in := t.in
	if f, ok := t.in.(*os.File); ok && !term.IsTerminal(int(f.Fd())) {
		in = nil // nobody is there to be asked
	}
	err := scaffold.Init(o, in, t.out)
	switch {
	case errors.Is(err, scaffold.ErrUsage):
		return usageError{err}
	case errors.Is(err, scaffold.ErrThere):
		return hinted{err, "name another folder with --out, or move that one away"}
	}
	return err
}

const helpCheck = `Reads both settings files and what they point to on this machine (secrets, certificates, tokens,
folders, ports), and prints every error and warning with its line. Starts nothing, logs on nowhere.

  --node FILE     this node's settings
  --config FILE   the cluster's settings (default SCOMConnectorConfig.json beside node.json)
  --json          {"ok", "errors", "warnings", "notes"}

example: scomconnector check --node /etc/scomconnector/node.json
`

func runCheck(t terminal, args []string) error {
	var f files
	fs := flags("check")
	fs.StringVar(&f.node, "node", defaultNodeFile(), "")
	fs.StringVar(&f.cluster, "config", "", "")
	asJSON := fs.Bool("json", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	report := settings.Check(f.node, f.cluster)
	if *asJSON {
		if err := printJSON(t, checked(&report)); err != nil {
			return err
		}
	} else {
		report.Print(t.out)
	}
	if !report.OK() {
		return errReported
	}
	return nil
}

// checked is a report for programs.
func checked(r *settings.Report) any {
	out := struct {
		OK       bool     `json:"ok"`
		Errors   []string `json:"errors"`
		Warnings []string `json:"warnings"`
		Notes    []string `json:"notes"`
	}{r.OK(), []string{}, []string{}, append([]string{}, r.Notes...)}
	for _, f := range r.Faults {
		out.Errors = append(out.Errors, f.String())
	}
	for _, w := range r.Warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	return out
}

// importConfig turns the original connector's settings into ours.
func importConfig(t terminal, args []string) error {
	var to, pollTime, logConfig string
	answers := pairs{}
	fs := flags("config import")
	fs.StringVar(&pollTime, "poll-time", "", "")
	fs.StringVar(&logConfig, "log-config", "", "")
	fs.StringVar(&to, "out", "", "")
	fs.Var(answers, "answer", "")
	file, err := argument(fs, args)
	if err != nil {
		return err
	}
	if file == "" {
		return usageError{errors.New("config import needs the file to read")}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the file to import: %w", err)
	}
	now := time.Now()
	past, err := settings.ReadPast(file, pollTime, logConfig, now)
	if err != nil {
		return err
	}
	out, report, err := settings.ImportFrom(text, answers, past.Position, now)
	if err != nil {
		return fmt.Errorf("import %s: %w", file, err)
	}
	report = append(report, past.Findings...)
	if to == "" {
		_, err = t.out.Write(out)
	} else {
		err = writeNew(to, out)
	}
	if err != nil {
		return err
	}
	reportImport(t, report)
	return nil
}

// reportImport goes to standard error, since standard output may be the file.
func reportImport(t terminal, report []settings.Finding) {
	open := 0
	for _, f := range report {
		word := "note"
		if f.Open {
			word = "to answer"
			open++
		}
		fmt.Fprintf(t.err, "%s: %s\n", word, f)
	}
	if open > 0 {
		fmt.Fprintf(t.err, "hint: %d left to answer: write them into the new file, or import again with --answer KEY=VALUE for each\n", open)
	}
}

// writeNew writes a file that must not be there yet, readable by its owner only, and makes its folder.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return hinted{fmt.Errorf("%s is there already", path), "nothing is overwritten: name another file"}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// pairs is a flag KEY=VALUE that may be given several times.
type pairs map[string]string

func (p pairs) String() string { return "" }
func (p pairs) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return fmt.Errorf("%q is not of the form KEY=VALUE", s)
	}
	p[k] = v
	return nil
}
