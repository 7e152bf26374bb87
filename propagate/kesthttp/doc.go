// Package kesthttp carries lineage over HTTP (SPEC §9): [Handler] puts a [propagate.Ingress] in front of servers, and
// [Transport] a [propagate.Egress] behind clients. Both are plain net/http, so they fit any router and any client:
//
//	front, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: ingress})
//	...
//	server := &http.Server{Handler: front.Wrap(mux)}
//
//	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: egress})
//	...
//	client := &http.Client{Transport: transport}
//
// A request that is refused never reaches the wrapped handler. It is answered with a problem document (RFC 9457) that
// says no more than its class: 400 malformed, 401 credential, 403 denied or lineage that is not trusted, 413 and 431
// too large, 503 a store, an engine or a key source that could not answer. The reason is in the log of the ingress.
// Handlers answer errors of guarded calls in the same way with [WriteError], and relay refusals of others with [ErrorOf].
// A server that listens on a port of the system's choice listens first: the names by which it is called, Authorities,
// are part of the ingress.
//
// Instrumentation that reads or writes the baggage header goes around Handler and under Transport: whatever comes out
// of an outer layer is verified, and what an inner layer changes breaks the hop proof and is noticed.
//
// # Peers
//
// With RequirePeer of the ingress, whoever presents lineage must be the workload that signed its tip, as mutual TLS shows:
// Peer finds its name in the connection's state. Behind a proxy that ends TLS the peer is the proxy; use hop proofs there.
//
// # Bodies
//
// A hop proof covers the body by its digest (RFC 9530), so a sender must know the whole of it before the first byte
// leaves, and a receiver before the handler runs. Both hold up to MaxBody bytes in memory. With StreamBodies longer
// ones go without a digest, and then nothing says that they are as they were sent. Without hop proofs bodies are not
// looked at.
//
// # Answers
//
// The answer to a request with lineage brings back what the handler's guarded calls have added, in the field
// kest-lineage. Handler holds the first 16 KiB of an answer until the handler returns, flushes or writes more. In the
// first case the field is in the header, and complete. In the others the header says what was known so far and that
// there is more, and the trailer says all; such an answer has no Content-Length. A connection that is hijacked brings
// nothing back. A client that closes a body before its end misses the trailer, unless it comes within a moment.
package kesthttp
