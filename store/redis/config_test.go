package redis_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/kest-go/kest/store"
	"github.com/kest-go/kest/store/redis"
)

func TestConfig(t *testing.T) {
	const secret = "hunter2-secret"
	local := []string{"127.0.0.1:1"}
	for name, test := range map[string]struct {
		config redis.Config
		says   []string
	}{
		"empty":             {redis.Config{}, []string{"set Addresses"}},
		"no port":           {redis.Config{Addresses: []string{"127.0.0.1"}}, []string{"address 0 is not host:port"}},
		"port 0":            {redis.Config{Addresses: []string{"127.0.0.1:0"}}, []string{"address 0 is not host:port"}},
		"port too high":     {redis.Config{Addresses: []string{"127.0.0.1:65536"}}, []string{"address 0 is not host:port"}},
		"no host":           {redis.Config{Addresses: []string{":6379"}}, []string{"address 0 is not host:port"}},
		"URL":               {redis.Config{Addresses: []string{"127.0.0.1:1", "redis://u:" + secret + "@h:1"}}, []string{"address 1 is not host:port"}},
		"user in address":   {redis.Config{Addresses: []string{secret + "@h:1"}}, []string{"address 0 is not host:port"}},
		"not loopback":      {redis.Config{Addresses: []string{"192.0.2.1:1"}}, []string{`no TLS to "192.0.2.1"`, "set TLS"}},
		"looks like it":     {redis.Config{Addresses: []string{"127.0.0.1.example:1"}}, []string{"no TLS to"}},
		"unspecified":       {redis.Config{Addresses: []string{"0.0.0.0:1"}}, []string{"no TLS to"}},
		"user alone":        {redis.Config{Addresses: local, Username: "u"}, []string{"set Password"}},
		"unverified":        {redis.Config{Addresses: local, TLS: &tls.Config{InsecureSkipVerify: true}}, []string{"set RootCAs"}},
		"prefix":            {redis.Config{Addresses: local, Prefix: "a b"}, []string{"prefix"}},
		"long prefix":       {redis.Config{Addresses: local, Prefix: strings.Repeat("a", redis.MaxPrefix+1)}, []string{"prefix"}},
		"MaxValue":          {redis.Config{Addresses: local, MaxValue: store.MaxValue + 1}, []string{"MaxValue"}},
		"negative timeout":  {redis.Config{Addresses: local, Timeout: -1}, []string{"Timeout"}},
		"negative for dial": {redis.Config{Addresses: local, DialTimeout: -1}, []string{"DialTimeout"}},
		"all together": {redis.Config{
			Addresses: []string{"x", "192.0.2.1:1"}, Username: "u", TLS: nil, Prefix: "?", MaxValue: -1, Timeout: -1,
		}, []string{"address 0", "no TLS to", "set Password", "prefix", "MaxValue", "Timeout"}},
	} {
		if test.config.Password == "" && test.config.Username == "" {
			test.config.Password = secret
		}
		s, err := redis.Open(test.config)
		if err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, part := range test.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not say %q", name, err, part)
			}
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("%s: the error repeats a password", name)
		}
	}
}

// What is right is not refused: these get as far as the server, which is not there.
func TestConfigAccepted(t *testing.T) {
	for name, config := range map[string]redis.Config{
		"IPv4":      {Addresses: []string{"127.0.0.1:1"}},
		"IPv6":      {Addresses: []string{"[::1]:1"}},
		"localhost": {Addresses: []string{"localhost:1"}},
		"insecure":  {Addresses: []string{"127.0.0.1:1"}, InsecurePlaintext: true},
		"own verification": {Addresses: []string{"127.0.0.1:1"}, TLS: &tls.Config{
			InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return nil },
		}},
		"full": {Addresses: []string{"127.0.0.1:1"}, Username: "u", Password: "p", Prefix: strings.Repeat("a", redis.MaxPrefix), MaxValue: 1},
	} {
		t.Run(name, func(t *testing.T) { refused(t, config, "redis: ") })
	}
}

func TestConfigPrintsNoPassword(t *testing.T) {
	const secret = "hunter2-secret"
	c := redis.Config{
		Addresses: []string{"redis.example:6379", "redis://u:" + secret + "@h"}, Username: "kest", Password: secret,
	}
	log := &bytes.Buffer{}
	slog.New(slog.NewTextHandler(log, nil)).Info("with", "config", c, "pointer", &c)
	slog.New(slog.NewJSONHandler(log, nil)).Info("with", "config", c, "pointer", &c)
	encoded, err := json.Marshal(map[string]any{"config": c, "pointer": &c})
	if err != nil {
		t.Fatal(err)
	}
	text := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%t"} {
		text += fmt.Sprintf(verb+" "+verb+" "+verb, c, &c, struct{ C redis.Config }{c})
	}
	if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
		t.Error("a password is printed")
	}
	if !strings.Contains(text, "redis.example:6379") {
		t.Errorf("nothing is printed: %s", text)
	}
}
