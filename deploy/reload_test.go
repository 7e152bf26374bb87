package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kest-go/kest"
	"github.com/kest-go/kest/config"
	"github.com/kest-go/kest/deploy"
	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/policy"
)

// regoFiles are policies, by file: whoever is named in deny denies, the others allow.
func regoFiles(deny ...string) map[string]string {
	files := map[string]string{}
	for _, name := range []string{"org/base", "org/strict", "kest/allow_trusted"} {
		files["policies/"+name+".rego"] = fmt.Sprintf("package %s\n\nallow := %v\n", strings.ReplaceAll(name, "/", "."), !slices.Contains(deny, name))
	}
	return files
}

const (
	quick    = 3 * time.Millisecond
	liveText = "policies: {enterprise: [%s], shadow: {platform: [%s]}, timeout: 20s}\nengine: {rego: {dir: policies, reload: 100ms}}\nidentity: {local: {}}\n"
)

// live is a deployment that follows its file.
type live struct {
	*deploy.Deployment
	dir, path string
	mu        sync.Mutex
	reports   []error
}

func startLive(t *testing.T, text string, files map[string]string, environ ...string) *live {
	t.Helper()
	l := &live{dir: folder(t, files)}
	l.path = filepath.Join(l.dir, "kest.yaml")
	write(t, l.path, text)
	l.Deployment = open(t, deploy.Config{File: l.path, Environ: append([]string{}, environ...), Interval: quick, Report: func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.reports = append(l.reports, err)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { l.Watch(ctx) })
	t.Cleanup(func() { cancel(); watching.Wait() })
	return l
}

// reported waits for a report that has a text in it.
func (l *live) reported(t *testing.T, want string) error {
	t.Helper()
	var found error
	eventually(t, "report of "+want, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, err := range l.reports {
			if strings.Contains(err.Error(), want) {
				found = err
			}
		}
		return found != nil
	})
	return found
}

// TestReloadGuard: what is written into the file is in force soon after, and a file that is not good is not.
func TestReloadGuard(t *testing.T) {
	t.Parallel()
	files := regoFiles("org/strict")
	files["approvers.json"] = keysOf(t, "ciso")
	text := fmt.Sprintf(liveText, "org/base", "")
	l := startLive(t, text, files)
	call := wrap(t, l.Deployment, "pay")
	entry := func() lineage.Entry {
		e, err := call(t.Context(), struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	denied := func() string {
		_, err := call(t.Context(), struct{}{})
		return deniedBy(t, err)
	}
	entry()

	replace(t, l.path, fmt.Sprintf(liveText, "org/base", "org/strict")) // a trial, by rename
	eventually(t, "a trial", func() bool { return entry().Labels[lineage.LabelObserved] == "platform:org/strict=deny" })

	write(t, l.path, fmt.Sprintf(liveText, "org/base, org/strict", "")) // enforced, in place
	eventually(t, "a new policy", func() bool { return denied() == "org/strict" })

	for name, broken := range map[string]string{
		"no YAML":        fmt.Sprintf(liveText, "org/base", "") + "deviations: [",
		"unknown policy": fmt.Sprintf(liveText, "org/base, org/missing", ""),
		"unsigned":       fmt.Sprintf(liveText, "org/base", "") + "approvers: {keys: approvers.json}\ndeviations: [{policy: org/base, tier: enterprise, scope: '*', approver: ciso}]\n",
		"empty":          "",
	} {
		replace(t, l.path, broken)
		l.reported(t, map[string]string{"no YAML": "not YAML", "unknown policy": `"org/missing"`, "unsigned": "it is not signed", "empty": "the file is empty"}[name])
		if denied() != "org/strict" {
			t.Errorf("%s: the last good policies did not stay", name)
		}
	}

	d := policy.Deviation{Policy: "org/strict", Tier: policy.Enterprise, Scope: "pay", Approver: "ciso"}
	lifting := fmt.Sprintf(liveText, "org/base, org/strict", "") + "approvers: {keys: approvers.json}\n" +
		"deviations: [{policy: org/strict, tier: enterprise, scope: pay, approver: ciso, signature: " + sign(t, d) + "}]\n"
	replace(t, l.path, lifting)
	eventually(t, "a signed deviation", func() bool { return denied() == "" })
	if e := entry(); len(e.Policies.Deviations) != 1 || e.Policies.Deviations[0].ApproverKey == "" {
		t.Errorf("%+v", e.Policies)
	}
	replace(t, filepath.Join(l.dir, "approvers.json"), keysOf(t, "cto")) // the approver leaves: nothing is approved anew
	l.reported(t, `"ciso" has no keys`)
	replace(t, l.path, fmt.Sprintf(liveText, "org/base, org/strict", "")+"approvers: {keys: approvers.json}\n")
	eventually(t, "the deviation is gone", func() bool { return denied() == "org/strict" })

	replace(t, l.path, swap(t, text, "{local: {}}", "{local: {name: other}}"))
	var restart *config.RestartError
	if err := l.reported(t, "when the program is started again"); !errors.As(err, &restart) || !slices.Equal(restart.Sections, []string{"identity"}) {
		t.Error(err)
	}
	eventually(t, "policies beside what takes a restart", func() bool { return denied() == "" })
}

// TestWatchAgain: a watch that was ended can be begun again, and goes on from what is in force.
func TestWatchAgain(t *testing.T) {
	t.Parallel()
	files := regoFiles("org/strict")
	text := fmt.Sprintf(liveText, "org/base", "")
	files["kest.yaml"] = text
	dir := folder(t, files)
	path := filepath.Join(dir, "kest.yaml")
	d := open(t, deploy.Config{File: path, Interval: quick})
	call := wrap(t, d, "pay")
	for _, step := range []struct{ text, denied string }{
		{fmt.Sprintf(liveText, "org/base, org/strict", ""), "org/strict"}, {text, ""}, {text, ""},
	} {
		replace(t, path, step.text)
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() { d.Watch(ctx) })
		eventually(t, "denied by "+step.denied, func() bool {
			_, err := call(t.Context(), struct{}{})
			return deniedBy(t, err) == step.denied
		})
		cancel()
		watching.Wait()
	}
}

// TestReloadEngine: the files of an engine are followed, too, also for a policy that the file names before it is there.
func TestReloadEngine(t *testing.T) {
	t.Parallel()
	l := startLive(t, fmt.Sprintf(liveText, "org/base", ""), regoFiles())
	call := wrap(t, l.Deployment, "pay")
	denied := func() string {
		_, err := call(t.Context(), struct{}{})
		return deniedBy(t, err)
	}
	write(t, l.dir+"/policies/org/base.rego", "package org.base\n\nallow := false\n")
	eventually(t, "a changed policy", func() bool { return denied() == "org/base" })
	write(t, l.dir+"/policies/org/base.rego", "package org.base\n\nallow := true\n")
	eventually(t, "the policy as it was", func() bool { return denied() == "" })

	replace(t, l.path, fmt.Sprintf(liveText, "org/base, org/late", ""))
	l.reported(t, `"org/late"`)
	write(t, l.dir+"/policies/org/late.rego", "package org.late\n\nallow := false\n")
	eventually(t, "a policy that came later", func() bool { return denied() == "org/late" })
}

// TestReloadAuthority: what nobody may do any more is not believed any more, although it was.
func TestReloadAuthority(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(liveText, "org/base", "")
	l := startLive(t, text, regoFiles())
	ctx, session := kest.StartSession(t.Context())
	entry := must(wrap(t, l.Deployment, "pay")(ctx, struct{}{}))(t)
	verify := func() error {
		_, _, err := l.Verifier.Verify(t.Context(), lineage.Unverified{Entries: session.Passport().Entries()})
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	isAuthority := func() bool {
		var failure *lineage.VerifyError
		return errors.As(verify(), &failure) && failure.Reason == lineage.Unauthorized
	}
	replace(t, l.path, text+"authority: {grants: []}\n")
	eventually(t, "nobody may begin a lineage", isAuthority)
	replace(t, l.path, text+"authority: {grants: [{principal: '"+entry.Principal()+"', root_trust: 100}]}\n")
	eventually(t, "we may", func() bool { return verify() == nil })
	replace(t, l.path, text+"authority: {grants: [{principal: '"+entry.Principal()+"', root_trust: 99}]}\n")
	eventually(t, "we may do less", isAuthority)
	replace(t, l.path, text)
	eventually(t, "no authority", func() bool { return verify() == nil })
}

// TestReloadStorm: the file changes 200 times while goroutines call. Every call is decided by one file as a whole, and
// none fails.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	texts := []string{
		fmt.Sprintf(liveText, "org/base", ""),
		fmt.Sprintf(liveText, "org/base, org/strict", "") + "deviations: [{policy: org/strict, tier: enterprise, scope: pay}]\n",
		"policies: {enterprise: [", // broken, between the two
	}
	l := startLive(t, texts[0], regoFiles("org/strict"))
	call := wrap(t, l.Deployment, "pay")
	var seen [2]atomic.Int64
	var callers sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				e, err := call(t.Context(), struct{}{})
				switch got := fmt.Sprint(e.Policies.Enterprise, len(e.Policies.Deviations)); {
				case err != nil:
					t.Error(err)
					return
				case got == "[org/base] 0":
					seen[0].Add(1)
				case got == "[org/base org/strict] 1":
					seen[1].Add(1)
				default:
					t.Errorf("half of one file and half of the other: %s", got)
					return
				}
			}
		})
	}
	for i := range 200 {
		if i%7 == 6 {
			replace(t, l.path, texts[2])
			time.Sleep(quick)
		}
		before := seen[(i+1)%2].Load()
		if i%2 == 0 {
			replace(t, l.path, texts[1])
		} else {
			write(t, l.path, texts[0])
		}
		eventually(t, "calls under the next file", func() bool { return t.Failed() || seen[(i+1)%2].Load() > before })
		if t.Failed() {
			break
		}
	}
	cancel()
	callers.Wait()
	t.Logf("%d and %d calls", seen[0].Load(), seen[1].Load())
}
