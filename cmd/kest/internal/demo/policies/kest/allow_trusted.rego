# A call is allowed when its trust score is at least 40. Trust scores run from 0 to 100, and a call never has
# more trust than the calls that led to it.
package kest.allow_trusted

default allow := false

allow if input.trust_score >= 40
