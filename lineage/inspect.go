package lineage

import "fmt"

// InsecureInspect decodes an entry without verifying anything: neither its signature, nor its links, nor who
// signed it. It is for showing to people what a passport claims.
func InsecureInspect(jws string, l Limits) (Entry, string, error) {
	l = l.withDefaults()
	c, err := parseCompact(jws, typEntry, l, nil)
	if err != nil {
		return Entry{}, "", err
	}
	e, err := decodeEntry(c.payload, l)
	if err != nil {
		return Entry{}, "", fmt.Errorf("payload: %w", err)
	}
	return *e, c.keyID, nil
}
