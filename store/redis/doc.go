// Package redis keeps values in Redis or Valkey.
package redis
