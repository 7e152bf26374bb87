// Package avp asks Amazon Verified Permissions for decisions (SPEC §7 "AWS Verified Permissions"). [Engine] implements
// [policy.Engine] on the AWS SDK.
//
// Put the policy into a policy store,
//
//	permit(principal, action == Action::"kest/allow_trusted", resource) when { context.trust_score >= 40 };
//
// and hand the engine to the guard:
//
//	engine, err := avp.New(ctx, avp.Config{PolicyStoreID: "PSEXAMPLEabcdefg111111"})
//	if err != nil {
//		return err
//	}
//	guard, err := kest.New(kest.Config{Engine: engine})
//
// The role of the process needs verifiedpermissions:IsAuthorized on the policy store, for batches too.
//
// # The question
//
// A call that is protected by the policy "kest/allow_trusted" makes one IsAuthorized request:
//
//	principal  Workload::"spiffe://example.org/payments"
//	action     Action::"kest/allow_trusted"
//	resource   Resource::"order/ORD-123", or Resource::"*" when the call names no object
//
// The policy store holds one set of policies, so the policy's name is the action that they are asked about. With
// [Config.Namespace] and the types of [Config] the entities fit a schema. The request carries no entities, so policies
// cannot use groups or attributes of the principal and the resource; what is known of them is in the context.
//
// The context is the policy input as policy/cedar has it, so that a policy moves between both: the nested document as
// records, and every value in it once more at the top under its dotted path, as context["subject.user"].
//
//   - null is left out, in arrays too. Ask context.subject has user first: a missing attribute is an error.
//   - An array is a set: it has no order and no duplicates, so positions, as in lineage.ancestors, say nothing.
//   - A whole number is a long, whatever it is written as: 3.0 is 3. Another number is a decimal when four digits after
//     the point are enough: 87.5 is decimal("87.5").
//
// What would mean something else there is not sent: other numbers, members named __entity, __extn or __expr, two
// attributes with the same dotted path, text that is not UTF-8. Nor is what Verified Permissions does not take: ids that
// are empty, longer than 612 characters or hold a line break, and requests of more than 1 MB, to which 128 ancestors
// add some 150 KB. Attributes have at most 4,096 values and 64 levels; with the lineage, 1 MiB of text and paths.
//
// # What counts as an answer
//
// Status 200 from the address that was asked, with exactly one JSON object, read strictly before the SDK reads it: no
// duplicate members, no data behind it, bounded in size and depth. Its decision is "ALLOW" or "DENY", without errors: Cedar
// skips a policy whose condition fails, and it may have been the one that decides. An ALLOW says that its list of errors
// is empty, and names a policy that determined it. Everything else is an error and so a denial (TC-09):
//
//	policy.ErrUnknownPolicy  the name is not a policy name; nothing was sent
//	policy.ErrUnavailable    no connection, no complete answer in time, no credentials, an error of the service
//	policy.ErrIndefinite     an answer without a definite decision, or an input that cannot be sent
//
// To Cedar an unknown policy is an action that nothing permits, so it is a denial here and no error.
//
// The SDK retries what passes, throttling for one, as its configuration says and within the timeout; nothing else is
// retried. Errors repeat neither the input nor the words of AWS, which can hold both input and session token: they have
// the status, the error code and advice. errors.As finds the SDK's own error, smithy.APIError, whose text is as AWS wrote it.
//
// # Several policies at once
//
// The guard asks the policies of a tier in one round trip, by [Engine.EvaluateAll].
package avp
