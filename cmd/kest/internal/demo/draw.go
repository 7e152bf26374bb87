package demo

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kest-go/kest/lineage"
)

func (s *screen) begin(services []Service) {
	s.line("%s", s.bold("kest demo"))
	s.prose(0, plain, "Three services in this process talk real HTTP on loopback. Each has its own key, signs every guarded "+
		"call and every request, and verifies the passport of every message before it acts on it.")
	s.line("")
	for _, v := range services {
		s.line("   %s %s %s", pad(v.Name, 8), s.dim(pad(strings.TrimPrefix(v.URL, "http://"), 16)), clip(v.Does, s.width-29))
	}
}

func (s *screen) scene(c Scene) {
	s.line("")
	s.line("%s  %s", s.bold(strconv.Itoa(c.Number)), s.bold(c.Title))
	s.prose(3, plain, c.Proves)
	s.line("")
	if c.OK {
		c.Detail.draw(s)
		return
	}
	s.line("   %s %s", s.no(), s.red("This scene did not end as it should:"))
	s.prose(5, plain, c.Problem)
}

// stepColumn is where the remark on a step begins.
const stepColumn = 42

// step draws a call and a remark on it, on the line below when there is no room.
func (s *screen) step(mark string, v Step, remark string) {
	style := plain
	if mark == s.no() {
		style = s.red
	}
	beside := ""
	if utf8.RuneCountInString(remark) <= s.width-stepColumn {
		beside = style(remark)
	}
	s.line("   %s %s %s %s %3d   %s", mark, pad(v.Service, 7), pad(v.Operation, 15), s.dim("trust"), v.Trust, beside)
	if beside == "" {
		s.prose(13, style, remark)
	}
}

func clip(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return pad(text, max(n, 1))
}

func (d *PaymentDetail) draw(s *screen) {
	for _, v := range d.Steps {
		s.step(s.yes(), v, "allowed by "+strings.Join(v.Policies, ", "))
	}
	s.line("")
	s.fact("call", fmt.Sprintf("processPayment(%q, %v)", d.Payment.Order, d.Payment.Amount))
	s.fact("result", compact(d.Result))
	s.fact("chain length", strconv.Itoa(d.Length))
	half := latestChars / 2
	if s.width < factColumn+half+3 || len(d.Latest) < half {
		s.fact("latest", d.Latest)
		return
	}
	s.fact("latest", d.Latest[:half])
	s.fact("", d.Latest[half:])
}

func (d *InternetDetail) draw(s *screen) {
	s.step(s.yes(), d.Taken, "source "+d.Taken.Source)
	s.step(s.no(), d.Denied.Step, "denied by "+d.Denied.Policy)
	s.line("")
	s.fact("policy", fmt.Sprintf("%s tier: %s", d.Denied.Tier, d.Rule))
	s.fact("workload", d.Denied.Principal)
	s.fact("body", fmt.Sprintf("did not run: %d payment before, %d after", d.BodiesBefore, d.BodiesAfter))
	s.fact("browser", fmt.Sprintf("got HTTP status %d, and nothing about the inside", d.Status))
	s.fact("record", "the denial is signed by the ledger, and verified here")
}

func (d *AgentDetail) draw(s *screen) {
	s.fact("customer", fmt.Sprintf("%q", d.Message))
	s.line("")
	s.step(s.yes(), d.Steps[0], "passes the message on")
	s.step(s.yes(), d.Steps[1], fmt.Sprintf("proposes %.2f, taint %s", d.Proposal.Amount, taintModel))
	s.step(s.yes(), d.Steps[2], "passes the proposal on")
	s.step(s.no(), d.Denied.Step, "denied by "+d.Denied.Policy)
	s.step(s.yes(), d.Steps[3], "taint removed by "+d.Sanitizer)
	s.step(s.yes(), d.Steps[4], "passes the rest on")
	s.step(s.yes(), d.Steps[5], fmt.Sprintf("pays back %.2f", d.Paid.Amount))
}

func (d *ForkDetail) draw(s *screen) {
	fees := map[string]float64{}
	for _, q := range d.Quotes {
		fees[q.Rail] = q.Fee
	}
	from := d.From.Operation
	for i, b := range d.Branches {
		left, right := "├", "┤"
		if i == 0 {
			left, right = "┬", "┐"
		} else if i == len(d.Branches)-1 {
			left, right = "└", "┘"
		}
		head, tail := strings.Repeat(" ", utf8.RuneCountInString(from)+2), ""
		if i == 0 {
			head = from + " ─"
		}
		if i == len(d.Branches)/2 && right == "┤" {
			right, tail = "┼", "─ "+d.Join.Operation
		}
		s.line("   %s%s─ %s %s %.2f ─%s%s", head, left, b.Operation, pad(b.Resource, 6), fees[b.Resource], right, tail)
	}
	s.line("")
	s.fact("parents", fmt.Sprintf("%s has %d, which were in flight at the same time", d.Join.Operation, len(d.Branches)))
	s.fact("chosen", fmt.Sprintf("%s, the cheapest at %.2f", d.Picked.Rail, d.Picked.Fee))
}

func (d *VerifyDetail) draw(s *screen) {
	const form = "   %s %s %s %s %s %s %s %s"
	head := fmt.Sprintf(form, " ", " #", pad("service", 8), pad("operation", 15), pad("source", 9), "trust", pad("taints", 11), "parents")
	s.line("%s", s.dim(clip(head, s.width)))
	for _, r := range d.rows {
		mark := s.no()
		if r.Status == lineage.Valid {
			mark = s.yes()
		}
		taints, parents := strings.Join(r.Taints, ","), numbers(r.parents)
		if taints == "" {
			taints = "–"
		}
		text := fmt.Sprintf("%2d %s %s %s %5d %s %s", r.Index, pad(r.service, 8), pad(r.operation, 15), pad(r.SourceType, 9),
			r.TrustScore, pad(taints, 11), parents)
		s.line("   %s %s", mark, clip(text, s.width-5))
	}
	s.line("")
	s.fact("verified", fmt.Sprintf("%d entries, their %d receipts, and the announced tip", len(d.rows), d.Receipts))
	s.fact("authority", "only the gateway may begin lineages, raise trust, clear taints")
	s.line("%*s%s without that right, %s", factColumn, "", s.no(), s.red(d.Unauthorized.String()))
}

func numbers(list []int) string {
	if len(list) == 0 {
		return "root"
	}
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, " ")
}

// String is where and why, without the detail.
func (r Refused) String() string {
	if r.Index < 0 {
		return "passport: " + string(r.Reason)
	}
	return fmt.Sprintf("entry %d: %s", r.Index, r.Reason)
}

func (d *ForgeryDetail) draw(s *screen) {
	for _, f := range d.Attempts {
		s.fact(f.title, f.What)
		s.line("%*s%s %s", factColumn, "", s.no(), s.red(f.Refused.String()))
		s.prose(factColumn+2, s.dim, f.short)
	}
}

func (d *AttackDetail) draw(s *screen) {
	for _, a := range d.Attempts {
		s.fact(a.title, a.What)
		s.line("%*s%s %s", factColumn, "", s.no(), s.red(fmt.Sprintf("status %d", a.Status)))
		s.prose(factColumn+2, s.dim, "log: "+a.short)
	}
	s.line("")
	s.fact("answer", d.Attempts[0].Answer)
	s.fact("", "the same to all of them; the reasons are in the ledger's log")
	s.fact("bodies", fmt.Sprintf("did not run: %d refund before, %d after; nothing was signed", d.RefundsBefore, d.RefundsAfter))
}

func (s *screen) end(r *Result, command string) {
	s.line("")
	s.line("%s", s.bold(fmt.Sprintf("All %d scenes ended as they should, in %d ms.", len(r.Scenes), r.Millis)))
	s.line("")
	s.line("   %s", r.Dir)
	for _, f := range [][2]string{
		{passportFile, "the lineage of scenes 1, 3 and 4"},
		{keysFile, "the public keys of the three services"},
		{tipFile, "where the passport ends"},
		{auditFile, "every signed record: entries, receipts, denials"},
		{logFile, "what the services logged: why they refused"},
		{headersDir + "/", "baggage headers off the wire; kest verify reads those too"},
		{forgedDir + "/", "the forgeries of scene 6, to try yourself"},
		{policiesDir + "/", "the policies that decided"},
	} {
		s.line("     %s %s", pad(f[0], 14), s.dim(clip(f[1], s.width-20)))
	}
	s.line("")
	s.line("Check it yourself, and ask why scene 2 was refused:")
	s.line("")
	v := r.Verify
	s.line("   %s %s %s \\", command, v[0], quote(v[1]))
	s.line("     %s %s \\", v[2], quote(v[3]))
	s.line("     %s %s", v[4], v[5])
	s.line("")
	w := r.Why
	s.line("   %s %s %s \\", command, w[0], quote(w[1]))
	s.line("     %s %s \\", w[2], quote(w[3]))
	s.line("     %s %s \\", w[4], quote(w[5]))
	s.line("     %s %s", w[6], w[7])
}

// quote makes a path one word of a POSIX shell.
func quote(path string) string {
	for _, r := range path {
		ok := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == filepath.Separator || strings.ContainsRune("/._-+,:@", r)
		if !ok {
			return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
		}
	}
	return path
}
