package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"scomconnector/cmd/settings"
	"scomconnector/cmd/settings/scaffold"
)

const helpInit = `Writes a folder for each node, ready to copy to its machine: both settings files with comments, an
operator token, and for the Primary the mark that lets it start first. Nothing is overwritten.
Asks on a terminal for what is missing.

  --primary HOST     machine of the Primary
  --secondary HOST   machine of the Secondary
  --witness HOST     machine of the witness, such as the SCOM server
  --scom HOST        SCOM web console; several: repeat, or commas; the preferred first
  --scom-user USER   DOMAIN\user that reads SCOM
  --lam URL          the SCOM LAM, https://HOST/events/NAME; several: repeat, the preferred first
  --import FILE      the original connector's SCOMConnectorConfig.json
  --answer KEY=VALUE what the import asks for, such as 'ScomServers[0].Password=env:SCOM_PASSWORD'
  --out DIR          folder to make the nodes' folders in

example: scomconnector init --primary scomc1 --scom scom1.contoso.com \
           --lam https://moog/events/scom_lam --out ./nodes
`

func runInit(t terminal, args []string) error {
	var o scaffold.Options
	var scom, lam list
	answers := pairs{}
	fs := flags("init")
	fs.StringVar(&o.Primary, "primary", "", "")
	fs.StringVar(&o.Secondary, "secondary", "", "")
	fs.StringVar(&o.Witness, "witness", "", "")
	fs.Var(&scom, "scom", "")
	fs.StringVar(&o.ScomUser, "scom-user", "", "")
	fs.Var(&lam, "lam", "")
	fs.StringVar(&o.Import, "import", "", "")
	fs.Var(answers, "answer", "")
	fs.StringVar(&o.Out, "out", "", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	o.Scom, o.Lam, o.Answers = scom, lam, answers
	in := t.in
	if f, ok := t.in.(*os.File); ok && !term.IsTerminal(int(f.Fd())) {
		in = nil // nobody is there to be asked
	}
	err := scaffold.Init(o, in, t.out)
	if errors.Is(err, scaffold.ErrUsage) {
		return usageError{err}
	}
	return err
}

const helpCheck = `Reads both settings files and what they point to on this machine (secrets, certificates, tokens,
folders, ports), and prints every error and warning with its line. Starts nothing, logs on nowhere.

  --node FILE     this node's settings
  --config FILE   the cluster's settings (default SCOMConnectorConfig.json beside node.json)

example: scomconnector check --node /etc/scomconnector/node.json
`

func runCheck(t terminal, args []string) error {
	var f files
	fs := flags("check")
	fs.StringVar(&f.node, "node", defaultNodeFile(), "")
	fs.StringVar(&f.cluster, "config", "", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	report := settings.Check(f.node, f.cluster)
	report.Print(t.out)
	if !report.OK() {
		return errReported
	}
	return nil
}

const helpConfig = `config import FILE reads the original connector's SCOMConnectorConfig.json and writes ours: the same
keys, with what cannot be taken over replaced, a comment at each place, and a report of what is left.

  --out FILE          where to write (default: standard output; never overwrites)
  --answer KEY=VALUE  a value for a key, such as 'ScomServers[0].Password=file:scom-password'

example: scomconnector config import SCOMConnectorConfig.json --out new/SCOMConnectorConfig.json
`

func runConfig(t terminal, args []string) error {
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		return parse(flags("config"), args, 0)
	}
	if len(args) == 0 || args[0] != "import" {
		return usageError{errors.New("config needs what to do: import FILE")}
	}
	// FILE may stand before or behind the flags.
	var file string
	args = args[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		file, args = args[0], args[1:]
	}
	var to string
	answers := pairs{}
	fs := flags("config import")
	fs.StringVar(&to, "out", "", "")
	fs.Var(answers, "answer", "")
	if err := parse(fs, args, 1); err != nil {
		return err
	}
	if file == "" {
		file = fs.Arg(0)
	}
	if file == "" {
		return usageError{errors.New("config import needs the file to read")}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, report, err := settings.Import(text, answers)
	if err != nil {
		return fmt.Errorf("import %s: %w", file, err)
	}
	for _, f := range report {
		fmt.Fprintln(t.err, f)
	}
	if to == "" {
		_, err = t.out.Write(out)
		return err
	}
	return writeNew(to, out)
}

// writeNew writes a file that must not be there yet, readable by its owner only.
func writeNew(path string, text []byte) error {
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
