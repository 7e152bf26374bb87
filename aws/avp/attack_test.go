package avp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kest-go/kest/aws/avp"
	"github.com/kest-go/kest/aws/awstest"
	"github.com/kest-go/kest/policy"
	"github.com/kest-go/kest/policy/policytest"
)

// What passes is retried by the SDK, within the deadline, and what does not is an error that says so.
func TestThrottling(t *testing.T) {
	s, e := start(t, always(allow))
	s.Break(awstest.Fault{Action: "IsAuthorized", Times: 1, Status: 429, Code: "ThrottlingException"})
	s.Break(awstest.Fault{Action: "IsAuthorized", Times: 1, Status: 500, Code: "InternalServerException"})
	if d, err := evaluate(e); err != nil || !d.Allow || s.Calls("IsAuthorized") != 3 {
		t.Errorf("%+v, %v after %d calls", d, err, s.Calls("IsAuthorized"))
	}
	s.Break(awstest.Fault{Times: -1, Status: 429, Code: "ThrottlingException"})
	d, err := evaluate(e)
	if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "429 ThrottlingException; AWS limits the rate") {
		t.Error(text)
	}
	if n := s.Calls("IsAuthorized"); n != 6 {
		t.Errorf("%d calls; the SDK makes three attempts, and nothing else retries", n)
	}
}

// An error of the store itself is not retried: the answer would be the same.
func TestNoRetry(t *testing.T) {
	for code, status := range map[string]int{"AccessDeniedException": 403, "ValidationException": 400, "ResourceNotFoundException": 404} {
		s, e := start(t, always(allow))
		s.Break(awstest.Fault{Times: -1, Status: status, Code: code})
		if d, err := evaluate(e); err == nil || d.Allow || s.Calls("") != 1 {
			t.Errorf("%s: %+v, %v after %d calls", code, d, err, s.Calls(""))
		}
	}
}

// A service that accepts and says nothing ends at the timeout, or at the caller's deadline when it is earlier.
func TestHang(t *testing.T) {
	s := awstest.Start(t)
	store := newStore(s, always(allow))
	s.Break(awstest.Fault{Times: -1, Hang: true})
	synctest.Test(t, func(t *testing.T) {
		e, err := avp.New(t.Context(), avp.Config{PolicyStoreID: store, AWSConfig: offline(s)})
		if err != nil {
			t.Fatal(err)
		}
		for limit, want := range map[time.Duration]time.Duration{time.Hour: time.Second, 300 * time.Millisecond: 300 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			began := time.Now()
			d, err := e.Evaluate(ctx, "kest/x", policytest.Input(1))
			text := mustRefuse(t, d, err, policy.ErrUnavailable)
			if took := time.Since(began); took != want || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(text, "within 1s") != (want == time.Second) {
				t.Errorf("%v after %v; want %v", err, took, want)
			}
			cancel()
		}
	})
	e := engine(t, avp.Config{PolicyStoreID: store, AWSConfig: sdk(s), Timeout: 100 * time.Millisecond}) // over a real socket
	d, err := evaluate(e)
	mustRefuse(t, d, err, policy.ErrUnavailable)
}

// When the time is up between two attempts, the error still says why there had to be two.
func TestTimeoutTellsOfThrottling(t *testing.T) {
	s := awstest.Start(t)
	config := offline(s)
	config.Retryer = func() aws.Retryer { return patient{} }
	s.Break(awstest.Fault{Times: -1, Status: 429, Code: "ThrottlingException"})
	store := newStore(s, always(allow))
	synctest.Test(t, func(t *testing.T) {
		e, err := avp.New(t.Context(), avp.Config{PolicyStoreID: store, AWSConfig: config})
		if err != nil {
			t.Fatal(err)
		}
		d, err := e.Evaluate(t.Context(), "kest/x", policytest.Input(1))
		text := mustRefuse(t, d, err, policy.ErrUnavailable)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(text, "within 1s; the last attempt: AWS answered 429 ThrottlingException") {
			t.Error(text)
		}
	})
}

// patient waits longer than there is time.
type patient struct{ aws.NopRetryer }

func (patient) IsErrorRetryable(error) bool { return true }
func (patient) MaxAttempts() int            { return 3 }

func (patient) RetryDelay(int, error) (time.Duration, error) { return time.Minute, nil }

// Credentials that do not come do not hold the call.
func TestCredentialsHang(t *testing.T) {
	s := awstest.Start(t)
	config := sdk(s)
	release := make(chan struct{})
	config.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		<-release
		return aws.Credentials{}, errors.New("EVIL")
	}))
	e := engine(t, avp.Config{PolicyStoreID: newStore(s, always(allow)), AWSConfig: config, Timeout: 50 * time.Millisecond})
	d, err := evaluate(e)
	if mustRefuse(t, d, err, policy.ErrUnavailable); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(release)
}

// Servers that break off, break HTTP or send too much. The error comes long before the timeout.
func TestServersThatMisbehave(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
	sized := head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(allowed))
	flood := func(text string) func(io.Writer) {
		return func(w io.Writer) {
			for range (64 << 20) / len(text) {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}
	}
	for name, test := range map[string]struct {
		answer string
		then   func(io.Writer)
		want   error
	}{
		"closed at once":   {"", nil, policy.ErrUnavailable},
		"closed in header": {head, nil, policy.ErrUnavailable},
		"closed in body":   {sized + allowed[:30], nil, policy.ErrUnavailable},
		"one byte short":   {sized + allowed[:len(allowed)-1], nil, policy.ErrUnavailable},
		"bad chunk":        {head + "Transfer-Encoding: chunked\r\n\r\nEVIL\r\n" + allowed, nil, policy.ErrUnavailable},
		"not HTTP":         {"EVIL\r\n\r\n", nil, policy.ErrUnavailable},
		"endless body":     {head + "\r\n" + `{"decision":"`, flood(strings.Repeat("A", 1000)), policy.ErrIndefinite},
		"endless header":   {head, flood("X-A: " + strings.Repeat("y", 1000) + "\r\n"), policy.ErrUnavailable},
		"not gzip":         {head + "Content-Encoding: gzip\r\n\r\n" + allowed, nil, policy.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				io.WriteString(c, test.answer)
				if test.then != nil {
					test.then(c)
				}
				if tcp, ok := c.(*net.TCPConn); ok {
					tcp.CloseWrite()
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d, err := evaluate(e)
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
				t.Errorf("allocated %d bytes", grown)
			}
			mustRefuse(t, d, err, test.want)
		})
	}
}

// Whoever has no certificate of the endpoint's name is nobody to ask.
func TestCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, allowed) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	d, err := evaluate(engine(t, avp.Config{PolicyStoreID: "PS1", AWSConfig: sdkAt(server.URL, aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "s3cr3t"})}))
	if text := mustRefuse(t, d, err, policy.ErrUnavailable); !strings.Contains(text, "certificate of the endpoint is not trusted") {
		t.Error(text)
	}
}

// The zero engine answers with errors.
func TestZeroEngine(t *testing.T) {
	for _, e := range []*avp.Engine{nil, {}} {
		d, err := evaluate(e)
		mustRefuse(t, d, err, policy.ErrUnavailable)
		a := e.EvaluateAll(t.Context(), []string{"kest/x"}, policytest.Input(1))[0]
		mustRefuse(t, a.Decision, a.Err, policy.ErrUnavailable)
		if got := e.String(); got != "verified permissions (not configured)" {
			t.Error(got)
		}
	}
}
