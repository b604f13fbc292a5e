package shard

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names and marks of our objects.
const (
	agreedMap      = "ingot-shards" // ConfigMap: how many there are
	agreedKey      = "shards"
	shardPrefix    = "ingot-shard-"
	memberPrefix   = "ingot-member-"
	kindLabel      = "ingot.dev/lease"
	kindShard      = "shard"
	kindMember     = "member"
	doorAnnotation = "ingot.dev/door"
	nameAnnotation = "ingot.dev/replica"
	fieldOwner     = client.FieldOwner("ingot")
)

// DisagreeError says that replicas were told different numbers of shards.
type DisagreeError struct{ Want, Have int }

func (e *DisagreeError) Error() string {
	return fmt.Sprintf("--shards %d: the hosts of this cluster are shared in %d (ConfigMap %s): start this replica with --shards %d or without the flag; to change the number, stop every replica, delete the ConfigMap and start them again",
		e.Want, e.Have, agreedMap, e.Have)
}

// agree finds out how many shards there are, or says it first.
func (m *Member) agree(ctx context.Context) error {
	key := client.ObjectKey{Namespace: m.cfg.Namespace, Name: agreedMap}
	for range 5 {
		cm := &corev1.ConfigMap{}
		err := m.cfg.Client.Get(ctx, key, cm)
		if err == nil {
			n, err := strconv.Atoi(cm.Data[agreedKey])
			switch {
			case err != nil || n < 1 || n > MaxShards:
				return fmt.Errorf("ConfigMap %s: %s is %q, want 1 to %d", key, agreedKey, cm.Data[agreedKey], MaxShards)
			case m.cfg.Shards != 0 && m.cfg.Shards != n:
				return &DisagreeError{Want: m.cfg.Shards, Have: n}
			}
			m.mu.Lock()
			m.shards = n
			m.mu.Unlock()
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading ConfigMap %s: %w", key, err)
		}
		n := m.cfg.Shards
		if n == 0 {
			n = DefaultShards
		}
		cm = &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			Data:       map[string]string{agreedKey: strconv.Itoa(n)},
		}
		if err := m.cfg.Client.Create(ctx, cm, fieldOwner); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating ConfigMap %s: %w", key, err)
		}
	}
	return fmt.Errorf("ConfigMap %s comes and goes", key)
}

// endEarlier ends the Leases of earlier starts of this replica.
func (m *Member) endEarlier(ctx context.Context) error {
	_, members, err := m.list(ctx)
	if err != nil {
		return err
	}
	for _, l := range members {
		if l.Annotations[nameAnnotation] == m.cfg.Name {
			if err := m.end(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// renew says that this replica lives. What is ours is ours until the deadline,
// counted from before the request: whoever sees the renewal sees it later.
func (m *Member) renew(ctx context.Context) error {
	began, wall := m.cfg.Now(), time.Now()
	limit := m.cfg.Deadline
	if left := m.deadline().Sub(began); left > 0 {
		limit = min(limit, left)
	}
	ctx, cancel := context.WithDeadline(ctx, wall.Add(limit))
	defer cancel()
	stamp := metav1.NewMicroTime(wall)
	var next *coordv1.Lease
	var err error
	if m.lease == nil {
		id := clean(m.cfg.Name + "-" + m.cfg.NewID())
		seconds := int32(m.cfg.Duration.Seconds())
		next = &coordv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: m.cfg.Namespace, Name: memberPrefix + id, Labels: map[string]string{kindLabel: kindMember},
				Annotations: map[string]string{doorAnnotation: m.cfg.Door, nameAnnotation: m.cfg.Name},
			},
			Spec: coordv1.LeaseSpec{HolderIdentity: &id, LeaseDurationSeconds: &seconds, AcquireTime: &stamp, RenewTime: &stamp},
		}
		m.mu.Lock()
		m.id = id
		m.mu.Unlock()
		err = m.cfg.Client.Create(ctx, next, fieldOwner)
	} else {
		next = m.lease.DeepCopy()
		next.Spec.RenewTime = &stamp
		err = m.cfg.Client.Update(ctx, next, fieldOwner)
	}
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err) && !m.ours(ctx):
		m.lease = nil
		m.fenced("another replica ended its Lease")
		return nil
	case apierrors.IsConflict(err):
		return nil // an update of ours whose answer was lost: the next one is based on it
	case err != nil:
		return fmt.Errorf("renewing Lease %s: %w", next.Name, err)
	}
	if m.lease != nil && !m.cfg.Now().Before(m.deadline()) {
		m.lease = next
		m.fenced("it was renewed too late")
		return nil
	}
	m.lease = next
	m.mu.Lock()
	m.until = began.Add(m.cfg.Deadline)
	m.mu.Unlock()
	return nil
}

// ours takes up our Lease as it is stored, after a conflict. Nobody else renews
// it: others only delete it.
func (m *Member) ours(ctx context.Context) bool {
	fresh := &coordv1.Lease{}
	if err := m.cfg.Client.Get(ctx, client.ObjectKeyFromObject(m.lease), fresh); err != nil {
		return !apierrors.IsNotFound(err) // unknown: the deadline decides
	}
	if fresh.UID != m.lease.UID || holderOf(fresh) != holderOf(m.lease) {
		return false
	}
	m.lease = fresh
	return true
}

// drop ends our Lease without waiting for it.
func (m *Member) drop() {
	l := m.lease
	m.lease = nil
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.cfg.Retry)
	defer cancel()
	if err := m.end(ctx, l); err != nil {
		m.cfg.Log.Debug("the Lease that was not renewed in time is still there", "err", err)
	}
}

// end deletes a replica's Lease, whatever its version: its holder cannot renew it
// from then on.
func (m *Member) end(ctx context.Context, l *coordv1.Lease) error {
	return client.IgnoreNotFound(m.cfg.Client.Delete(ctx, l, client.Preconditions{UID: &l.UID}))
}

// look lists who lives and who holds what. Replicas that have fallen silent are
// fenced: their Lease goes, in the version that was seen unchanged for so long.
func (m *Member) look(ctx context.Context) (shards map[int]*coordv1.Lease, members map[string]*coordv1.Lease, err error) {
	shards, members, err = m.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	now := m.cfg.Now()
	for id, l := range members {
		if s := m.seen[l.Name]; s.version != l.ResourceVersion {
			m.seen[l.Name] = sighting{l.ResourceVersion, now}
			continue
		}
		if l.Name == m.lease.Name || now.Sub(m.seen[l.Name].at) < m.lasts(l) {
			continue
		}
		err := m.cfg.Client.Delete(ctx, l, client.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion})
		if apierrors.IsConflict(err) {
			continue // it lives
		}
		if client.IgnoreNotFound(err) != nil {
			return nil, nil, fmt.Errorf("ending the Lease of a dead replica: %w", err)
		}
		m.cfg.Log.Warn("a replica has fallen silent: its hosts go to the others", "replica", id)
		delete(members, id)
	}
	for name := range m.seen {
		if members[idOf(name)] == nil {
			delete(m.seen, name)
		}
	}
	return shards, members, nil
}

// maxLasts bounds how long a replica's Lease is waited for, whatever it says.
const maxLasts = 10 * time.Minute

// lasts is how long a replica may be silent: it knows its own flags.
func (m *Member) lasts(l *coordv1.Lease) time.Duration {
	if s := l.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		return max(m.cfg.Duration, min(time.Duration(*s)*time.Second, maxLasts))
	}
	return m.cfg.Duration
}

// list reads all Leases of ours in one request, and so as of one moment: a holder
// whose own Lease is not among them had lost it before.
func (m *Member) list(ctx context.Context) (shards map[int]*coordv1.Lease, members map[string]*coordv1.Lease, err error) {
	var all coordv1.LeaseList
	err = m.cfg.Client.List(ctx, &all, client.InNamespace(m.cfg.Namespace), client.HasLabels{kindLabel})
	if err != nil {
		return nil, nil, fmt.Errorf("listing the Leases of shards and replicas: %w", err)
	}
	shards, members = map[int]*coordv1.Lease{}, map[string]*coordv1.Lease{}
	for i := range all.Items {
		l := &all.Items[i]
		switch l.Labels[kindLabel] {
		case kindMember:
			members[idOf(l.Name)] = l
		case kindShard:
			n, err := strconv.Atoi(strings.TrimPrefix(l.Name, shardPrefix))
			if err == nil && n >= 0 {
				shards[n] = l // beyond our number too: for its epoch
			}
		}
	}
	return shards, members, nil
}

// idOf a replica is the rest of its Lease's name.
func idOf(name string) string { return strings.TrimPrefix(name, memberPrefix) }

// clean makes an identity fit for an object's name (RFC 1123).
func clean(id string) string {
	id = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, id)
	return strings.Trim(id[:min(len(id), 200)], "-")
}

func holderOf(l *coordv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func epochOf(l *coordv1.Lease) int64 {
	if l.Spec.LeaseTransitions == nil {
		return 0
	}
	return int64(*l.Spec.LeaseTransitions)
}

// take makes shards ours, each in the version in which it was seen free. Another
// replica may be quicker.
func (m *Member) take(ctx context.Context, free []int, shards map[int]*coordv1.Lease) error {
	// Higher than that of all: a host that falls into another shard, because their
	// number was changed, meets no lower epoch there.
	epoch := int64(0)
	for _, l := range shards {
		epoch = max(epoch, epochOf(l))
	}
	epoch++
	var got []int
	var errs []error
	for _, i := range free {
		err := m.hold(ctx, i, shards[i], epoch)
		switch {
		case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("taking shard %d: %w", i, err))
			continue
		}
		got = append(got, i)
		m.mu.Lock()
		m.mine[i] = &held{epoch: epoch, first: m.joining}
		m.holders[i] = m.id
		m.mu.Unlock()
	}
	if len(got) > 0 {
		m.cfg.Log.Info("hosts are this replica's", "shards", len(got), "of", m.shards, "epoch", epoch)
		if !m.joining {
			m.cfg.Gained(got)
		}
	}
	return errors.Join(errs...)
}

func (m *Member) hold(ctx context.Context, i int, l *coordv1.Lease, epoch int64) error {
	stamp := metav1.NewMicroTime(time.Now())
	n, id := int32(epoch), m.id
	spec := coordv1.LeaseSpec{HolderIdentity: &id, LeaseTransitions: &n, AcquireTime: &stamp}
	if l == nil {
		return m.cfg.Client.Create(ctx, &coordv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: m.cfg.Namespace, Name: shardPrefix + strconv.Itoa(i), Labels: map[string]string{kindLabel: kindShard},
			},
			Spec: spec,
		}, fieldOwner)
	}
	l = l.DeepCopy()
	l.Spec = spec
	return m.cfg.Client.Update(ctx, l, fieldOwner)
}

// give hands shards over: first nothing of ours acts on their hosts, then they
// are free.
func (m *Member) give(ctx context.Context, surplus []int, shards map[int]*coordv1.Lease) error {
	if len(surplus) == 0 {
		return nil
	}
	m.mu.Lock()
	for _, i := range surplus {
		delete(m.mine, i)
	}
	m.mu.Unlock()
	m.cfg.Log.Info("hosts are handed over to other replicas", "shards", len(surplus))
	m.lost(surplus)
	var errs []error
	for _, i := range surplus {
		l := shards[i].DeepCopy()
		nobody := ""
		l.Spec.HolderIdentity = &nobody
		err := m.cfg.Client.Update(ctx, l, fieldOwner)
		if err != nil && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("handing over shard %d: %w", i, err)) // the next round tries again
		}
	}
	return errors.Join(errs...)
}
