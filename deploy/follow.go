package deploy

import (
	"context"
	"sync"
	"time"

	"github.com/kest-go/kest/policy/cedar"
	"github.com/kest-go/kest/policy/rego"
)

// The engines that follow their folder until they are closed. They are whatever else the engine is.
type (
	followedRego struct {
		*rego.Engine
		*watch
	}
	followedCedar struct {
		*cedar.Engine
		*watch
	}
)

// watch is the goroutine of an engine's watch, which logs what it finds.
type watch struct {
	stop    context.CancelFunc
	running sync.WaitGroup
}

// follow begins a watch, unless the interval is 0.
func follow(interval time.Duration, run func(ctx context.Context, interval time.Duration, report func(error))) *watch {
	w := &watch{stop: func() {}}
	if interval > 0 {
		var ctx context.Context
		ctx, w.stop = context.WithCancel(context.Background())
		w.running.Go(func() { run(ctx, interval, nil) })
	}
	return w
}

// Close ends the watch and returns when it has ended. The engine goes on answering with what it has.
func (w *watch) Close() error {
	w.stop()
	w.running.Wait()
	return nil
}
