package avp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// What a policy store says, over its wire form.
func TestVerdicts(t *testing.T) {
	for name, test := range map[string]struct {
		verdict awstest.Verdict
		want    policy.Decision
		class   error
	}{
		"allow":                  {allow, policy.Decision{Allow: true, Reason: "determined by SP1"}, nil},
		"allow by two":           {awstest.Verdict{Decision: "ALLOW", Policies: []string{"b", "a"}}, policy.Decision{Allow: true, Reason: "determined by a, b"}, nil},
		"deny":                   {awstest.Verdict{Decision: "DENY"}, policy.Decision{}, nil},
		"forbidden":              {awstest.Verdict{Decision: "DENY", Policies: []string{"F"}}, policy.Decision{Reason: "determined by F"}, nil},
		"deny with errors":       {awstest.Verdict{Decision: "DENY", Errors: []string{"EVIL"}}, policy.Decision{}, policy.ErrIndefinite},
		"ids that are no ids":    {awstest.Verdict{Decision: "ALLOW", Policies: []string{"a\x1b[2J"}}, policy.Decision{Allow: true}, nil},
		"many ids":               {awstest.Verdict{Decision: "DENY", Policies: []string{strings.Repeat("x", 257)}}, policy.Decision{}, nil},
		"allow with errors":      {awstest.Verdict{Decision: "ALLOW", Policies: []string{"SP1"}, Errors: []string{"EVIL 5105"}}, policy.Decision{}, policy.ErrIndefinite},
		"allow by nothing":       {awstest.Verdict{Decision: "ALLOW"}, policy.Decision{}, policy.ErrIndefinite},
		"lower case":             {awstest.Verdict{Decision: "allow", Policies: []string{"SP1"}}, policy.Decision{}, policy.ErrIndefinite},
		"Cedar's word":           {awstest.Verdict{Decision: "Allow", Policies: []string{"SP1"}}, policy.Decision{}, policy.ErrIndefinite},
		"with a space":           {awstest.Verdict{Decision: "ALLOW ", Policies: []string{"SP1"}}, policy.Decision{}, policy.ErrIndefinite},
		"another word":           {awstest.Verdict{Decision: "EVIL", Policies: []string{"SP1"}}, policy.Decision{}, policy.ErrIndefinite},
		"none":                   {awstest.Verdict{Policies: []string{"SP1"}}, policy.Decision{}, policy.ErrIndefinite},
		"lower case for a deny":  {awstest.Verdict{Decision: "deny"}, policy.Decision{}, policy.ErrIndefinite},
		"not decided by anybody": {awstest.Verdict{Decision: "NOT_APPLICABLE"}, policy.Decision{}, policy.ErrIndefinite},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := start(t, always(test.verdict))
			d, err := evaluate(e)
			batch := e.EvaluateAll(t.Context(), []string{policytest.AllowTrusted}, policytest.Input(100))[0]
			if test.class != nil {
				mustRefuse(t, d, err, test.class)
				mustRefuse(t, batch.Decision, batch.Err, test.class)
				return
			}
			if err != nil || d != test.want || batch != (policy.Answer{Decision: test.want}) {
				t.Errorf("%+v, %v, in a batch %+v; want %+v", d, err, batch, test.want)
			}
		})
	}
}

// Bodies of a 200 answer that hold no definite decision, and what the error says about them.
func TestIndefiniteAnswers(t *testing.T) {
	for body, hint := range map[string]string{
		``: "strict JSON", ` `: "", `{`: "", `ALLOW`: "", `<html>ALLOW</html>`: "", `{"decision":"ALLOW"`: "",
		`null`: "not a JSON object", `[]`: "not a JSON object", `"ALLOW"`: "", `[` + allowed + `]`: "", `{}`: "no decision",
		`{"decision":null,"determiningPolicies":[{"policyId":"a"}],"errors":[]}`:    "no decision",
		`{"decision":true,"errors":[]}`:                                             "form of Verified Permissions",
		`{"decision":["ALLOW"]}`:                                                    "form of Verified Permissions",
		`{"Decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":[]}`: "no decision",
		`{"results":[` + allowed + `]}`:                                             "no decision",
		// two answers, of which the SDK would take the last, or the first
		`{"decision":"DENY","decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":[]}`:      "duplicate member",
		`{"decision":"DENY","dec\u0069sion":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":[]}`: "duplicate member",
		`{"decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":[{}],"errors":[]}`:          "duplicate member",
		allowed + `{"decision":"DENY"}`: "strict JSON", allowed + ` x`: "", allowed + "\x00": "",
		// what the API reference requires is missing or of another kind
		`{"decision":"ALLOW","determiningPolicies":[{"policyId":"a"}]}`:                          "without a list of errors",
		`{"decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":null}`:            "without a list of errors",
		`{"decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":"EVIL"}`:          "form of Verified Permissions",
		`{"decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":{}}`:              "form of Verified Permissions",
		`{"decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":[null]}`:          "1 errors",
		`{"decision":"ALLOW","determiningPolicies":[{"policyId":"a"}],"errors":[{"EVIL":7},{}]}`: "2 errors",
		`{"decision":"ALLOW","determiningPolicies":[],"errors":[]}`:                              "without a policy",
		`{"decision":"ALLOW","errors":[]}`:                                                       "without a policy",
		`{"decision":"ALLOW","determiningPolicies":"a","errors":[]}`:                             "form of Verified Permissions",
		// not JSON, and too much of it
		"\ufeff" + allowed: "", `{"x":"` + "\xff" + `","decision":"ALLOW"}`: "", strings.Repeat("[", 100_000): "",
		`{"x":"` + strings.Repeat("a", 256<<10) + `","decision":"ALLOW"}`: "larger than",
	} {
		e := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) })
		d, err := evaluate(e)
		if text := mustRefuse(t, d, err, policy.ErrIndefinite); !strings.Contains(text, hint) {
			t.Errorf("%.200s: %s", body, text)
		}
	}
	// A good answer in an unusual spelling.
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(" \n" + `{"x":[1e20,null],"errors":[],"determiningPolicies":[{"policyId":"a"}],"decision":"\u0041LLOW"}` + "\r\n"))
	})
	if d, err := evaluate(e); err != nil || !d.Allow {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		status     int
		body, hint string
		class      error
	}{
		{201, allowed, "201", policy.ErrIndefinite},
		{204, ``, "204", policy.ErrIndefinite},
		{302, allowed, "302", policy.ErrUnavailable},
		{400, `{"__type":"ValidationException","message":"EVIL 5105"}`, "400 ValidationException", policy.ErrIndefinite},
		{400, `{"__type":"EVIL words!","message":"EVIL"}`, "400 Bad Request", policy.ErrUnavailable},
		{400, `EVIL words`, "400 Bad Request", policy.ErrUnavailable},
		{403, `{"__type":"AccessDeniedException","message":"EVIL"}`, "verifiedpermissions:IsAuthorized", policy.ErrUnavailable},
		{403, allowed, "403", policy.ErrUnavailable},
		{404, `{"__type":"com.amazonaws.verifiedpermissions#ResourceNotFoundException"}`, "PolicyStoreID", policy.ErrUnavailable},
		{429, `{"__type":"ThrottlingException"}`, "rate", policy.ErrUnavailable},
		{500, allowed, "500", policy.ErrUnavailable},
		{503, ``, "503", policy.ErrUnavailable},
	} {
		e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			w.Write([]byte(test.body))
		})
		d, err := evaluate(e)
		if text := mustRefuse(t, d, err, test.class); !strings.Contains(text, test.hint) {
			t.Errorf("%d %s: %s", test.status, test.body, text)
		}
	}
}

// An answer counts only from the address that was asked. The SDK's own client follows no redirect of a POST; others do.
func TestRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(allowed)) }))
	defer elsewhere.Close()
	for status, client := range map[int]*http.Client{302: {Transport: &http.Transport{DisableKeepAlives: true}}, 307: nil, 308: nil} {
		server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		t.Cleanup(server.Close)
		config := sdkAt(server.URL, aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "s3cr3t"})
		want, hint := policy.ErrUnavailable, "AWS answered"
		if client != nil {
			config.HTTPClient, want, hint = client, policy.ErrIndefinite, "another address"
		}
		d, err := evaluate(engine(t, avp.Config{PolicyStoreID: "PS1", AWSConfig: config}))
		if text := mustRefuse(t, d, err, want); !strings.Contains(text, hint) {
			t.Errorf("%d: %s", status, text)
		}
	}
}

// The causes stay within reach of errors.As, and out of every text.
func TestErrorsOfTheService(t *testing.T) {
	s, e := start(t, always(allow))
	s.Break(awstest.Fault{Times: -1, Status: 403, Code: "AccessDeniedException"})
	d, err := evaluate(e)
	mustRefuse(t, d, err, policy.ErrUnavailable)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
		t.Errorf("%v", err)
	}
	s.Mend()

	other := s.NewPolicyStore(awstest.PolicyStore{Callers: []string{awstest.Session("orders")}})
	wrong := *sdk(s)
	key, _ := wrong.Credentials.Retrieve(t.Context())
	key.SecretAccessKey = "secret-of-another"
	wrong.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return key, nil })
	none := *sdk(s)
	none.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("EVIL at http://169.254.170.2/secret-path")
	})
	for name, test := range map[string]struct {
		config avp.Config
		hint   string
	}{
		"no access":            {avp.Config{PolicyStoreID: other, AWSConfig: sdk(s)}, "allow verifiedpermissions:IsAuthorized"},
		"no such store":        {avp.Config{PolicyStoreID: "PSnone", AWSConfig: sdk(s)}, "check PolicyStoreID"},
		"wrong secret":         {avp.Config{PolicyStoreID: other, AWSConfig: &wrong}, "check that the secret access key"},
		"unknown credentials":  {avp.Config{PolicyStoreID: other, AWSConfig: sdkAt(s.URL, aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "s3cr3t"})}, "renew them"},
		"no credentials":       {avp.Config{PolicyStoreID: other, AWSConfig: &none}, "no credentials"},
		"nobody listens there": {avp.Config{PolicyStoreID: other, AWSConfig: sdkAt("http://127.0.0.1:1", key)}, "connection refused"},
	} {
		d, err := evaluate(engine(t, test.config))
		if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, test.hint) {
			t.Errorf("%s: %s", name, text)
		}
	}
}
