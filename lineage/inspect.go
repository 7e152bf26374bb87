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

// InsecureInspectDenial is [InsecureInspect] for a denial record: what it claims, whoever made it.
func InsecureInspectDenial(jws string, l Limits) (Denial, string, error) {
	l = l.withDefaults()
	c, err := parseCompact(jws, typDenial, l, nil)
	if err != nil {
		return Denial{}, "", fmt.Errorf("denial: %w", err)
	}
	d, err := readDenial(c.payload, l)
	if err != nil {
		return Denial{}, "", fmt.Errorf("denial: payload: %w", err)
	}
	return d, c.keyID, nil
}
