// Package awstest is for tests only: it speaks the wire protocols of STS, KMS and Verified Permissions over HTTP, with real
// keys, checks SigV4 as AWS does, and enforces the limits of the services. What it does not have: policies, quotas, and the
// latency of AWS.
package awstest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Account and Region are those that the server plays.
const (
	Account = "123456789012"
	Region  = "eu-central-1"
)

// A Server is STS, KMS, Verified Permissions and the credential endpoint of a container, at one address. It is safe for
// concurrent use.
type Server struct {
	URL string

	mu      sync.Mutex
	grants  map[string]grant // by access key id
	keys    map[string]*key  // by ARN
	aliases map[string]string
	faults  []Fault
	skew    time.Duration
	calls   map[string]int
	token   string // web identity

	policies map[string]PolicyStore // by id
}

// grant is a set of credentials, and whose they are.
type grant struct {
	secret, session, arn string
	expires              time.Time
}

// A Fault is what a call gets instead of an answer.
type Fault struct {
	Action string // "Sign", "GetPublicKey", "GetCallerIdentity"; "" for any
	Times  int    // how often; negative for ever
	// One of these.
	Status int           // with Code, an error of the service
	Code   string        // "ThrottlingException"
	Hang   bool          // until the client goes away
	Body   string        // instead of the answer
	Cut    bool          // the connection ends in the middle of Body
	Delay  time.Duration // before the answer
	// Signature changes what Sign answers.
	Signature func([]byte) []byte
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{grants: map[string]grant{}, keys: map[string]*key{}, aliases: map[string]string{}, calls: map[string]int{}}
	server := httptest.NewServer(s)
	s.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections() // of those that hang
		server.Close()
	})
	return s
}

// Client is an HTTP client without a network: it calls the server in the goroutine of the request, so it works inside of
// testing/synctest.
func (s *Server) Client() *http.Client { return &http.Client{Transport: direct{s}} }

type direct struct{ s *Server }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	d.s.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// Role returns the ARN of a role, and Session that of one of its sessions, as STS calls it.
func Role(name string) string { return "arn:aws:iam::" + Account + ":role/" + name }

// Session is described at [Role].
func Session(role string) string {
	return "arn:aws:sts::" + Account + ":assumed-role/" + role + "/session-1"
}

// Grant makes credentials for somebody, by ARN.
func (s *Server) Grant(arn string) aws.Credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(arn)
}

func (s *Server) grant(arn string) aws.Credentials {
	c := aws.Credentials{AccessKeyID: "ASIA" + strings.ToUpper(random(8)), SecretAccessKey: "secret-" + random(16), SessionToken: "session-" + random(24)}
	s.grants[c.AccessKeyID] = grant{c.SecretAccessKey, c.SessionToken, arn, time.Now().Add(24 * time.Hour)}
	return c
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// Break adds a fault. They apply in order, each until its times are over.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// Mend ends all faults.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.skew = nil, 0
}

// SetClock makes the server's clock differ from the client's. AWS refuses requests that are five minutes off.
func (s *Server) SetClock(skew time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = skew
}

// Calls returns how often an action was called; "" all of them.
func (s *Server) Calls(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if action != "" {
		return s.calls[action]
	}
	n := 0
	for _, c := range s.calls {
		n += c
	}
	return n
}

// WebIdentity sets the token that AssumeRoleWithWebIdentity takes.
func (s *Server) WebIdentity(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

func (s *Server) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.skew)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat)) // by which the SDK corrects its clock
	w.Header().Set("X-Amzn-Requestid", random(8))
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	target := r.Header.Get("X-Amz-Target")
	switch {
	case r.URL.Path == "/credentials":
		s.container(w, r)
	case strings.HasPrefix(target, "TrentService."):
		s.kms(w, r, strings.TrimPrefix(target, "TrentService."), body)
	case strings.HasPrefix(target, "VerifiedPermissions."):
		s.avp(w, r, strings.TrimPrefix(target, "VerifiedPermissions."), body)
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		s.sts(w, r, body)
	default:
		http.Error(w, "unknown protocol", http.StatusBadRequest)
	}
}

// fault applies what breaks a call. It reports whether the call was answered.
func (s *Server) fault(w http.ResponseWriter, r *http.Request, action string, fail func(status int, code, message string)) (change func([]byte) []byte, done bool) {
	s.mu.Lock()
	s.calls[action]++
	var f *Fault
	for i := range s.faults {
		if g := &s.faults[i]; (g.Action == "" || g.Action == action) && g.Times != 0 {
			if g.Times > 0 {
				g.Times--
			}
			c := *g
			f = &c
			break
		}
	}
	s.mu.Unlock()
	if f == nil {
		return nil, false
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		return nil, true
	case f.Code != "":
		fail(f.Status, f.Code, "as the test wants it")
		return nil, true
	case f.Body != "":
		if f.Cut {
			w.Header().Set("Content-Length", strconv.Itoa(2*len(f.Body)))
		}
		fmt.Fprint(w, f.Body)
		return nil, true
	}
	time.Sleep(f.Delay)
	return f.Signature, false
}

func (s *Server) container(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, code, message string) {
		writeJSON(w, status, map[string]string{"code": code, "message": message})
	}
	if _, done := s.fault(w, r, "Credentials", fail); done {
		return
	}
	if r.Header.Get("Authorization") != "container-secret" {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	c := s.Grant(Session("container"))
	writeJSON(w, http.StatusOK, map[string]string{"AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey,
		"Token": c.SessionToken, "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // to a client that may have gone
}

// sts answers the query protocol in XML.
func (s *Server) sts(w http.ResponseWriter, r *http.Request, body []byte) {
	form, err := parseForm(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	action := form["Action"]
	fail := func(status int, code, message string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>r</RequestId></ErrorResponse>", code, escape(message))
	}
	if _, done := s.fault(w, r, action, fail); done {
		return
	}
	if action == "AssumeRoleWithWebIdentity" { // the token is the credential
		s.mu.Lock()
		good := s.token != "" && form["WebIdentityToken"] == s.token
		s.mu.Unlock()
		if !good {
			fail(http.StatusBadRequest, "InvalidIdentityToken", "not the token")
			return
		}
		s.assumed(w, action, form["RoleArn"])
		return
	}
	arn, failure := s.authenticate(r, body, "sts")
	if failure != nil {
		fail(http.StatusForbidden, failure.code, failure.message)
		return
	}
	switch action {
	case "GetCallerIdentity":
		fmt.Fprintf(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>%s</Arn><UserId>AROA:x</UserId><Account>%s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
			escape(arn), strings.Split(arn, ":")[4])
	case "AssumeRole":
		s.assumed(w, action, form["RoleArn"])
	default:
		fail(http.StatusBadRequest, "InvalidAction", action)
	}
}

func (s *Server) assumed(w http.ResponseWriter, action, role string) {
	_, name, _ := strings.Cut(role, ":role/")
	arn := Session(name)
	c := s.Grant(arn)
	fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>"+
		"<AssumedRoleUser><Arn>%s</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser></%[1]sResult></%[1]sResponse>",
		action, c.AccessKeyID, c.SecretAccessKey, c.SessionToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), escape(arn))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}

var errForm = errors.New("not a form")
