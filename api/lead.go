package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	v1 "scomconnector/api/v1"
)

// maintain carries out an order of maintenance, from the API and from the form.
func (s *server) maintain(r *http.Request, by string, o v1.MaintenanceOrder) (v1.Leadership, done, error) {
	if o.Action != "enter" && o.Action != "leave" {
		return v1.Leadership{}, done{}, fmt.Errorf(`%w: action must be "enter" or "leave", not %q`, errRequest, clip(o.Action, 40))
	}
	status := s.deps.Status()
	o.Node = cmp.Or(o.Node, status.Node)
	if err := known(status, "node", o.Node); err != nil {
		return v1.Leadership{}, done{}, err
	}
	what := "maintenance: " + o.Action + " " + o.Node + flagged(o.Force, "forced") + flagged(o.Action == "enter" && o.Sticky, "sticky")
	return carriedOut(what)(s.deps.Office.Maintain(r.Context(), o, by))
}

func (s *server) transferTo(r *http.Request, by string, o v1.TransferOrder) (v1.Leadership, done, error) {
	if o.To != "" {
		if err := known(s.deps.Status(), "to", o.To); err != nil {
			return v1.Leadership{}, done{}, err
		}
	}
	return carriedOut("transfer to " + cmp.Or(o.To, "the other node") + flagged(o.Force, "forced"))(s.deps.Office.Transfer(r.Context(), o, by))
}

func (s *server) takeOver(r *http.Request, by string, o v1.TakeoverOrder) (v1.Leadership, done, error) {
	return carriedOut("takeover by " + s.deps.Status().Node + flagged(o.Force, "forced"))(s.deps.Office.TakeOver(r.Context(), o, by))
}

// carriedOut is what an order answers and what the audit says of it, also where it failed.
func carriedOut(what string) func(v1.Leadership, error) (v1.Leadership, done, error) {
	return func(l v1.Leadership, err error) (v1.Leadership, done, error) {
		if err != nil {
			return l, done{what: what}, err
		}
		fill(&l.Maintenance)
		return l, done{body: l, what: what + "; leader: " + cmp.Or(l.Leader, "none")}, nil
	}
}

func flagged(set bool, word string) string {
	if set {
		return ", " + word
	}
	return ""
}

// known refuses a name that no member has: a mistyped one should not wait for an election first.
func known(s v1.Status, key, node string) error {
	var names []string
	for _, m := range s.Members {
		names = append(names, m.Node)
	}
	if len(names) == 0 || slices.Contains(names, node) {
		return nil
	}
	return fmt.Errorf("%w: %s: no member is called %q; there are %s", errRequest, key, clip(node, 64), strings.Join(names, ", "))
}

// ordered reads the JSON body of an order and carries it out.
func ordered[O any](carryOut func(*http.Request, string, O) (v1.Leadership, done, error)) func(*http.Request, string) (done, error) {
	return func(r *http.Request, by string) (done, error) {
		var o O
		if err := readOrder(r, &o); err != nil {
			return done{}, err
		}
		_, d, err := carryOut(r, by, o)
		return d, err
	}
}

// readOrder decodes a small JSON body strictly: a mistyped "force" must not be a silent "no".
func readOrder(r *http.Request, into any) error {
	if err := mayBeJSON(r); err != nil {
		return err
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = cmp.Or(tooLarge(more), errors.New("there is something behind the object"))
		}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	if err != nil {
		return cmp.Or(tooLarge(err), fmt.Errorf("%w: the body must be a JSON object as in openapi.yaml, such as {}: %w", errRequest, err))
	}
	return nil
}

func tooLarge(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLarge
	}
	return nil
}

// mayBeJSON refuses the types under which a form of another site's page can send JSON. Old browsers, which servers still have, send
// no Origin with it. The third type of forms, which is curl's default too, can stay: there a browser encodes the braces.
func mayBeJSON(r *http.Request) error {
	given := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if given == "" || err == nil && (media == "application/x-www-form-urlencoded" || strings.HasSuffix(media, "json")) {
		return nil
	}
	return fmt.Errorf("%w: %q", errMediaType, clip(given, 40))
}

func (s *server) members(w http.ResponseWriter, _ *http.Request) {
	status := s.deps.Status()
	all := v1.Members{Leader: status.Leader, Members: status.Members}
	fill(&all.Members)
	answerJSON(w, http.StatusOK, all)
}

func (s *server) removeMember(r *http.Request, by string) (done, error) {
	id := mux.Vars(r)["id"]
	d := done{what: fmt.Sprintf("members: %q removed", clip(id, 64))}
	return d, s.deps.Office.RemoveMember(r.Context(), id, by)
}
