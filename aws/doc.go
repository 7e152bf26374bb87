// Package aws is the identity of a workload that runs with an AWS role, or as an Amazon Bedrock agent, and that has a key
// in AWS KMS (SPEC §8 "AWS workload" and "Bedrock agent").
//
// # Who the workload is
//
// STS says it. The caller of a role, "arn:aws:sts::<account>:assumed-role/<role>/<session>", becomes the role,
// "arn:aws:iam::<account>:role/<role>". STS does not tell the path of a role, so the principal never has one; role names
// are unique in an account without it, so the principal still means one role. The session name is left out: whoever
// assumes the role chooses it, and it may be a person's address. IAM users keep their ARNs. The root user of an account and
// federated users, whose names are chosen freely as well, are refused. The partitions of China and of the US government are kept as they are.
//
// The principal of a Bedrock agent is its ARN. STS vouches for the account only: the agent's id is what the
// environment says, and entries name the role that stood behind it in the label [LabelCaller].
//
// # What its signatures prove
//
// In mode [Certified], the default, the KMS key signs a statement about an ephemeral Ed25519 session key, a binding of
// [lineage.FormKMS], and the session key signs entries: KMS is asked once for every session and never for an entry.
// A verifier that knows the KMS key, see [Root], learns that somebody who may use kms:Sign with that key certified the
// session key for that principal. So the policy of the KMS key decides who can be the workload: give every workload a
// key of its own, and list for each key, in [lineage.KMSRoot], whom it may certify. The role and agent names themselves
// are the workload's word, which the holder of the key could change.
//
// In mode [Direct] a KMS Ed25519 key signs each entry itself. That proves the same and costs one KMS request for every
// entry; there is no binding, and verifiers are given [Provider.PublicKey].
//
// # Permissions
//
// The role needs kms:GetPublicKey and kms:Sign on the key. STS GetCallerIdentity needs none, but an explicit denial or a
// VPC endpoint policy can forbid it. A verifier that uses [Root] needs kms:GetPublicKey.
//
// # When AWS does not answer
//
// The SDK retries as it is configured to. While KMS or STS is away the session key is used until its end, and then
// signing stops with [identity.ErrExpired] and the reason. When AWS says no, because access was taken away or the key
// was disabled, the next renewal takes the session key away at once, with [identity.ErrRevoked].
package aws
