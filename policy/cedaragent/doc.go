// Package cedaragent asks a running Cedar Agent for decisions over its REST API (SPEC §7 "Cedar Agent"). [Engine]
// implements [policy.Engine] with the standard library only.
//
// Put the policy into policies.json, as the agent loads it,
//
//	[{"id": "allow_trusted", "content": "permit(principal, action == Action::\"kest/allow_trusted\", resource) when { context.trust_score >= 40 };"}]
//
// start the agent with it and hand the engine to the guard:
//
//	engine, err := cedaragent.New(cedaragent.Config{URL: "http://localhost:8180/v1"})
//	if err != nil {
//		return err
//	}
//	defer engine.Close()
//	guard, err := kest.New(kest.Config{Engine: engine})
//
// A call that is protected by the policy "kest/allow_trusted" now makes one real request,
//
//	POST http://localhost:8180/v1/is_authorized
//	{
//	  "principal": "Workload::\"spiffe://example.org/payments\"",
//	  "action": "Action::\"kest/allow_trusted\"",
//	  "resource": "Resource::\"order/ORD-123\"",
//	  "context": {"trust_score": 100, "subject": {"user": "alice", …}, "subject.user": "alice", …}
//	}
//
// and runs only when the answer is {"decision": "Allow"}.
//
// # The question
//
// The agent holds one set of policies, so the policy's name is the action that they are asked about. The resource
// is "*" when the call names no object. The ids are data: whatever is in them, they end where they end, and they are
// written in the one form that Cedar accepts. [Config.Plain] sends them as they are, for servers that have types of
// their own.
//
// The context is the policy input as Cedar can hold it: the nested document as records, and every value in it once
// more at the top under its dotted path, as context["subject.user"]. Values that are null are left out, so a policy
// asks `context.subject has user` first. A list is a set, so positions in it, such as those in lineage.ancestors, say
// nothing. A number with a fraction is a decimal.
//
// An input that would mean something else there is not sent: a number that is neither a 64-bit integer nor a decimal
// (json.Number "1e2" is none, too; the guard writes no exponents), a member "__entity", "__extn" or "__expr", labels of
// ancestors included, which would become an entity of the caller's choice, two attributes with the same dotted path, text
// that is not UTF-8. Nor is one that is larger than [Config.MaxRequest]; 128 ancestors take about 100 KB of it.
//
// # What counts as an answer
//
// Status 200 with exactly one JSON object, read strictly: no duplicate members, no data behind it, no case folding,
// bounded in size and depth, not compressed. Its "decision" is the string "Allow" or "Deny". Either beside diagnostics
// with an error is no answer: Cedar skips a policy whose condition fails, and it may have been the one that decides.
// An answer without diagnostics is taken at its word. Everything else is an error and so a denial (TC-09):
//
//	policy.ErrUnknownPolicy  the name is not a policy name; nothing was sent
//	policy.ErrUnavailable    no connection, no complete answer in time, a status other than 2xx, no bearer token
//	policy.ErrIndefinite     an answer without a definite decision, or an input that cannot be sent
//
// To Cedar an unknown policy is an action that nothing permits, so it is a denial here and no error. Nothing is
// retried, and no redirect is followed: the policy input must not go to a host that the configuration does not name.
// For the same reason proxies from the environment are not used. Errors never repeat the input, the bearer token or
// the server's words, except a short printable excerpt of its certificate's names when TLS fails.
//
// # Transport
//
// HTTP/1.1 with kept connections, over TLS (with a client certificate for mTLS), a Unix socket or, on the
// loopback interface only, plain HTTP. Plain HTTP to another host needs [Config.InsecureHTTP], since anybody on
// the way could answer "Allow".
package cedaragent
