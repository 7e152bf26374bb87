package spiffe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kest-go/kest/identity"
)

// agent is a connection to a Workload API with the watches that run on it.
type agent struct {
	*workloadapi.Client
	endpoint string
	ctx      context.Context // the life of the watches, which no caller's context bounds
	stop     context.CancelFunc
	watches  sync.WaitGroup
	close    func() error
}

// minPause and maxPause are those between two attempts at a connection or a watch. An agent that restarts is back within
// the longer one.
const minPause, maxPause = 100 * time.Millisecond, 5 * time.Second

// dial connects in the background; only an impossible endpoint is an error. The agent outlives ctx.
func dial(ctx context.Context, endpoint string) (*agent, error) {
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(endpoint), workloadapi.WithBackoffStrategy(pauses{}),
		workloadapi.WithDialOptions(
			// A proxy of the environment must not see private keys: the Workload API sends them, without TLS, because
			// its endpoint is on this host (SPIFFE Workload Endpoint §3, §6).
			grpc.WithNoProxy(),
			grpc.WithDisableServiceConfig(),
			grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: maxPause, Backoff: backoff.Config{
				BaseDelay: minPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxPause,
			}}),
		))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	a := &agent{Client: client, endpoint: endpoint}
	a.ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.close = sync.OnceValue(func() error {
		a.stop()
		a.watches.Wait()
		return client.Close()
	})
	return a, nil
}

// follow keeps a watch going. The library gives up on some answers; an agent that is being set up may give any, so this
// does not.
func (a *agent) follow(watch func(context.Context) error) {
	a.watches.Go(func() {
		for a.ctx.Err() == nil {
			_ = watch(a.ctx) // the watcher was told
			pause(a.ctx, time.Second)
		}
	})
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// fault is a failure of the Workload API in our words. It matches [identity.ErrRevoked] when the agent says that the
// workload has no identity.
func (a *agent) fault(err error) error {
	said, answered := status.FromError(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || said.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("%s did not answer in time: %w", a.endpoint, context.DeadlineExceeded)
	case said.Code() == codes.PermissionDenied: // SPIFFE Workload API §6.1: no identity for this workload
		return fmt.Errorf("%w: %s has none for this workload (%q); is there a registration entry for it?",
			identity.ErrRevoked, a.endpoint, clip(said.Message()))
	case !answered: // the library could not read the answer
		return fmt.Errorf("%s: %s", a.endpoint, clip(err.Error()))
	}
	return fmt.Errorf("%s: %s: %q", a.endpoint, said.Code(), clip(said.Message()))
}

// orSilent is err or, when the agent gave no reason, that.
func (a *agent) orSilent(err error) error {
	if err == nil {
		return fmt.Errorf("%s gave no answer; is the agent running, and is that its Workload API?", a.endpoint)
	}
	return err
}

// pauses is the back-off of the library's watches.
type pauses struct{}

func (pauses) NewBackoff() workloadapi.Backoff { return &growing{} }

type growing struct{ last time.Duration }

func (g *growing) Next() time.Duration {
	g.last = min(max(2*g.last, minPause), maxPause)
	return g.last
}

func (g *growing) Reset() { g.last = 0 }
