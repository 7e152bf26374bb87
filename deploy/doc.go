// Package deploy makes everything that a deployment decides about, from its configuration file to running parts, in one
// call:
//
//	d, err := deploy.Open(ctx, deploy.Config{})  // the file that KEST_CONFIG names
//	if err != nil {
//		log.Fatal(err)                       // every problem at once, with file and line
//	}
//	defer d.Close()
//	go d.Watch(ctx)                              // policies, deviations, approvers and authority follow the file
//
//	pay, err := kest.Verified(d.Guard, processPayment, kest.Policy("kest/allow_trusted"))
//	front, err := kesthttp.NewHandler(kesthttp.HandlerConfig{Ingress: d.Ingress, Peer: d.Peer})
//	transport, err := kesthttp.NewTransport(kesthttp.TransportConfig{Egress: d.Egress})
//
// What application code brings goes into [Config]. It adds to what the file says, and takes nothing away: package config
// describes the file and says what adding means.
//
// The package links every engine, identity and store of Kest, and with them the SDKs of OPA, Cedar, AWS, SPIFFE, Redis,
// NATS, SQLite and PostgreSQL. A program that wants fewer uses package config with builders of its own; [Options] has
// ours to choose from.
package deploy
