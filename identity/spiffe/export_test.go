package spiffe

// ParseEndpoint is for fuzzing.
var ParseEndpoint = parseEndpoint
