package propagate

import (
	"context"
	"fmt"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// KeyReceipts is the member of [FieldReturn] that carries receipts of the entries that an answer brings, joined by "~":
// the signed word of the callee on how its calls ended, which an entry cannot say because it is signed before the body
// runs. See [Config].Receipts.
const KeyReceipts = "kest.receipts"

// maxReceipts is how many receipts are read and written. Each costs the caller a signature check.
const maxReceipts = 16

// receipts returns those of the youngest of the entries, as many as fit into a member of so many bytes. "" for none.
func receipts(s *Session, entries []*lineage.Signed, room int) string {
	var texts []string
	room -= len(KeyReceipts) // each takes one byte more: "=" or "~"
	for i := len(entries) - 1; i >= 0 && len(texts) < maxReceipts; i-- {
		if r := s.Receipt(entries[i].Hash()); r != "" && 1+len(r) <= room {
			texts, room = append(texts, r), room-1-len(r)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return KeyReceipts + "=" + strings.Join(texts, "~")
}

// readReceipts undoes [receipts]. Nothing about them is checked but their number.
func readReceipts(ours map[string]string) ([]string, error) {
	value, present := ours[KeyReceipts]
	if !present {
		return nil, nil
	}
	if n := strings.Count(value, "~") + 1; n > maxReceipts {
		return nil, refuse(TooLarge, "%s: %d receipts, more than the limit of %d", KeyReceipts, n, maxReceipts)
	}
	return strings.Split(value, "~"), nil
}

// ended is how the call of an entry ended, by its receipt.
type ended struct {
	entry   lineage.Hash
	outcome lineage.Outcome
	receipt string
}

// checkReceipts verifies what an answer says about the calls that it brings, which are those in passport and not in sent.
// One receipt that does not hold, or two that contradict each other, make the answer a lie. So does one about what was
// sent: how those calls end is not the callee's to say, not even where it has the same identity, because the first word on
// a call stays, and some of them are still running here.
func (e *Egress) checkReceipts(ctx context.Context, sent, passport lineage.Passport, texts []string) ([]ended, error) {
	out := make([]ended, 0, len(texts))
	seen := make(map[lineage.Hash]lineage.Outcome, len(texts))
	for _, text := range texts {
		r, err := e.config.Verifier.VerifyReceiptIn(ctx, text, passport)
		if err != nil {
			return nil, err
		}
		if sent.Find(r.EntryHash) != nil {
			return nil, fmt.Errorf("%w: a receipt of entry %s, which the answer does not bring", lineage.ErrUnverified, r.EntryID)
		}
		if before, twice := seen[r.EntryHash]; twice && before != r.Status {
			return nil, fmt.Errorf("%w: two receipts of entry %s contradict each other", lineage.ErrUnverified, r.EntryID)
		}
		seen[r.EntryHash] = r.Status
		out = append(out, ended{r.EntryHash, r.Status, text})
	}
	return out, nil
}
