package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kest-go/kest/lineage"
	"github.com/kest-go/kest/telemetry"
)

// Names in the folder of a demo.
const (
	passportFile = "passport.json"
	keysFile     = "keys.json"
	tipFile      = "tip.txt"
	auditFile    = "audit.jsonl"
	logFile      = "log.jsonl"
	headersDir   = "headers"
	forgedDir    = "forged"
	policiesDir  = "policies"
)

// folder is where the demo leaves its files.
type folder struct{ path string }

// openFolder makes the folder, or takes one that has nothing in it but an earlier demo: no other file is touched.
func openFolder(at string) (*folder, error) {
	if at == "" {
		made, err := os.MkdirTemp("", "kest-demo-")
		return &folder{made}, err
	}
	at, err := filepath.Abs(at)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return nil, err
	}
	found, err := os.ReadDir(at)
	if err != nil {
		return nil, err
	}
	ours := []string{passportFile, keysFile, tipFile, auditFile, logFile, headersDir, forgedDir, policiesDir}
	for _, f := range found {
		if !slices.Contains(ours, f.Name()) {
			return nil, fmt.Errorf("folder %s holds %s, which is not the demo's; name an empty folder", at, f.Name())
		}
	}
	return &folder{at}, nil
}

func (f *folder) join(name string) string { return filepath.Join(f.path, filepath.FromSlash(name)) }

// write stays inside the folder: a link that leads out of it is refused, not followed.
func (f *folder) write(name string, text []byte) error {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return err
	}
	err = root.MkdirAll(path.Dir(name), 0o755)
	if err == nil {
		err = root.WriteFile(name, text, 0o644)
	}
	return errors.Join(err, root.Close())
}

// copy writes all files of a tree into a folder of ours, as os.CopyFS does, and over those of an earlier demo.
func (f *folder) copy(dir string, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return f.write(path.Join(dir, name), text)
	})
}

// create opens a file to be written bit by bit, as write does.
func (f *folder) create(name string) (*os.File, error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, err
	}
	file, err := root.Create(name)
	return file, errors.Join(err, root.Close())
}

// journal is the demo's sink: a file with one JSON object a line for every signed record, in the order in which
// they were made. Each line is written before the call goes on; it is not forced to the disk.
type journal struct {
	mu      sync.Mutex
	file    *os.File
	records []telemetry.Record
}

// line is what the file holds of a record.
type line struct {
	Kind      telemetry.Kind `json:"kind"`
	Operation string         `json:"operation"`
	Principal string         `json:"principal"`
	EntryID   string         `json:"entry_id"`
	TraceID   string         `json:"trace_id"`
	Hash      string         `json:"hash,omitempty"`
	JWS       string         `json:"jws"`
}

func (f *folder) openJournal() (*journal, error) {
	file, err := f.create(auditFile)
	return &journal{file: file}, err
}

// Record implements telemetry.Sink.
func (j *journal) Record(ctx context.Context, r telemetry.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l := line{Kind: r.Kind, Operation: r.Operation, Principal: r.Principal, EntryID: r.EntryID, TraceID: r.TraceID, JWS: r.JWS}
	if r.Kind != telemetry.Denial {
		l.Hash = r.Hash.String()
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	j.records = append(j.records, r)
	return nil
}

// since returns the records of a kind from the n-th record on.
func (j *journal) since(n int, kind telemetry.Kind) []telemetry.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []telemetry.Record
	for _, r := range j.records[n:] {
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.records)
}

func (j *journal) close() error {
	if err := j.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("audit file: %w", err)
	}
	return nil
}

// read returns the passport and its tips as a stranger finds them.
func (f *folder) read() (lineage.Unverified, error) {
	text, err := os.ReadFile(f.join(passportFile))
	if err != nil {
		return lineage.Unverified{}, err
	}
	u, err := lineage.ParsePassport(text, lineage.Limits{})
	if err != nil {
		return lineage.Unverified{}, fmt.Errorf("%s: %w", passportFile, err)
	}
	tips, err := os.ReadFile(f.join(tipFile))
	if err != nil {
		return lineage.Unverified{}, err
	}
	tip, err := lineage.ParseHash(strings.TrimSpace(string(tips)))
	if err != nil {
		return lineage.Unverified{}, fmt.Errorf("%s: %w", tipFile, err)
	}
	u.Tips = []lineage.Hash{tip}
	return u, nil
}
