package bearer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kest-go/kest/propagate/bearer"
)

func TestConfigProblems(t *testing.T) {
	for reason, change := range map[string]func(*bearer.Config){
		"Issuer is empty":              func(c *bearer.Config) { c.Issuer = "" },
		"Audiences is empty":           func(c *bearer.Config) { c.Audiences = nil },
		"Audiences has an empty":       func(c *bearer.Config) { c.Audiences = []string{"a", ""} },
		"AgentClaims has an empty":     func(c *bearer.Config) { c.AgentClaims = []string{""} },
		`"HS256" cannot be used`:       func(c *bearer.Config) { c.Algorithms = []string{"RS256", "HS256"} },
		`"none" cannot be used`:        func(c *bearer.Config) { c.Algorithms = []string{"none"} },
		`"" cannot be used`:            func(c *bearer.Config) { c.Algorithms = []string{""} },
		`"rs256" cannot be used`:       func(c *bearer.Config) { c.Algorithms = []string{"rs256"} },
		"Leeway is 5m1s":               func(c *bearer.Config) { c.Leeway = 5*time.Minute + time.Second },
		"Leeway is -1s":                func(c *bearer.Config) { c.Leeway = -time.Second },
		"Timeout is 31s":               func(c *bearer.Config) { c.Timeout = 31 * time.Second },
		"Timeout is -1ns":              func(c *bearer.Config) { c.Timeout = -1 },
		"KeysMaxAge is 59s":            func(c *bearer.Config) { c.KeysMaxAge = 59 * time.Second },
		"KeysMaxAge is 1h0m1s":         func(c *bearer.Config) { c.KeysMaxAge = time.Hour + time.Second },
		"KeysMaxStale is 9m0s":         func(c *bearer.Config) { c.KeysMaxStale = 9 * time.Minute },
		"KeysMaxStale is 25h":          func(c *bearer.Config) { c.KeysMaxStale = 25 * time.Hour },
		"KeysMinRefresh is 999ms":      func(c *bearer.Config) { c.KeysMinRefresh = 999 * time.Millisecond },
		"KeysMinRefresh is 6m0s":       func(c *bearer.Config) { c.KeysMinRefresh = 6 * time.Minute },
		"JWKS is not an https URL":     func(c *bearer.Config) { c.JWKS = "keys.json" },
		"JWKS has no host":             func(c *bearer.Config) { c.JWKS = "https:///keys" },
		"JWKS holds credentials":       func(c *bearer.Config) { c.JWKS = "https://user:s3cret@issuer.example/keys" },
		"JWKS has a fragment":          func(c *bearer.Config) { c.JWKS = "https://issuer.example/keys#a" },
		"JWKS is plain HTTP":           func(c *bearer.Config) { c.JWKS = "http://issuer.example/keys" },
		"Issuer is not an https URL":   func(c *bearer.Config) { c.JWKS, c.Issuer = "", "accounts" },
		"Issuer is plain HTTP":         func(c *bearer.Config) { c.JWKS, c.Issuer = "", "http://127.0.0.1.example" },
		"Issuer has a query":           func(c *bearer.Config) { c.JWKS, c.Issuer = "", issuer+"/?a=b" },
		"use https or set InsecureHTT": func(c *bearer.Config) { c.JWKS = "http://10.0.0.1/keys" },
	} {
		c := config(nil)
		change(&c)
		if v, err := bearer.New(c); err == nil || v != nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", reason, err)
		}
	}
	_, err := bearer.New(bearer.Config{Leeway: -1})
	for _, all := range []string{"Issuer", "Audiences", "Leeway"} {
		if err == nil || !strings.Contains(err.Error(), all) {
			t.Errorf("%v; want %s too", err, all)
		}
	}
}

func TestConfigAccepted(t *testing.T) {
	for name, change := range map[string]func(*bearer.Config){
		"least":           func(c *bearer.Config) { *c = bearer.Config{Issuer: issuer, Audiences: []string{"a"}} },
		"loopback":        func(c *bearer.Config) { c.JWKS = "http://127.0.0.1:1/keys" },
		"loopback IPv6":   func(c *bearer.Config) { c.JWKS = "http://[::1]:1/keys" },
		"localhost":       func(c *bearer.Config) { c.JWKS = "http://localhost/keys" },
		"plain, by name":  func(c *bearer.Config) { c.JWKS, c.InsecureHTTP = "http://issuer.example/keys", true },
		"issuer by name":  func(c *bearer.Config) { c.Issuer = "accounts" },
		"every algorithm": func(c *bearer.Config) { c.Algorithms = []string{"RS384", "RS512", "PS384", "PS512", "ES512"} },
		"extremes, lowest": func(c *bearer.Config) {
			c.Leeway, c.Timeout, c.KeysMaxAge, c.KeysMinRefresh = 1, 1, time.Minute, time.Second
		},
	} {
		c := config(nil)
		change(&c)
		if _, err := bearer.New(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is configured is copied: nobody widens it afterwards.
func TestConfigIsCopied(t *testing.T) {
	c := config(serving(allKeys()))
	c.Algorithms = []string{"EdDSA"}
	v := newVerifier(t, c)
	c.Algorithms[0], c.Audiences[1] = "RS256", "https://evil.example"
	accepted(t, v, edToken(nil))
}
