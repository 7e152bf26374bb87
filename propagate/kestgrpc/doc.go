// Package kestgrpc carries lineage over gRPC.
package kestgrpc
