package kesthttp

// The two ends of Content-Digest, for the fuzz target.
var (
	ParseDigest = parseDigest
	WriteDigest = writeDigest
)
