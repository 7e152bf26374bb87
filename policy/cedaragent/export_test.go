package cedaragent

import "github.com/kest-go/kest/policy"

// Decide is the reader of answers, for the fuzz test: over a connection it would run a hundred times slower.
func Decide(body []byte) (policy.Decision, error) { return decide(body) }

// Question is the writer of questions, for the same reason.
func Question(name string, in *policy.Input) ([]byte, error) {
	return asker{max: DefaultMaxRequest}.question(name, in)
}

// UID writes an entity UID.
func UID(kind, id string) string { return uid(kind, id) }
