package kest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/kest-go/kest/identity"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// An Option sets one property of a guarded function. Mistakes in options surface when the function is wrapped.
//
// Options whose name ends in From take a resolver: a function of the call's argument. Its argument type must be
// the guarded function's; an error from a resolver stops the call.
type Option func(*settings)

// settings collects the options of one function, before a guard is known.
type settings struct {
	operation      string
	input          reflect.Type
	policies       []string
	shadow         []string
	sourceType     string
	classification string
	added, removed []string
	override       *int
	sanitizer      string
	labels         map[string]string
	environment    map[string]string
	user           resolver[string]
	agent          resolver[string]
	task           resolver[string]
	resourceID     resolver[string]
	resourceAttr   resolver[facts]
	attributes     resolver[facts]
	digest         resolver[string]
	noInputHash    bool
	detached       bool
	engine         policy.Engine
	identity       identity.Provider
	trust          lineage.TrustEvaluator
	problems       []error
}

// resolver yields a property of a call from its argument; nil when the option was not given.
type resolver[T any] func(ctx context.Context, in any) (T, error)

func fixed[T any](value T) resolver[T] {
	return func(context.Context, any) (T, error) { return value, nil }
}

// typed adapts f, and notes a problem when the guarded function has another argument type.
func typed[In, T any](s *settings, option string, f func(context.Context, In) (T, error)) resolver[T] {
	if f == nil {
		s.problem("%s: nil resolver", option)
		return nil
	}
	if want := reflect.TypeFor[In](); want != s.input {
		s.problem("%s: the resolver takes %v, but the function takes %v", option, want, s.input)
		return nil
	}
	return func(ctx context.Context, in any) (T, error) {
		typed, _ := in.(In) // for an interface type a nil argument stays its nil
		return f(ctx, typed)
	}
}

func (s *settings) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Errorf(format, args...))
}

// Policy names the function's own policies. Every one of them must allow.
func Policy(names ...string) Option {
	return func(s *settings) {
		if len(names) == 0 {
			s.problem("Policy: no name given")
		}
		s.policies = append(s.policies, names...)
	}
}

// ShadowPolicy names function policies under trial: what they say is logged and signed into the entry, but stops
// nothing. See Config.Shadow.
func ShadowPolicy(names ...string) Option {
	return func(s *settings) {
		if len(names) == 0 {
			s.problem("ShadowPolicy: no name given")
		}
		s.shadow = append(s.shadow, names...)
	}
}

// SourceType declares where the call's data comes from: one of lineage's Source constants, or a name from
// Config.Origins. Without it a call is "internal". A root behind ingress is no better than what the ingress says,
// which is "internet" for a request without lineage.
func SourceType(name string) Option {
	return func(s *settings) {
		if name == "" {
			s.problem("SourceType: empty name")
		}
		s.sourceType = name
	}
}

// Classification says what kind of function this is; the default is "system". Some bring taints, see
// Config.Classifications.
func Classification(name string) Option {
	return func(s *settings) {
		if name == "" {
			s.problem("Classification: empty name")
		}
		s.classification = name
	}
}

// AddTaints marks everything that follows from the call.
func AddTaints(taints ...string) Option {
	return func(s *settings) { s.added = append(s.added, taints...) }
}

// RemoveTaints clears taints for everything that follows from the call. It needs [TrustOverride] or [Sanitizer].
func RemoveTaints(taints ...string) Option {
	return func(s *settings) { s.removed = append(s.removed, taints...) }
}

// TrustOverride sets the score of the call, 0…100, in place of the computed one. It holds for descendants, and a
// verifier's authority policy may refuse it.
func TrustOverride(score int) Option {
	return func(s *settings) {
		if score < 0 || score > 100 {
			s.problem("TrustOverride: %d is outside 0…100", score)
		}
		s.override = &score
	}
}

// Sanitizer names the procedure that justifies [RemoveTaints].
func Sanitizer(name string) Option {
	return func(s *settings) {
		if name == "" {
			s.problem("Sanitizer: empty name")
		}
		s.sanitizer = name
	}
}

// Label adds a signed label. Names that the library uses are refused.
func Label(name, value string) Option {
	return func(s *settings) {
		if name == "" || lineage.ReservedLabel(name) {
			s.problem("Label: the name %q is empty or belongs to the library; choose another", name)
		}
		if s.labels == nil {
			s.labels = map[string]string{}
		}
		s.labels[name] = value
	}
}

// Operation names the function in entries, spans and deviation scopes. Without it the name is derived from the
// function, as package.Function; function literals have no stable name and need this option.
func Operation(name string) Option {
	return func(s *settings) {
		if name == "" || name == JoinOperation {
			s.problem("Operation: the name %q is empty or belongs to the library; choose another", name)
		}
		s.operation = name
	}
}

// Environment adds to the entry's signed environment object.
func Environment(values map[string]string) Option {
	return func(s *settings) {
		if s.environment == nil {
			s.environment = map[string]string{}
		}
		maps.Copy(s.environment, values)
	}
}

// User names who acts, in place of the ambient user. "" means nobody.
func User(id string) Option { return func(s *settings) { s.user = fixed(id) } }

// UserFrom resolves the user.
func UserFrom[In any](f func(context.Context, In) (string, error)) Option {
	return func(s *settings) { s.user = typed(s, "UserFrom", f) }
}

// Agent names the agent that acts, in place of the ambient one. "" means none.
func Agent(id string) Option { return func(s *settings) { s.agent = fixed(id) } }

// AgentFrom resolves the agent.
func AgentFrom[In any](f func(context.Context, In) (string, error)) Option {
	return func(s *settings) { s.agent = typed(s, "AgentFrom", f) }
}

// Task names the task, in place of the ambient one. "" means none.
func Task(id string) Option { return func(s *settings) { s.task = fixed(id) } }

// TaskFrom resolves the task.
func TaskFrom[In any](f func(context.Context, In) (string, error)) Option {
	return func(s *settings) { s.task = typed(s, "TaskFrom", f) }
}

// Resource names what is acted on.
func Resource(id string) Option { return func(s *settings) { s.resourceID = fixed(id) } }

// ResourceFrom resolves what is acted on.
func ResourceFrom[In any](f func(context.Context, In) (string, error)) Option {
	return func(s *settings) { s.resourceID = typed(s, "ResourceFrom", f) }
}

// ResourceAttributes describes what is acted on: values that encode to JSON, signed and shown to policies.
// Integers beyond ±(2⁵³−1) are refused: write them as strings.
func ResourceAttributes(attributes map[string]any) Option {
	return func(s *settings) { s.resourceAttr = fixedFacts(s, "ResourceAttributes", attributes) }
}

// ResourceAttributesFrom resolves the attributes.
func ResourceAttributesFrom[In any](f func(context.Context, In) (map[string]any, error)) Option {
	return func(s *settings) { s.resourceAttr = factsFrom(typed(s, "ResourceAttributesFrom", f)) }
}

// Attributes gives policies further facts under input.attributes: values that encode to JSON, not signed.
// Integers beyond ±(2⁵³−1) are refused: write them as strings.
func Attributes(attributes map[string]any) Option {
	return func(s *settings) { s.attributes = fixedFacts(s, "Attributes", attributes) }
}

// AttributesFrom resolves the facts.
func AttributesFrom[In any](f func(context.Context, In) (map[string]any, error)) Option {
	return func(s *settings) { s.attributes = factsFrom(typed(s, "AttributesFrom", f)) }
}

// InputDigestFrom supplies the input hash, 64 lower-case hex digits, in place of the hash of the argument's
// canonical JSON: for streams, or an HMAC for guessable secrets.
func InputDigestFrom[In any](f func(context.Context, In) (string, error)) Option {
	return func(s *settings) { s.digest = typed(s, "InputDigestFrom", f) }
}

// NoInputHash leaves the input hash empty.
func NoInputHash() Option { return func(s *settings) { s.noInputHash = true } }

// Detached keeps the call's result from flowing back: the caller's later calls do not descend from it.
func Detached() Option { return func(s *settings) { s.detached = true } }

// WithEngine uses another policy engine than the guard's for application and function policies. Enterprise and
// platform policies belong to the deployment: the guard's engine decides them, whatever a function asks for.
func WithEngine(e policy.Engine) Option {
	return func(s *settings) {
		if e == nil {
			s.problems = append(s.problems, errors.New("WithEngine: nil engine"))
		}
		s.engine = e
	}
}

// WithProvider signs as another identity than the guard's.
func WithProvider(p identity.Provider) Option {
	return func(s *settings) {
		if p == nil {
			s.problems = append(s.problems, errors.New("WithProvider: nil provider"))
		}
		s.identity = p
	}
}

// WithTrust uses another trust evaluator than the guard's. Verifiers must use the same.
func WithTrust(t lineage.TrustEvaluator) Option {
	return func(s *settings) {
		if t == nil {
			s.problems = append(s.problems, errors.New("WithTrust: nil evaluator"))
		}
		s.trust = t
	}
}
