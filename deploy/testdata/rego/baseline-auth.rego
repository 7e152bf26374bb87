package acme["baseline-auth"]

default allow := false

allow if input.trust_score >= 20
