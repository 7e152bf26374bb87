package awstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A PolicyStore is one of Verified Permissions. It has no policies but a function.
type PolicyStore struct {
	// Decide answers one request. ctx ends when the client has gone.
	Decide func(ctx context.Context, q Authorization) Verdict
	// Callers are the ARNs of those who may ask; none means everybody.
	Callers []string
}

// An Entity is the type and the id of a principal, an action or a resource.
type Entity struct{ Type, ID string }

// An Authorization is what IsAuthorized is asked, read strictly. Values of the context are bool, int64, string, [Decimal],
// []any for sets, and map[string]any for records.
type Authorization struct {
	Principal, Action, Resource Entity
	Context                     map[string]any
}

// Decimal is a value of Cedar's extension type.
type Decimal string

// A Verdict is the answer to one [Authorization].
type Verdict struct {
	Decision string   // ALLOW or DENY, or what a broken service would say
	Policies []string // ids of those that determined it
	Errors   []string // descriptions
}

// NewPolicyStore adds a policy store and returns its id.
func (s *Server) NewPolicyStore(p PolicyStore) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policies == nil {
		s.policies = map[string]PolicyStore{}
	}
	id := "PS" + random(10)
	s.policies[id] = p
	return id
}

// Limits of Verified Permissions (API reference; User Guide, Quotas).
const (
	maxAuthorization = 1_000_000 // bytes
	maxBatch         = 30
)

// A rejection is a ValidationException. Like those of AWS it repeats what it rejects.
type rejection struct{ at, value string }

func (r *rejection) Error() string {
	return fmt.Sprintf("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint", r.value, r.at)
}

// avp answers json-1.0.
func (s *Server) avp(w http.ResponseWriter, r *http.Request, action string, body []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	fail := func(status int, code, message string) {
		writeJSON(w, status, map[string]string{"__type": "com.amazonaws.verifiedpermissions#" + code, "message": message})
	}
	if _, done := s.fault(w, r, action, fail); done {
		return
	}
	if len(body) > maxAuthorization {
		fail(http.StatusBadRequest, "ValidationException", "the request is too large")
		return
	}
	caller, failed := s.authenticate(r, body, "verifiedpermissions")
	if failed != nil {
		fail(http.StatusForbidden, failed.code, failed.message)
		return
	}
	q, batch, err := parseAuthorization(action, body)
	if err != nil {
		fail(http.StatusBadRequest, "ValidationException", err.Error())
		return
	}
	s.mu.Lock()
	store, known := s.policies[q.PolicyStoreId]
	s.mu.Unlock()
	switch {
	case !known:
		fail(http.StatusNotFound, "ResourceNotFoundException", "no policy store "+q.PolicyStoreId)
	case len(store.Callers) > 0 && !slices.Contains(store.Callers, caller):
		fail(http.StatusForbidden, "AccessDeniedException", "User: "+caller+" is not authorized to perform: verifiedpermissions:"+action)
	case batch:
		results := make([]map[string]any, len(q.asked))
		for i, a := range q.asked {
			results[i] = store.Decide(r.Context(), a).json()
			results[i]["request"] = q.Requests[i]
		}
		writeJSON(w, http.StatusOK, map[string]any{"results": results})
	default:
		writeJSON(w, http.StatusOK, store.Decide(r.Context(), q.asked[0]).json())
	}
}

func (v Verdict) json() map[string]any {
	policies, errs := []map[string]string{}, []map[string]string{}
	for _, id := range v.Policies {
		policies = append(policies, map[string]string{"policyId": id})
	}
	for _, text := range v.Errors {
		errs = append(errs, map[string]string{"errorDescription": text})
	}
	return map[string]any{"decision": v.Decision, "determiningPolicies": policies, "errors": errs}
}

// authorizations are the members of both operations.
type authorizations struct {
	PolicyStoreId string
	Requests      []json.RawMessage
	asked         []Authorization
}

// parseAuthorization reads the input of IsAuthorized or BatchIsAuthorized.
func parseAuthorization(action string, body []byte) (q authorizations, batch bool, err error) {
	switch action {
	case "IsAuthorized":
		var all map[string]json.RawMessage
		if err := strict(body, &all); err != nil {
			return q, false, err
		}
		if err := strict(all["policyStoreId"], &q.PolicyStoreId); err != nil {
			return q, false, err
		}
		delete(all, "policyStoreId")
		rest, err := json.Marshal(all)
		q.Requests = []json.RawMessage{rest}
		if err != nil {
			return q, false, err
		}
	case "BatchIsAuthorized":
		if err := strict(body, &q); err != nil {
			return q, true, err
		}
		if n := len(q.Requests); n == 0 || n > maxBatch {
			return q, true, &rejection{"requests", fmt.Sprint(n)}
		}
		batch = true
	default:
		return q, false, &rejection{"operation", action}
	}
	for _, text := range q.Requests {
		a, err := parseOne(text)
		if err != nil {
			return q, batch, err
		}
		q.asked = append(q.asked, a)
	}
	if !oneSided(q.asked) {
		return q, batch, &rejection{"requests", "either the principal or the resource must be the same"}
	}
	return q, batch, nil
}

func oneSided(asked []Authorization) bool {
	principals, resources := true, true
	for _, a := range asked {
		principals = principals && a.Principal == asked[0].Principal
		resources = resources && a.Resource == asked[0].Resource
	}
	return principals || resources
}

func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil || d.More() {
		return &rejection{"body", string(text)}
	}
	return nil
}

func parseOne(text []byte) (a Authorization, err error) {
	var one struct {
		Principal, Resource struct{ EntityType, EntityId string }
		Action              struct{ ActionType, ActionId string }
		Context             struct{ ContextMap map[string]json.RawMessage }
	}
	if err := strict(text, &one); err != nil {
		return a, err
	}
	a = Authorization{
		Principal: Entity{one.Principal.EntityType, one.Principal.EntityId},
		Action:    Entity{one.Action.ActionType, one.Action.ActionId},
		Resource:  Entity{one.Resource.EntityType, one.Resource.EntityId},
	}
	if t := a.Action.Type; t != "Action" && !strings.HasSuffix(t, "::Action") {
		return a, &rejection{"action.actionType", t}
	}
	for _, f := range []struct {
		at, value string
		most      int
	}{
		{"principal.entityType", a.Principal.Type, 200}, {"principal.entityId", a.Principal.ID, 612},
		{"resource.entityType", a.Resource.Type, 200}, {"resource.entityId", a.Resource.ID, 612},
		{"action.actionType", a.Action.Type, 200}, {"action.actionId", a.Action.ID, 512},
	} {
		if n := utf8.RuneCountInString(f.value); n < 1 || n > f.most || strings.ContainsAny(f.value, "\n\r\u0085\u2028\u2029") {
			return a, &rejection{f.at, f.value}
		}
	}
	a.Context, err = parseRecord(one.Context.ContextMap)
	return a, err
}

func parseRecord(members map[string]json.RawMessage) (map[string]any, error) {
	r := make(map[string]any, len(members))
	for name, text := range members {
		v, err := parseValue(text)
		if err != nil {
			return nil, err
		}
		r[name] = v
	}
	return r, nil
}

var (
	errUnion = errors.New("not one member of AttributeValue")
	decimals = regexp.MustCompile(`^-?\d{1,15}\.\d{1,4}$`)
)

// parseValue reads an AttributeValue, which has exactly one member.
func parseValue(text []byte) (any, error) {
	var union map[string]json.RawMessage
	if err := strict(text, &union); err != nil || len(union) != 1 {
		return nil, errUnion
	}
	for kind, text := range union {
		switch kind {
		case "boolean":
			return scalar[bool](text)
		case "long":
			return scalar[int64](text)
		case "string":
			return scalar[string](text)
		case "decimal":
			d, err := scalar[Decimal](text)
			if err == nil && !decimals.MatchString(string(d.(Decimal))) {
				return nil, &rejection{"decimal", string(text)}
			}
			return d, err
		case "record":
			var members map[string]json.RawMessage
			if err := strict(text, &members); err != nil {
				return nil, err
			}
			return parseRecord(members)
		case "set":
			return parseSet(text)
		}
	}
	return nil, errUnion
}

func scalar[T any](text []byte) (any, error) {
	var v *T
	if err := strict(text, &v); err != nil || v == nil {
		return nil, errUnion
	}
	return *v, nil
}

func parseSet(text []byte) (any, error) {
	var elements []json.RawMessage
	if err := strict(text, &elements); err != nil {
		return nil, err
	}
	set := make([]any, len(elements))
	for i, text := range elements {
		v, err := parseValue(text)
		if err != nil {
			return nil, err
		}
		set[i] = v
	}
	return set, nil
}
