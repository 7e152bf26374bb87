package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kest-go/kest/lineage"
)

// maxKeys bounds a file of keys, in bytes; it is what lineage.ParseKeySet takes.
const maxKeys = 4 << 20

// approvals reads the keys of the approvers and holds the deviations to them, as the guard does when it is made, so that
// a signature that does not hold is found with its line and before anything runs.
func (c *checker) approvals() {
	a := c.doc.Approvers
	if a == nil {
		for i, v := range c.doc.Deviations {
			if v.Signature != "" {
				c.fail(fmt.Sprintf("deviations[%d].signature", i), "it cannot be checked, because there are no keys of approvers", "add the section approvers")
			}
		}
		return
	}
	if a.Keys == "" {
		return // reported as it was decoded
	}
	text, err := readFile(string(a.Keys), maxKeys)
	if err == nil {
		c.approverText = string(text)
		c.approvers, err = lineage.ParseKeySet(text)
	}
	if err != nil {
		c.fail("approvers.keys", sentence(err.Error()), "name a JSON object from the approver's name to a JWKS")
		return
	}
	if len(c.approvers.Principals()) == 0 {
		c.fail("approvers.keys", "there is nobody in the file", "add the public keys of those who may approve")
		return
	}
	for i := range c.doc.Deviations {
		c.approval(i, &c.doc.Deviations[i])
	}
}

func (c *checker) approval(index int, v *deviation) {
	path := fmt.Sprintf("deviations[%d]", index)
	if v.value().Validate() != nil {
		return // reported, and nothing that anybody could have signed
	}
	known := c.approvers.Principals()
	switch {
	case v.Signature == "" && !c.doc.Approvers.Required:
		return
	case v.Approver == "":
		c.fail(path, "it names no approver, so nobody can have signed it", "add approver; "+choiceOf(known))
		return
	case v.Signature == "":
		c.fail(path, fmt.Sprintf("it is not signed, which approvers.required demands of the deviation of %q", clip(v.Policy)), fmt.Sprintf("have its approver sign it: kest deviation sign --key PEM --file FILE --index %d", index))
		return
	case !slices.Contains(known, v.Approver):
		c.fail(path+".approver", fmt.Sprintf("%q has no keys in %s", clip(v.Approver), c.doc.Approvers.Keys), nearest(v.Approver, known))
		return
	}
	if _, err := v.value().Verify(context.Background(), c.approvers); err != nil { // asks nobody: a KeySet is in memory
		c.fail(path+".signature", "it is no signature by its approver: "+reason(err), "have the approver sign the deviation as it stands here")
	}
}

// choiceOf is choice for names of which there may be many.
func choiceOf(names []string) string {
	if len(names) > 16 {
		return "its keys are in approvers.keys"
	}
	return "use " + choice(names)
}

// reason is what lineage says about a signature, without what the message says anyway.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, lineage.ErrUnverified.Error()+": "); i >= 0 && errors.Is(err, lineage.ErrUnverified) {
		text = text[i+len(lineage.ErrUnverified.Error())+2:]
	}
	return sentence(text)
}
