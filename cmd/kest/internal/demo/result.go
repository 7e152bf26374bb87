package demo

import (
	"encoding/json"
	"io"

	"github.com/kest-go/kest/lineage"
)

// Result is what the demo showed, for machines.
type Result struct {
	OK       bool      `json:"ok"`
	Problem  string    `json:"problem,omitempty"`
	Millis   int64     `json:"duration_ms"`
	Dir      string    `json:"dir"`
	Services []Service `json:"services"`
	Scenes   []Scene   `json:"scenes"`
	Files    Files     `json:"files"`
	Verify   []string  `json:"verify_command"` // arguments of kest that check the passport; empty before scene 5
	Why      []string  `json:"why_command"`    // arguments of kest that explain the denial of scene 2; empty before scene 5
}

// Service is one of the three.
type Service struct {
	Name      string `json:"name"`
	Does      string `json:"does"`
	URL       string `json:"url"`
	Principal string `json:"principal"`
	KeyID     string `json:"kid"`
}

// Files are the paths of what the demo wrote; empty before scene 5.
type Files struct {
	Passport string   `json:"passport"`
	Keys     string   `json:"keys"`
	Tip      string   `json:"tip"`
	Audit    string   `json:"audit"`
	Log      string   `json:"log"`
	Headers  []string `json:"headers"`
	Forged   []string `json:"forged"`
}

// Scene is one part of the story. OK is false when it did not end as it should, and Problem says why.
type Scene struct {
	Number  int    `json:"number"`
	Name    string `json:"name"`
	Title   string `json:"title"`
	Proves  string `json:"proves"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
	Detail  detail `json:"detail"` // a pointer to the scene's Detail type below
}

// detail is what one scene has to tell.
type detail interface{ draw(*screen) }

// Step is one guarded call, as its signed record tells it.
type Step struct {
	Service   string   `json:"service"`
	Operation string   `json:"operation"`
	Policies  []string `json:"policies"`
	Source    string   `json:"source_type"`
	Trust     int      `json:"trust_score"`
	Taints    []string `json:"taints"`
	Resource  string   `json:"resource,omitempty"`
}

// Denied is a call that a policy refused.
type Denied struct {
	Step
	EntryID   string `json:"entry_id"`
	Principal string `json:"principal"`
	Policy    string `json:"policy"`
	Tier      string `json:"tier"`
	Verified  bool   `json:"record_verified"`
	Record    string `json:"record"` // the signed denial
}

// Refused is lineage that a verifier refused.
type Refused struct {
	Reason  lineage.Reason `json:"reason"`
	Index   int            `json:"index"` // of the entry, -1 for the passport as a whole
	EntryID string         `json:"entry_id,omitempty"`
	Detail  string         `json:"detail"`
}

// PaymentDetail is scene 1.
type PaymentDetail struct {
	Payment Payment `json:"payment"`
	Result  Paid    `json:"result"`
	Steps   []Step  `json:"steps"`
	Length  int     `json:"chain_length"`
	Latest  string  `json:"latest"`
}

// InternetDetail is scene 2.
type InternetDetail struct {
	Taken        Step   `json:"taken"`
	Denied       Denied `json:"denied"`
	Rule         string `json:"rule"` // of the policy that denied
	Status       int    `json:"browser_status"`
	BodiesBefore int64  `json:"bodies_before"`
	BodiesAfter  int64  `json:"bodies_after"`
}

// AgentDetail is scene 3.
type AgentDetail struct {
	Message   string  `json:"message"`
	Proposal  Payment `json:"proposal"`
	Denied    Denied  `json:"denied"`
	Steps     []Step  `json:"steps"`
	Sanitizer string  `json:"sanitizer"`
	Paid      Paid    `json:"paid"`
}

// ForkDetail is scene 4.
type ForkDetail struct {
	From     Step    `json:"from"`
	Branches []Step  `json:"branches"`
	Join     Step    `json:"join"`
	Quotes   []Quote `json:"quotes"`
	Picked   Quote   `json:"picked"`
}

// VerifyDetail is scene 5.
type VerifyDetail struct {
	Report       *lineage.Report `json:"report"`
	Tips         []lineage.Hash  `json:"tips"`
	Bytes        int             `json:"passport_bytes"`
	Receipts     int             `json:"receipts_verified"`
	Unauthorized Refused         `json:"without_authority"` // under a policy that grants the gateway less

	rows []row
}

// row is a line of scene 5's table.
type row struct {
	lineage.EntryReport
	service, operation string
	parents            []int
}

// Forgery is one attempt of scene 6.
type Forgery struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	File   string `json:"file"`
	Caught bool   `json:"caught"`
	Refused

	title, short string // for the screen
}

// ForgeryDetail is scene 6.
type ForgeryDetail struct {
	Attempts []Forgery `json:"attempts"`
}

// Attack is a request of scene 7 that must not be served.
type Attack struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	Caught bool   `json:"caught"`
	Status int    `json:"status"` // of the answer
	Answer string `json:"answer"` // its body: all that the attacker gets
	Reason string `json:"reason"` // in the service's log

	title, short string // for the screen
}

// AttackDetail is scene 7.
type AttackDetail struct {
	Attempts      []Attack `json:"attempts"`
	CutVerifies   bool     `json:"cut_passport_verifies"` // so that only the hop proof tells
	RefundsBefore int64    `json:"refunds_before"`
	RefundsAfter  int64    `json:"refunds_after"`
	Signed        int      `json:"records_signed"` // by the services, during the attacks
}

func (r *Result) write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
