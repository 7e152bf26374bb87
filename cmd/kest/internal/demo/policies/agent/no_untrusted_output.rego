# Nothing that a language model produced may act, until a sanitizer has removed the taint.
package agent.no_untrusted_output

default allow := false

allow if not "llm_output" in input.subject.taints
