package awstest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions"
	"github.com/aws/aws-sdk-go-v2/service/verifiedpermissions/types"

	"github.com/kest-go/kest/aws/awstest"
)

// TestAuthorizationLimits: the kit refuses what Verified Permissions refuses, or tests against it would show nothing.
func TestAuthorizationLimits(t *testing.T) {
	s := awstest.Start(t)
	client := verifiedpermissions.NewFromConfig(config(s, s.Grant(awstest.Session("x"))))
	stranger := verifiedpermissions.NewFromConfig(config(s, s.Grant(awstest.Session("y"))))
	store := s.NewPolicyStore(awstest.PolicyStore{
		Decide:  func(context.Context, awstest.Authorization) awstest.Verdict { return awstest.Verdict{Decision: "DENY"} },
		Callers: []string{awstest.Session("x")},
	})
	attribute := func(v types.AttributeValue) func(*verifiedpermissions.IsAuthorizedInput) {
		return func(in *verifiedpermissions.IsAuthorizedInput) {
			in.Context = &types.ContextDefinitionMemberContextMap{Value: map[string]types.AttributeValue{"a": v}}
		}
	}
	input := func() *verifiedpermissions.IsAuthorizedInput {
		return &verifiedpermissions.IsAuthorizedInput{PolicyStoreId: &store, Principal: entity("W", "a"), Resource: entity("R", "a"),
			Action: &types.ActionIdentifier{ActionType: ptr("A::Action"), ActionId: ptr("a")}}
	}
	for name, test := range map[string]struct {
		change func(*verifiedpermissions.IsAuthorizedInput)
		want   string
	}{
		"good":            {func(*verifiedpermissions.IsAuthorizedInput) {}, ""},
		"612 characters":  {func(in *verifiedpermissions.IsAuthorizedInput) { in.Principal = entity("W", strings.Repeat("é", 612)) }, ""},
		"613 characters":  {func(in *verifiedpermissions.IsAuthorizedInput) { in.Principal = entity("W", strings.Repeat("a", 613)) }, "ValidationException"},
		"empty id":        {func(in *verifiedpermissions.IsAuthorizedInput) { in.Resource = entity("R", "") }, "ValidationException"},
		"line break":      {func(in *verifiedpermissions.IsAuthorizedInput) { in.Resource = entity("R", "a\n") }, "ValidationException"},
		"long type":       {func(in *verifiedpermissions.IsAuthorizedInput) { in.Resource = entity(strings.Repeat("R", 201), "a") }, "ValidationException"},
		"long action":     {func(in *verifiedpermissions.IsAuthorizedInput) { in.Action.ActionId = ptr(strings.Repeat("a", 513)) }, "ValidationException"},
		"type of actions": {func(in *verifiedpermissions.IsAuthorizedInput) { in.Action.ActionType = ptr("Verb") }, "ValidationException"},
		"another store":   {func(in *verifiedpermissions.IsAuthorizedInput) { in.PolicyStoreId = ptr("PS") }, "ResourceNotFoundException"},
		"decimal":         {attribute(&types.AttributeValueMemberDecimal{Value: "-1.5"}), ""},
		"no decimal":      {attribute(&types.AttributeValueMemberDecimal{Value: "1.00001"}), "ValidationException"},
		"address":         {attribute(&types.AttributeValueMemberIpaddr{Value: "10.0.0.1"}), "ValidationException"}, // not what our engine sends
		"empty set":       {attribute(&types.AttributeValueMemberSet{Value: []types.AttributeValue{}}), ""},
		"1 MB":            {attribute(&types.AttributeValueMemberString{Value: strings.Repeat("x", 1_000_000)}), "ValidationException"},
	} {
		in := input()
		test.change(in)
		out, err := client.IsAuthorized(t.Context(), in)
		if code(err) != test.want || (err == nil) != (test.want == "") || err == nil && out.Decision != types.DecisionDeny {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := stranger.IsAuthorized(t.Context(), input()); code(err) != "AccessDeniedException" {
		t.Error(err)
	}
	batch := func(n int, change func(i int, r *types.BatchIsAuthorizedInputItem)) string {
		in := &verifiedpermissions.BatchIsAuthorizedInput{PolicyStoreId: &store, Requests: []types.BatchIsAuthorizedInputItem{}}
		for i := range n {
			r := types.BatchIsAuthorizedInputItem{Principal: entity("W", "a"), Resource: entity("R", "a"), Action: input().Action}
			change(i, &r)
			in.Requests = append(in.Requests, r)
		}
		out, err := client.BatchIsAuthorized(t.Context(), in)
		if err == nil && len(out.Results) != n {
			t.Errorf("%d results for %d", len(out.Results), n)
		}
		return code(err)
	}
	same := func(int, *types.BatchIsAuthorizedInputItem) {}
	resources := func(i int, r *types.BatchIsAuthorizedInputItem) { r.Resource = entity("R", fmt.Sprint(i)) }
	both := func(i int, r *types.BatchIsAuthorizedInputItem) { resources(i, r); r.Principal = r.Resource }
	if a, b, c, d, e := batch(30, same), batch(2, resources), batch(31, same), batch(0, same), batch(2, both); a+b != "" || c != "ValidationException" || d != c || e != c {
		t.Errorf("%q %q %q %q %q", a, b, c, d, e)
	}
}

func entity(kind, id string) *types.EntityIdentifier {
	return &types.EntityIdentifier{EntityType: &kind, EntityId: &id}
}

func ptr(s string) *string { return &s }
