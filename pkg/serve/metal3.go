package serve

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// metal3Lease is the name of the Lease that Metal3's operator leads by, in the
// namespace that it runs in.
const metal3Lease = "baremetal-operator"

// otherOperator knows whether Metal3's operator is at work: two operators would
// switch the same machines. Clocks of two machines may differ, so it counts what
// it sees change, as leader election does.
type otherOperator struct {
	client client.Reader
	now    func() time.Time
	every  time.Duration
	log    *slog.Logger

	seen map[client.ObjectKey]renewal
}

// renewal is a Lease as it was first seen in this version.
type renewal struct {
	version string
	at      time.Time
}

// stale is how old a renewal may look, by the holder's own clock, and still be
// waited for.
const stale = time.Hour

// active names the holder of a Lease of Metal3's that is being renewed; empty:
// there is none.
func (o *otherOperator) active(ctx context.Context) (string, error) {
	var all coordv1.LeaseList
	if err := o.client.List(ctx, &all, client.MatchingFields{"metadata.name": metal3Lease}); err != nil {
		return "", fmt.Errorf("looking for the Lease of Metal3's operator: %w", err)
	}
	if o.seen == nil {
		o.seen = map[client.ObjectKey]renewal{}
	}
	holder := ""
	for _, l := range all.Items {
		if l.Name != metal3Lease || l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" {
			continue
		}
		if r := l.Spec.RenewTime; r != nil && o.now().Sub(r.Time) > stale {
			continue
		}
		key := client.ObjectKeyFromObject(&l)
		if o.seen[key].version != l.ResourceVersion {
			o.seen[key] = renewal{l.ResourceVersion, o.now()}
		}
		lasts := 15 * time.Second // what Metal3 takes unless it is told otherwise
		if s := l.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
			lasts = min(time.Duration(*s)*time.Second, 10*time.Minute)
		}
		if o.now().Sub(o.seen[key].at) < lasts {
			holder = fmt.Sprintf("%s (Lease %s)", *l.Spec.HolderIdentity, key)
		}
	}
	return holder, nil
}

// await returns when no other operator is at work, and says what it waits for.
func (o *otherOperator) await(ctx context.Context) error {
	for said := ""; ; {
		holder, err := o.active(ctx)
		if apierrors.IsForbidden(err) {
			o.log.Warn("cannot see whether Metal3's operator runs: make sure it does not", "err", err)
			return nil
		}
		if err != nil {
			return err
		}
		if holder == "" {
			return nil
		}
		if holder != said {
			o.log.Warn("waiting for Metal3's operator to end: two operators must not switch the same machines; stop it (kubectl scale deployment --replicas 0), and ingot goes on once its Lease has run out", "holder", holder)
			said = holder
		}
		if err := o.pause(ctx); err != nil {
			return err
		}
	}
}

// watch returns an error when another operator begins to work.
func (o *otherOperator) watch(ctx context.Context) error {
	for {
		holder, err := o.active(ctx)
		switch {
		case apierrors.IsForbidden(err):
			return nil
		case err != nil:
			o.log.Warn("will be tried again", "err", err)
		case holder != "":
			return fmt.Errorf("Metal3's operator began to work: %s; this ingot ends, and goes on when it is started again and that one has stopped", holder)
		}
		if err := o.pause(ctx); err != nil {
			return nil
		}
	}
}

func (o *otherOperator) pause(ctx context.Context) error {
	t := time.NewTimer(o.every)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
