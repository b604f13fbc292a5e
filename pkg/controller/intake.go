package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/open"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/record"
)

// wants reads what is declared, and the credentials that go with it.
func (c *Hosts) wants(ctx context.Context, l *live) (host.Wants, bmc.Credentials, error) {
	b := l.objs.BMH
	var secret *corev1.Secret
	if n := b.Spec.BMC.CredentialsName; n != "" {
		s, err := c.claim(ctx, b, n)
		if err != nil {
			c.Metrics.CredentialsUnread()
			return host.Wants{}, bmc.Credentials{}, err
		}
		secret = s
	}
	if err := c.claimNetworkData(ctx, b); err != nil {
		return host.Wants{}, bmc.Credentials{}, err
	}
	w := record.Wants(b, secret)
	var err error
	if w.DataVersion, err = c.dataVersion(ctx, b); err != nil {
		return host.Wants{}, bmc.Credentials{}, err
	}
	if err := c.ramdisk(ctx, b, &w); err != nil {
		return host.Wants{}, bmc.Credentials{}, err
	}
	if w.SecretVersion == "" {
		return w, bmc.Credentials{}, nil
	}
	addr, err := bmc.ParseAddress(w.Address)
	if err != nil {
		w.SecretVersion = ""
		w.SecretProblem = engine.NewProblem("bmc-address-syntax", nil, err.Error())
		return w, bmc.Credentials{}, nil
	}
	if _, err := open.HostOptions(addr, b.Annotations); err != nil {
		w.SecretVersion = ""
		w.SecretProblem = engine.BMCProblem(ctx, b, err)
		return w, bmc.Credentials{}, nil
	}
	return w, record.Credentials(secret), nil
}

// errBirth ends the first reconcile of a host that the REST door has made: the door is
// about to make its record, and both would do so at the same moment. One that was
// killed never will, so it is waited for once.
var errBirth = errors.New("the record is being made")

// birthWait is what the door has for that.
const birthWait = 100 * time.Millisecond

// load restores a host that this process does not know yet.
func (c *Hosts) load(ctx context.Context, l *live, w host.Wants) error {
	if l.loaded {
		return nil
	}
	b := l.objs.BMH
	hr := &v1alpha1.HostRecord{}
	read := client.Reader(c.Client)
	if l.reread {
		read = c.Reader
	}
	err := read.Get(ctx, client.ObjectKeyFromObject(b), hr)
	switch {
	case apierrors.IsNotFound(err) && b.Annotations[record.AnnotationNodeUUID] != "" && !l.waited:
		l.waited = true
		return errBirth
	case apierrors.IsNotFound(err):
		hr = nil
	case err != nil:
		return err
	case len(hr.OwnerReferences) > 0 && hr.OwnerReferences[0].UID != b.UID:
		return fmt.Errorf("HostRecord %s/%s belongs to an earlier host of that name: waiting for it to be collected", b.Namespace, b.Name)
	}
	l.objs.HR = hr
	l.h = record.Load(b, hr, w).Resume()
	l.objs.Newer = record.NewerOf(l.h)
	if record.Unknown(hr) && b.Status.LastUpdated != nil {
		if l.objs.Newer, err = c.Store.ReadNewer(ctx, b); err != nil {
			return err
		}
		l.h = record.Inherit(l.h, l.objs.Newer)
	}
	l.shown, l.told.profile = l.h, b.Status.HardwareProfile
	l.loaded = true
	return nil
}

// step feeds the host what has come for it.
func (c *Hosts) step(l *live, w host.Wants) {
	now := c.Now()
	feed := func(e host.Event) {
		h, as := c.Machine.Step(l.h, now, e)
		c.Metrics.Stepped(l.h, h, as, now)
		l.h = h
		l.todo = append(l.todo, as...)
	}
	feed(host.Observe{Wants: w})
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, p := range inbox {
		if o, ok := p.Event.(host.Outcome); !ok || o.Seq == l.h.Seq {
			merge(&l.extra, p.Extra)
			if p.Firmware != nil {
				l.firmware.reading = p.Firmware
			}
			if p.Note != nil {
				c.note(l, *p.Note)
			}
		}
		if p.Event != nil {
			feed(p.Event)
		}
		if p.ack != nil {
			l.acks = append(l.acks, p.ack)
		}
	}
}

func merge(into *record.Extra, x record.Extra) {
	if x.Hardware != nil {
		into.Hardware = x.Hardware
	}
	if x.BMC != nil {
		into.BMC = x.BMC
	}
	if x.Inventory != nil {
		into.Inventory = x.Inventory
	}
	if x.Session != "" {
		into.Session = x.Session
	}
	if x.KeyHash != "" {
		into.KeyHash, into.AgentIP = x.KeyHash, x.AgentIP
	}
	if x.FirstBoot != nil {
		into.FirstBoot = x.FirstBoot
	}
	if x.Manifest != "" {
		into.Manifest = x.Manifest
	}
}
