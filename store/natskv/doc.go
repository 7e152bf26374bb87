// Package natskv keeps values in a key-value bucket of NATS JetStream, for processes that share claim checks and nonces
// (SPEC §9):
//
//	js, err := jetstream.New(nc)
//	if err != nil {
//		return err
//	}
//	s, err := natskv.New(ctx, js, natskv.Config{Bucket: "kest"})
//
// Put is one create, which the server refuses when the key has a value; Get is one read. The bucket does the rest: it
// ends values at their time and refuses new ones when it is full. In its keys ':' is written '/' and '.' is written '='.
//
// # Time
//
// The server counts whole seconds, so a time to live is rounded up to them, and a value may be seen a few seconds
// longer than that. It is never gone before.
//
// # Errors
//
// Everything but success, "exists" and "no such key" is [store.ErrUnavailable]: no connection, no answer in time, no
// JetStream, a full bucket. The text has the server's error code and what to change, and never keys or values. While the
// connection is away operations fail at once; nothing is kept back to be sent later. As everywhere, a Put whose answer
// was lost may have kept its value, and a second Put of that key says [store.ErrExists]: take another key.
//
// # What the server must be like
//
// nats-server 2.11 or later with JetStream. New makes the bucket, or looks at one that exists and refuses it, with the
// settings to change, if it could lose, end, hide or replace values early. It does not look again later: do not change
// the bucket under running stores, and let no mirror of it answer reads (mirror_direct). Values are in files; for those
// to outlast a power failure set sync_interval to always in the server, or Replicas to 3. A lost claim check fails a
// request, and a lost nonce lets its hop proof be replayed until the proof is too old.
//
// Whoever may publish to the bucket can change it. The user needs, for the bucket "kest", and besides the first line only
// if New has to make it:
//
//	publish:   $KV.kest.>, $JS.API.STREAM.INFO.KV_kest, $JS.API.STREAM.MSG.GET.KV_kest, $JS.API.DIRECT.GET.KV_kest.>
//	           $JS.API.STREAM.CREATE.KV_kest
//	subscribe: _INBOX.>
//
// # The connection
//
// It is the caller's: servers, TLS, credentials and reconnecting are options of nats.Connect. Reconnect for ever
// (nats.MaxReconnects(-1)), since a closed connection ends the store, and set nats.FlusherTimeout and nats.PingInterval
// to a few seconds, so that a connection that went silent is given up; operations end in time in any case. At most 1024
// of them wait for the server at a time.
package natskv
