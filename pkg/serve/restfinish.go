package serve

import (
	"context"
	"log/slog"
	"time"

	toolscache "k8s.io/client-go/tools/cache"

	"github.com/ingot-metal/ingot/pkg/rest"
)

// finishEvery is how often writes that a replica did not end are looked for.
const finishEvery = time.Minute

// finisher carries on what the REST door was kept from ending, once the store knows
// all there is: a node that it does not know of yet is not one that is gone.
type finisher struct {
	door   *rest.Server
	synced []toolscache.InformerSynced
	log    *slog.Logger
}

// Start runs until ctx ends.
func (f finisher) Start(ctx context.Context) error {
	if !toolscache.WaitForCacheSync(ctx.Done(), f.synced...) {
		return nil // the end came first
	}
	tick := time.NewTicker(finishEvery)
	defer tick.Stop()
	for {
		if err := f.door.FinishInterrupted(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("a REST client's write is not finished yet", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// NeedLeaderElection says that it waits for nobody: its writes are fenced.
func (finisher) NeedLeaderElection() bool { return false }
