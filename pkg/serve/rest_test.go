package serve

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"

	toolscache "k8s.io/client-go/tools/cache"
)

// Before the watches have brought all there is, nobody is told of what is not known yet.
func TestRESTDoorWaitsForTheNodes(t *testing.T) {
	r := newRestRig(t, "redfish")
	var filled atomic.Bool
	asked, whole, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	once := false
	d := replayer{
		store: r.store, whole: whole, log: slog.New(slog.DiscardHandler),
		synced: []toolscache.InformerSynced{func() bool {
			if !once {
				once = true
				close(asked)
			}
			return filled.Load()
		}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		if err := d.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	<-asked
	select {
	case <-whole:
		t.Error("the door is open")
	default:
	}
	filled.Store(true)
	<-whole
	cancel()
	<-ended
}
