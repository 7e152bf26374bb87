// Package cedar decides with Cedar policies inside the process, on cedar-go (SPEC §7 "Cedar in process").
//
//	engine, err := cedar.Dir("policies") // policies/kest/allow_trusted.cedar
//
// # Policies
//
// The policy kest/allow_trusted is the file kest/allow_trusted.cedar, all of its statements and no others:
//
//	permit(principal, action, resource) when { context.trust_score >= 40 };
//
// A file whose path is no policy name is an error, since nobody could ask it. A permit must apply and no forbid. A
// condition that fails is an error that matches [policy.ErrIndefinite], whatever the other statements say: Cedar skips
// such a statement, and it may have been the forbid. A name without a file matches [policy.ErrUnknownPolicy], an
// input that Cedar cannot hold [policy.ErrIndefinite], and the end of the context [policy.ErrUnavailable]. Every error
// denies.
//
// The reason of a decision, and the text of an error, name the statements that made it: their effect, their @id or
// else policy0, policy1, … in the order of the file, and file and line. Two statements of a file may not have one id.
// Errors name types and attributes, and never a value of the input.
//
// # What is asked
//
//	principal  Workload::"spiffe://example.org/payments"
//	action     Action::"kest/allow_trusted"
//	resource   Resource::"order/ORD-123", or Resource::"*" when the call names no object
//
// An id is data: nothing in it can end it. An object with the id "*" is the same resource as no object, so a
// policy tells them apart by context.object has id.
//
// The context is the document of [policy.Input.Document] as a record, and each value in it that is no record once more
// at the top under its dotted path: context.subject.user is context["subject.user"]. Two attributes with one dotted
// path are an error where a policy reads it.
//
//   - null is left out, in arrays too. Ask context.subject has user first: a missing attribute is an error.
//   - An array is a Set: it has no order and no duplicates. So the parents in lineage.ancestors, which are positions in
//     the list, say nothing here. A rule about what happened before asks lineage.steps, acts, users, labels or
//     operations.
//   - A whole number is a Long, whatever it is written as: 3.0 is 3. Another number is a decimal when four digits after
//     the point are enough: 87.5 is decimal("87.5"). So give an attribute that may be either in whole units, cents for
//     euros. Other numbers, and those out of range, are errors: a rounded one would be another one.
//   - Attributes have at most 4,096 values, 64 levels and 1 MiB of text. Names __entity, __extn and __expr are
//     errors: where a policy is asked in JSON they would not be data. So are more than 4,096 values in one list of
//     lineage.
//
// Only what a policy's statements name is made and checked, so a policy that takes the context as a value (context ==
// {…}) costs most. The history of the call is read when a policy names a member of lineage that comes from it, and what
// is made of it serves all policies of the call.
//
// # Files
//
// A tree holds these. Others are left alone, so that Rego may lie beside Cedar.
//
//   - *.cedar: the statements of one policy.
//   - entities.json at the top, or [Config.Entities]: Cedar's JSON array of entities, for "principal in
//     Group::"staff"" and for attributes of principals and resources.
//   - schema.cedarschema at the top, or [Config.Schema]: a Cedar schema. All other *.cedarschema are errors.
//
// Names that begin with a dot are skipped (.git, and the hidden folders behind a mounted ConfigMap). A symbolic link
// to a file is followed if it stays in the tree; a link to a folder is an error, since a silently missing folder
// could miss the policy that denies. A file that fails to load fails the load, and names file and line; a reload that
// fails leaves what was loaded in force.
//
// # Schema
//
// With a schema, every policy needs an action of its name that applies to principal Workload and resource Resource,
// and its statements are type-checked, strictly, for that action alone; entities are checked too. cedar-go calls its
// validator experimental. It is used to refuse, never to allow: a decision does not depend on it. Requests are not
// checked against the schema, because the schema may declare less of the context than there is.
//
// [InputSchema] is a schema of the context to begin with, and [Config.CheckInput] checks against it the policies of a
// tree that has none. Neither can find everything. A misspelt member is an error where it is read
// (context.lineage.operatoins), and with CheckInput where it is asked for (context.lineage has operatoins); with a
// schema of the tree's own, the latter passes as a test that is false. What a text should be is not checked: an operation,
// an outcome or a tier that does not exist passes. Cedar has no open records, so attributes and labels are what the
// schema says they are, whatever callers send.
//
// # What a policy cannot do
//
// Cedar has no loops, no input and output, and no clock. cedar-go cannot be interrupted, so the deadline is looked at
// before each statement and after the last, and what one statement can cost is bounded: 64 KiB of text, 64 attributes
// in a row (a.b.c), and the limits of attributes above. Those of sets matter most: cedar-go keeps them by a hash
// without a key, and whoever can choose 4,000 values can make one comparison take tenths of a second.
package cedar
