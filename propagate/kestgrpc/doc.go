// Package kestgrpc carries lineage over gRPC (SPEC §9): [ServerInterceptor] puts a [propagate.Ingress] in front of
// servers, and [ClientInterceptor] a [propagate.Egress] in front of clients. Both cover unary calls and streams:
//
//	front, err := kestgrpc.NewServerInterceptor(kestgrpc.ServerConfig{Ingress: ingress})
//	...
//	server := grpc.NewServer(front.Options()...)
//
//	back, err := kestgrpc.NewClientInterceptor(kestgrpc.ClientConfig{Egress: egress})
//	...
//	conn, err := grpc.NewClient("dns:///ledger:8443", append(back.Options(), grpc.WithTransportCredentials(creds))...)
//
// A call that is refused never reaches its handler. It gets a status that says no more than its class, with a detail
// google.rpc.ErrorInfo of domain "kest":
//
//	InvalidArgument    KEST_MALFORMED           lineage that cannot be read
//	Unauthenticated    KEST_UNAUTHENTICATED     the credential is missing or not accepted
//	PermissionDenied   KEST_FORBIDDEN           denied, or lineage that is not trusted
//	ResourceExhausted  KEST_TOO_LARGE           lineage over the limits
//	ResourceExhausted  KEST_CONTENT_TOO_LARGE   content over the limits
//	Unavailable        KEST_UNAVAILABLE         a store, an engine or a key source could not answer
//	Internal           KEST_FAULT               a fault of the server's own
//
// The reason is in the log of the ingress. What guarded calls in a handler return becomes such a status, too.
//
// # Streams
//
// A stream is one request: its lineage is admitted when it begins, it has one session, and its hop proof covers method,
// authority (without the default port ":443") and baggage, as that of a unary call does. Messages are covered by none of
// them; TLS protects them. What the handler's guarded calls have
// added comes back when the stream is over.
//
// # Answers
//
// The trailer brings back what the handler's guarded calls have added, in the field kest-lineage; also when the call
// failed or the handler panicked. The client's session joins it. Nothing is lost unnoticed: an answer without it is
// reported, and so is a stream that the caller leaves after having received messages. A call that failed without an
// answer has told its caller nothing, and nothing is reported. Of calls that are retried, the last attempt's trailer
// counts. Messages that were received before the end of a stream are used before their lineage is known; with
// StrictReturn the session of the caller is unusable when it does not come.
//
// # Peers
//
// With RequirePeer of the ingress, whoever presents lineage must be the workload that signed its tip, as mutual TLS shows:
// Peer finds its name in the state of connections whose credentials are those of package credentials (TLSInfo), and others
// have no peer. Behind a proxy that ends TLS the peer is the proxy; use hop proofs there.
//
// # Other interceptors
//
// Interceptors before ServerInterceptor run for calls that may be refused, and those after ClientInterceptor must leave
// the metadata baggage, signature and signature-input alone. A stats handler that writes baggage, such as otelgrpc's,
// runs after every interceptor. [propagate.Propagator] leaves alone what ClientInterceptor wrote; with OpenTelemetry's
// propagation.Baggage the lineage would be replaced, and the call fails. On the server it may have any propagator.
//
// # Limits
//
// baggage and kest-lineage have at most 8,192 bytes each, key bindings included ([propagate.MaxHeader]); a hop proof adds
// a few hundred.
// grpc-go takes 16 MiB of metadata by default. Implementations in other languages often take 8 KiB in all: raise their
// limit, or set propagate.Config.Threshold so that larger passports go to the store.
package kestgrpc
