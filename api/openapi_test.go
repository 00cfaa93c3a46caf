package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	v1 "scomconnector/api/v1"
)

// readYAML reads as much of YAML as openapi.yaml uses: maps by indentation, with text as values. It saves
// a dependency for one test.
func readYAML(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	type level struct {
		indent int
		into   map[string]any
	}
	root := map[string]any{}
	open := []level{{-1, root}}
	for i, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' || trimmed[0] == '-' {
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " "))
		for indent <= open[len(open)-1].indent {
			open = open[:len(open)-1]
		}
		into := open[len(open)-1].into
		key, value, ok := strings.Cut(trimmed, ":")
		if !ok || into["folded"] != nil {
			into["folded"] = true // the text of a >- block
			continue
		}
		key = strings.Trim(key, `"`)
		if into[key] != nil {
			t.Fatalf("%s:%d: %q twice", file, i+1, key)
		}
		if value = strings.TrimSpace(value); value != "" && value != ">-" {
			if strings.Contains(value, ": ") || strings.Contains(value, " #") {
				t.Fatalf("%s:%d: this text needs quotes in YAML", file, i+1)
			}
			into[key] = strings.Trim(value, `"`)
			continue
		}
		child := map[string]any{}
		into[key] = child
		open = append(open, level{indent, child})
	}
	return root
}

func at(t *testing.T, m map[string]any, path ...string) map[string]any {
	t.Helper()
	for _, key := range path {
		next, ok := m[key].(map[string]any)
		if !ok {
			t.Fatalf("openapi.yaml has no %s", strings.Join(path, "."))
		}
		m = next
	}
	return m
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func TestOpenAPINamesEveryRoute(t *testing.T) {
	var served, described []string
	h := routes(&server{}, http.NotFoundHandler())
	err := h.Walk(func(r *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := r.GetPathTemplate()
		methods, methodsErr := r.GetMethods()
		for _, m := range methods {
			if m != http.MethodHead { // which every GET has
				served = append(served, strings.ToLower(m)+" "+strings.ReplaceAll(path, ":.+", ""))
			}
		}
		return errors.Join(err, methodsErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	paths := at(t, readYAML(t, "openapi.yaml"), "paths")
	for path := range paths {
		for _, method := range keys(at(t, paths, path)) {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served are %q, openapi.yaml has %q", served, described)
	}
}

func TestOpenAPINamesEveryField(t *testing.T) {
	schemas := at(t, readYAML(t, "openapi.yaml"), "components", "schemas")
	seen := map[string]bool{}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[v1.Status](), reflect.TypeFor[v1.Error](), reflect.TypeFor[v1.Settings](), reflect.TypeFor[v1.SettingsVersions](),
		reflect.TypeFor[v1.SettingsApplied](), reflect.TypeFor[v1.ParkedList](), reflect.TypeFor[v1.ParkedPayload](), reflect.TypeFor[v1.ParkedRetried](), reflect.TypeFor[v1.Vanished](),
		reflect.TypeFor[v1.CloseAnswer](), reflect.TypeFor[v1.OutboxList](), reflect.TypeFor[v1.ParkedRequestList](),
		reflect.TypeFor[v1.Members](), reflect.TypeFor[v1.Leadership](), reflect.TypeFor[v1.LogLevel](),
		reflect.TypeFor[v1.CursorList](), reflect.TypeFor[v1.RewindOrder](), reflect.TypeFor[v1.Rewound](),
		reflect.TypeFor[v1.MaintenanceOrder](), reflect.TypeFor[v1.TransferOrder](), reflect.TypeFor[v1.TakeoverOrder](),
	} {
		compareSchema(t, schemas, typ, seen)
	}
	for name := range schemas {
		if !seen[name] {
			t.Errorf("openapi.yaml has a schema %s that no type needs", name)
		}
	}
}

func compareSchema(t *testing.T, schemas map[string]any, typ reflect.Type, seen map[string]bool) {
	if seen[typ.Name()] {
		return
	}
	seen[typ.Name()] = true
	properties := at(t, schemas, typ.Name(), "properties")
	var names, required []string
	for _, field := range reflect.VisibleFields(typ) {
		if field.Anonymous { // its fields stand in the object itself
			continue
		}
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
		if option != "omitempty" && option != "omitzero" {
			required = append(required, name)
		}
		got, ok := properties[name].(map[string]any)
		if !ok {
			t.Errorf("openapi.yaml: %s has no %s", typ.Name(), name)
			continue
		}
		compareType(t, schemas, typ.Name()+"."+name, got, field.Type, seen)
	}
	slices.Sort(names)
	if !slices.Equal(keys(properties), names) {
		t.Errorf("openapi.yaml: %s has %q, want %q", typ.Name(), keys(properties), names)
	}
	// What a client sends may be left out, what a node answers is always there.
	var want any = fmt.Sprintf("[%s]", strings.Join(required, ", "))
	switch typ.Name() {
	case "MaintenanceOrder":
		want = "[action]"
	case "RewindOrder":
		want = "[to]"
	case "TransferOrder", "TakeoverOrder":
		want = nil
	}
	if got := at(t, schemas, typ.Name())["required"]; got != want {
		t.Errorf("openapi.yaml: %s requires %v, want %v", typ.Name(), got, want)
	}
}

func compareType(t *testing.T, schemas map[string]any, name string, got map[string]any, typ reflect.Type, seen map[string]bool) {
	want := ""
	switch {
	case typ.Kind() == reflect.Pointer: // what may be absent
		compareType(t, schemas, name, got, typ.Elem(), seen)
		return
	case typ == reflect.TypeFor[time.Time]():
		want = "string"
		if got["format"] != "date-time" {
			t.Errorf("openapi.yaml: %s has format %v, want date-time", name, got["format"])
		}
	case typ.Kind() == reflect.Slice:
		want = "array"
		compareType(t, schemas, name+"[]", at(t, got, "items"), typ.Elem(), seen)
	case typ.Kind() == reflect.Struct:
		if ref := "#/components/schemas/" + typ.Name(); got["$ref"] != ref {
			t.Errorf("openapi.yaml: %s refers to %v, want %s", name, got["$ref"], ref)
		}
		compareSchema(t, schemas, typ, seen)
		return
	case typ.Kind() == reflect.Map:
		want = "object"
		compareType(t, schemas, name+"{}", at(t, got, "additionalProperties"), typ.Elem(), seen)
	case typ.Kind() == reflect.String:
		want = "string"
	case typ.Kind() == reflect.Bool:
		want = "boolean"
	case typ.Kind() == reflect.Float64:
		want = "number"
	case typ.Kind() >= reflect.Int && typ.Kind() <= reflect.Uint64:
		want = "integer"
	}
	if got["type"] != want {
		t.Errorf("openapi.yaml: %s is %v, want %s", name, got["type"], want)
	}
}
