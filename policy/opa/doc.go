// Package opa asks a running OPA server for decisions over its REST API (SPEC §7 "OPA server"). [Engine]
// implements [policy.Engine] with the standard library only.
//
// # The guide's step 5
//
// Put the policy into policies/kest/allow_trusted.rego:
//
//	package kest.allow_trusted
//
//	default allow = false
//
//	allow {
//		input.trust_score >= 40
//	}
//
// start OPA with it (since OPA 1.0 this older syntax needs --v0-compatible, which also makes OPA listen on the
// container's network and not on its loopback interface alone):
//
//	docker run -d -p 127.0.0.1:8181:8181 -v ./policies:/policies \
//		openpolicyagent/opa:1.22.2 run --server --v0-compatible /policies
//
// and hand the engine to the guard:
//
//	engine, err := opa.New(opa.Config{Host: "localhost", Port: 8181})
//	if err != nil {
//		return err
//	}
//	defer engine.Close()
//	guard, err := kest.New(kest.Config{Engine: engine})
//
// A call that is protected by the policy "kest/allow_trusted" now makes one real request,
//
//	POST http://localhost:8181/v1/data/kest/allow_trusted?strict-builtin-errors=true
//	{"input": {"trust_score": 100, "subject": {…}, …}}
//
// and runs only when the answer is {"result": {"allow": true}} or, for a policy name that leads to a rule
// instead of a package, {"result": true}.
//
// # What counts as an answer
//
// Status 200 with exactly one JSON value, read strictly: no duplicate members, no data behind it, no case
// folding, bounded in size and depth, not compressed, and JSON true or false at the decision path. Everything
// else is an error and so a denial (TC-09):
//
//	policy.ErrUnknownPolicy  the name is not a policy name; nothing was sent
//	policy.ErrUnavailable    no connection, no complete answer in time, a status other than 2xx, no bearer token
//	policy.ErrIndefinite     an answer without a definite boolean, a policy that fails (conflicting values, an error of
//	                         a built-in function), or an input that cannot be sent
//
// An input cannot be sent when it holds text that is not UTF-8, or attributes that are not JSON values, is nested deeper
// than 64, or is larger than [Config.MaxRequest]; 128 ancestors take about 50 KB of it.
//
// OPA says {} both for a package that it does not have and for a rule that is undefined, so an unknown policy is
// ErrIndefinite here. Nothing is retried, and no redirect is followed: the policy input must not go to a host
// that the configuration does not name. For the same reason proxies from the environment are not used.
// Errors never repeat the input or the bearer token, and of the server's words only an error code of OPA's form
// and, when TLS fails, a short printable excerpt of its certificate's names.
//
// # Transport
//
// HTTP/1.1 with kept connections, over TLS (with a client certificate for mTLS), a Unix socket or, on the
// loopback interface only, plain HTTP. Plain HTTP to another host needs [Config.InsecureHTTP], since anybody on
// the way could answer "allow".
package opa
