package baseline

default allow := false

allow if input.subject.trust_score >= 20
