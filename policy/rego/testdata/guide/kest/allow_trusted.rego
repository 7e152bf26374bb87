package kest.allow_trusted
default allow = false
allow {
input.trust_score >= 40
}
