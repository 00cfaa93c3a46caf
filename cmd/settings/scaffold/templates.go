package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"text/template"

	"github.com/tailscale/hujson"
)

//go:embed *.tmpl
var templateFiles embed.FS

// The names of the templates.
const (
	nodeTemplate    = "node.tmpl"
	clusterTemplate = "cluster.tmpl"
	explainTemplate = "explain.tmpl"
)

func render(name string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{
		"q":   quote,
		"inc": func(i int) int { return i + 1 },
	}).ParseFS(templateFiles, name)
	if err != nil {
		return nil, fmt.Errorf("read the template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("fill the template %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// quote is s as JSON text.
func quote(s string) string { return string(hujson.String(s)) }
