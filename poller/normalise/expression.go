package normalise

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"scomconnector/poller/alert"
)

// Bounds of one expression. They keep a slip in the settings from costing more than the alert itself:
// loops within loops are refused as well, since only they could run away.
const (
	maxExpressionBytes = 4096
	maxExpressionNodes = 1000
	memoryBudget       = 100_000 // elements that one evaluation may create
)

// expression is one compiled setting.
type expression struct {
	program *vm.Program
}

// fields is what an expression sees: the alert, and for a mapping also the event as it would be.
// The names are documented in doc.go and in the sample files; renaming one breaks settings.
type fields struct {
	ID              string    `expr:"id"`
	Name            string    `expr:"name"`
	Description     string    `expr:"description"`
	Category        string    `expr:"category"`
	Owner           string    `expr:"owner"`
	TicketID        string    `expr:"ticketId"`
	ResolvedBy      string    `expr:"resolvedBy"`
	LastModifiedBy  string    `expr:"lastModifiedBy"`
	ObjectID        string    `expr:"objectId"`
	ObjectName      string    `expr:"objectName"`
	DisplayName     string    `expr:"displayName"`
	Path            string    `expr:"path"`
	NetbiosComputer string    `expr:"netbiosComputer"`
	NetbiosDomain   string    `expr:"netbiosDomain"`
	PrincipalName   string    `expr:"principalName"`
	SiteName        string    `expr:"siteName"`
	MonitorName     string    `expr:"monitorName"`
	AlertSource     string    `expr:"alertSource"`
	CustomField1    string    `expr:"customField1"`
	CustomField2    string    `expr:"customField2"`
	CustomField3    string    `expr:"customField3"`
	CustomField4    string    `expr:"customField4"`
	CustomField5    string    `expr:"customField5"`
	CustomField6    string    `expr:"customField6"`
	CustomField7    string    `expr:"customField7"`
	CustomField8    string    `expr:"customField8"`
	CustomField9    string    `expr:"customField9"`
	CustomField10   string    `expr:"customField10"`
	Host            string    `expr:"host"`
	ManagementGroup string    `expr:"managementGroup"`
	Severity        string    `expr:"severity"`
	Priority        string    `expr:"priority"`
	ResolutionState int       `expr:"resolutionState"`
	RepeatCount     int       `expr:"repeatCount"`
	Closed          bool      `expr:"closed"`
	IsMonitorAlert  bool      `expr:"isMonitorAlert"`
	InMaintenance   bool      `expr:"inMaintenance"`
	LastModified    time.Time `expr:"lastModified"`
	TimeAdded       time.Time `expr:"timeAdded"`
}

// mappingFields is what a mapping's expression sees.
type mappingFields struct {
	fields
	Event eventFields `expr:"event"`
}

// eventFields are the defaults of section "What an event is" in doc.go.
type eventFields struct {
	Signature     string `expr:"signature"`
	ExternalID    string `expr:"external_id"`
	Source        string `expr:"source"`
	SourceID      string `expr:"source_id"`
	Manager       string `expr:"manager"`
	Agent         string `expr:"agent"`
	AgentLocation string `expr:"agent_location"`
	Class         string `expr:"class"`
	Type          string `expr:"type"`
	Severity      int    `expr:"severity"`
	Description   string `expr:"description"`
	AgentTime     int    `expr:"agent_time"`
}

// FieldNames are the alert's fields that an expression may use, sorted.
func FieldNames() []string {
	names := tags(reflect.TypeFor[fields]())
	slices.Sort(names)
	return names
}

func tags(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("expr"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func compileFilter(text string) (*expression, error) {
	if err := inspect(text, FieldNames()); err != nil {
		return nil, err
	}
	p, err := expr.Compile(text, append(options(), expr.Env(&fields{}), expr.AsBool())...)
	if err != nil {
		return nil, plainError(err)
	}
	return &expression{p}, nil
}

func compileValue(text string) (*expression, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("empty expression: leave the field out to keep its default")
	}
	if err := inspect(text, append(FieldNames(), "event")); err != nil {
		return nil, err
	}
	p, err := expr.Compile(text, append(options(), expr.Env(&mappingFields{}))...)
	if err != nil {
		return nil, plainError(err)
	}
	return &expression{p}, nil
}

func options() []expr.Option {
	return []expr.Option{expr.DisableBuiltin("now"), expr.MaxNodes(maxExpressionNodes)}
}

// inspect finds what expr's own checks leave out or say less plainly.
func inspect(text string, known []string) error {
	if len(text) > maxExpressionBytes {
		return fmt.Errorf("expression has %d bytes (accepted: up to %d)", len(text), maxExpressionBytes)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return plainError(err)
	}
	v := &inspector{known: known}
	ast.Walk(&tree.Node, v)
	for _, name := range v.names {
		if !slices.Contains(known, name) && !slices.Contains(v.declared, name) {
			return fmt.Errorf("unknown field %q (nearest: %q)", name, nearest(name, known))
		}
	}
	return v.err
}

// inspector collects the names in an expression.
type inspector struct {
	known, names, declared []string
	err                    error
}

// Visit is called for the inner nodes first.
func (v *inspector) Visit(node *ast.Node) {
	switch x := (*node).(type) {
	case *ast.IdentifierNode:
		v.names = append(v.names, x.Value)
	case *ast.VariableDeclaratorNode:
		v.declared = append(v.declared, x.Name)
	case *ast.BuiltinNode:
		if x.Name == "now" {
			v.err = errors.New("now() is refused, since the same alert must always give the same event: use lastModified")
		}
	case *ast.PredicateNode:
		var inner loops
		ast.Walk(&x.Node, &inner)
		if inner > 0 {
			v.err = errors.New("a loop within a loop is refused: one alert must not cost unbounded time")
		}
	}
}

// loops counts predicates.
type loops int

func (l *loops) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.PredicateNode); ok {
		*l++
	}
}

// plainError is expr's error in one line.
func plainError(err error) error {
	f, ok := errors.AsType[*file.Error](err)
	if !ok {
		return err
	}
	if f.Line > 1 {
		return fmt.Errorf("%s (line %d, column %d)", f.Message, f.Line, f.Column+1)
	}
	return fmt.Errorf("%s (column %d)", f.Message, f.Column+1)
}

// runner is what one evaluation needs, kept for the next.
type runner struct {
	vm  vm.VM
	env mappingFields
}

func newRunner() *runner {
	r := &runner{}
	r.vm.MemoryBudget = memoryBudget
	return r
}

// load fills the alert's fields.
func (r *runner) load(a *alert.Alert, host, group string) {
	c := &a.CustomFields
	r.env.fields = fields{
		ID: a.ID.String(), Name: a.Name, Description: a.Description, Category: a.Category, Owner: a.Owner,
		TicketID: a.TicketID, ResolvedBy: a.ResolvedBy, LastModifiedBy: a.LastModifiedBy,
		ObjectID: a.ObjectID, ObjectName: a.ObjectName, DisplayName: a.ObjectDisplayName, Path: a.ObjectPath,
		NetbiosComputer: a.NetbiosComputer, NetbiosDomain: a.NetbiosDomain, PrincipalName: a.PrincipalName,
		SiteName: a.SiteName, MonitorName: a.MonitorName, AlertSource: a.Source,
		CustomField1: c[0], CustomField2: c[1], CustomField3: c[2], CustomField4: c[3], CustomField5: c[4],
		CustomField6: c[5], CustomField7: c[6], CustomField8: c[7], CustomField9: c[8], CustomField10: c[9],
		Host: host, ManagementGroup: group, Severity: a.Severity.String(), Priority: a.Priority.String(),
		ResolutionState: int(a.ResolutionState), RepeatCount: int(a.RepeatCount), Closed: a.Closed(),
		IsMonitorAlert: a.IsMonitorAlert, InMaintenance: a.InMaintenance,
		LastModified: a.LastModified.UTC(), TimeAdded: a.TimeAdded.UTC(),
	}
}

// wants evaluates a filter.
func (r *runner) wants(x *expression) (bool, error) {
	out, err := r.vm.Run(x.program, &r.env.fields)
	if err != nil {
		return false, plainError(err)
	}
	wanted, ok := out.(bool)
	if !ok {
		return false, fmt.Errorf("gave %s, not true or false", describe(out))
	}
	return wanted, nil
}

// value evaluates a mapping.
func (r *runner) value(x *expression) (any, error) {
	out, err := r.vm.Run(x.program, &r.env)
	if err != nil {
		return nil, plainError(err)
	}
	return out, nil
}
