package scaffold

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// ask fills on a terminal what the flags left out. What may be left out is asked for only where something else had to be,
// too: who gave all that is needed wants no questions.
func ask(o *Options, in io.Reader, out io.Writer) error {
	q := questions{in: bufio.NewScanner(in), out: out}
	if o.Primary == "" {
		o.Primary = q.must("Host name of the Primary")
		if o.Secondary == "" {
			o.Secondary = q.may("Host name of the Secondary (Enter: none)")
		}
		if o.Secondary != "" && o.Witness == "" && len(o.Etcd) == 0 {
			o.Witness = q.may("Host name of the witness, such as the SCOM server (Enter: none)")
		}
	}
	if len(o.Scom) == 0 && o.Import == "" {
		o.Scom = q.list("Host name of the SCOM web console; several with commas, the preferred first")
		if o.ScomUser == "" {
			o.ScomUser = q.may(`Account that reads SCOM, DOMAIN\user (Enter: edit the file later)`)
		}
	}
	if len(o.Lam) == 0 && o.Import == "" {
		o.Lam = q.list("Address of the SCOM LAM, https://HOST/events/NAME; several with commas, the preferred first")
	}
	if o.Out == "" {
		o.Out = q.must("Folder to make the nodes' folders in")
	}
	return q.err
}

type questions struct {
	in  *bufio.Scanner
	out io.Writer
	err error // the first one; later questions are not asked
}

func (q *questions) may(question string) string {
	if q.err != nil {
		return ""
	}
	fmt.Fprint(q.out, question+": ")
	if !q.in.Scan() {
		fmt.Fprintln(q.out)
		q.err = usage("the questions were not answered: give the flags instead")
		if err := q.in.Err(); err != nil {
			q.err = fmt.Errorf("read the answer: %w", err)
		}
		return ""
	}
	return strings.TrimSpace(q.in.Text())
}

// maxTries bounds how often a question is repeated: whoever answers nothing that often is no person.
const maxTries = 3

func (q *questions) must(question string) string {
	for range maxTries {
		if a := q.may(question); a != "" || q.err != nil {
			return a
		}
	}
	q.err = usage("no answer to: " + question)
	return ""
}

func (q *questions) list(question string) []string {
	var all []string
	for _, s := range strings.Split(q.must(question), ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}
