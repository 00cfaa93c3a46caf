package api

import (
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

// leaf is one value in a status, with the name it has in the JSON.
type leaf struct {
	name  string
	value reflect.Value
}

func leaves(name string, v reflect.Value) []leaf {
	var all []leaf
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		return []leaf{{name, v}}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			part, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			at := strings.Trim(name+"."+part, ".")
			all = append(all, leaves(at, v.Field(i))...)
		}
		return all
	case v.Kind() == reflect.Slice:
		for i := range min(v.Len(), 1) { // of equals one tells for all
			all = append(all, leaves(name+"[]", v.Index(i))...)
		}
		return all
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			return leaves(name, v.Elem())
		}
		return nil
	case v.Kind() == reflect.Map:
		return nil // Fields of a close request: named by what is asked for
	}
	return []leaf{{name, v}}
}

// disturb makes a value another one.
func disturb(v reflect.Value) {
	switch x := v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(x.Add(-73 * time.Hour)))
		return
	case bool:
		v.SetBool(!x)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + " other")
	case reflect.Float64:
		v.SetFloat(v.Float() + 4321)
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 4321<<30)
	case reflect.Uint64:
		v.SetUint(v.Uint() + 4321)
	}
}

// unshown are fields that the page shows by something else, or not of the entry that is disturbed.
var unshown = map[string]string{
	"term":                             "the token has it",
	"epoch":                            "the token has it",
	"leaderChanges[].term":             "its token has it",
	"leaderChanges[].epoch":            "its token has it",
	"clusterId":                        "for programs: Cluster is its name",
	"config.author":                    "the newest of the versions has it",
	"config.at":                        "the newest of the versions has it",
	"parkedRequests.requests[].stands": "the heading says it",
	"scom[].warning":                   "the warnings have it",
	"lams[].warning":                   "the warnings have it",
	"scom[].brief":                     "the first line says it",
	"scom[].lastFailed":                "of the first, which has not failed, it says nothing",
	"lams[].brief":                     "the first line says it",
	"lams[].do":                        "the first line says it",
	"takeover.refusal":                 "the maintenance page says it",
	"pipelines[].parked":               "the parked entries have it",
	"members[].sticky":                 "of the first, which is not in maintenance, it says nothing",
}

// The page is a pure function of the status: whatever changes there changes here. So a field that somebody adds to the status
// and does not show fails this, unless it says above why not.
func TestEveryFieldOfTheStatusShowsOnThePage(t *testing.T) {
	base := map[string]v1.Status{"broken": broken(), "lonely": lonely(), "well": healthy()}
	shown := map[string]bool{}
	seen := map[string]bool{}
	for name, fixture := range map[string]func() v1.Status{"broken": broken, "lonely": lonely, "well": healthy} {
		before := string(show(t, base[name]))
		s := fixture()
		for i := range leaves("", reflect.ValueOf(&s).Elem()) {
			s = fixture() // fresh: the fixtures share no memory
			l := leaves("", reflect.ValueOf(&s).Elem())[i]
			disturb(l.value)
			seen[l.name] = true
			shown[l.name] = shown[l.name] || string(show(t, s)) != before
		}
	}
	for name := range seen {
		if _, why := unshown[name]; shown[name] == why {
			t.Errorf("the page changes with %s: %v; unshown has it: %v", name, shown[name], why)
		}
	}
}
