// Package redis keeps values in Redis or Valkey, for processes that share claim checks and nonces (SPEC §9):
//
//	s, err := redis.Open(redis.Config{Addresses: []string{"127.0.0.1:6379"}})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//
// Put is one SET with NX and PX, Get is one GET. Both name a single key, so a cluster serves them as well as one
// server does. Values are plain bytes under Prefix and key; a time to live is rounded up to whole milliseconds.
//
// # Errors
//
// Everything but success, "exists" and "nil" is [store.ErrUnavailable]: no connection, no answer in time, a full
// server (OOM), a read-only replica, missing permissions. The text has the server's error code and what to change,
// never its words, since Redis repeats arguments in some of them. A Put is sent once: sent again after a lost answer
// it would find its own value and report [store.ErrExists]. That is so for callers, too: a Put whose answer was lost may
// have kept its value, so take another key. A Get that fails on a broken connection is sent once more.
//
// # What the server must be like
//
// It must not evict: every value here has a time to live, so all policies but noeviction may drop it early. A lost
// claim check fails a request, and a lost nonce lets its hop proof be replayed until the proof is too old. [Open]
// warns. The same holds for writes that a failover loses, as replication is asynchronous. Whoever may run SET or DEL
// on the keys can change them. The user needs GET and SET on Prefix* and no more; CLUSTER SLOTS (SHARDS from version 8)
// in a cluster, and CONFIG GET for the warning:
//
//	ACL SETUSER kest on >password resetkeys ~kest.* resetchannels -@all +get +set +cluster|slots +config|get
//
// # Limits
//
// No answer is cached here although values never change: a "no such key" that was kept would hide what another process
// wrote, as invalidations come after the write, and a claim check is read once per process. At most 1024 operations
// wait for the server at a time; more wait for them, within their own time. What a server sends is checked before the
// client library reads it, so one that breaks the protocol, or floods, costs its connection and not the process.
package redis
