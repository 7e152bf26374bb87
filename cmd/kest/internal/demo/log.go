package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// logbook is the log of the services: a file of JSON lines, and what the scenes quote from it.
type logbook struct {
	mu   sync.Mutex
	file *os.File
	text bytes.Buffer
	err  error // the first of writing
}

// openLog makes the log. The logger writes to the logbook and to more.
func (f *folder) openLog(more *slog.Logger) (*logbook, *slog.Logger, error) {
	file, err := f.create(logFile)
	l := &logbook{file: file}
	return l, slog.New(slog.NewMultiHandler(slog.NewJSONHandler(l, nil), more.Handler())), err
}

// Write implements io.Writer. slog calls it with one line and drops the error, so close has it.
func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(line)
	n, err := l.file.Write(line)
	if l.err == nil {
		l.err = err
	}
	return n, err
}

func (l *logbook) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Len()
}

// reasons are those of the requests that a service has refused since a point in the log.
func (l *logbook) reasons(mark int, service string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for text := range bytes.Lines(l.text.Bytes()[mark:]) {
		var line struct{ Msg, Service, Reason string }
		if err := json.Unmarshal(text, &line); err != nil {
			return nil, fmt.Errorf("%s: %w", logFile, err)
		}
		if line.Msg == "kest: request refused" && line.Service == service {
			out = append(out, line.Reason)
		}
	}
	return out, nil
}

func (l *logbook) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.err, l.file.Close()); err != nil {
		return fmt.Errorf("%s: %w", logFile, err)
	}
	return nil
}
