package sqlstore

import (
	"context"
	"log/slog"
	"time"
)

// sweepBatch is the number of rows that one statement deletes: with the longest values still within its time, and
// other writers do not wait long for it.
const sweepBatch = 50

// Sweep deletes the rows whose time is over, in batches of 50 with the Timeout of [Config] each, until there are no
// more or ctx ends. It returns how many it has deleted, also beside an error, which is that of ctx or matches
// [store.ErrUnavailable].
func (s *Store) Sweep(ctx context.Context) (int64, error) {
	var total int64
	for {
		var rows int64
		err := s.within(ctx, s.timeout, func(ctx context.Context) error {
			result, err := s.db.ExecContext(ctx, s.sql.sweep, s.args(sweepBatch)...)
			if err != nil {
				return err
			}
			rows, err = result.RowsAffected()
			return err
		})
		if err != nil {
			return total, unavailable(ctx, err)
		}
		total += rows
		if rows < sweepBatch {
			return total, nil
		}
	}
}

// startSweeper sweeps at every interval until Close.
func (s *Store) startSweeper(interval time.Duration, logger *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if interval < 0 {
		return
	}
	s.sweeper.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				logger.Warn("sqlstore cannot delete values whose time is over, so its table grows", "table", s.prefix+"store", "error", err)
			}
		}
	})
}
