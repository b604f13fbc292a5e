package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/console"
	"github.com/ingot-metal/ingot/pkg/controller"
	"github.com/ingot-metal/ingot/pkg/engine"
	"github.com/ingot-metal/ingot/pkg/host"
	hostrecord "github.com/ingot-metal/ingot/pkg/record"
)

// printedLines of a console are kept of an operation that failed.
const printedLines = 200

// consoles decides whose consoles are recorded, and opens them.
type consoles struct {
	keeper  *console.Keeper
	hosts   client.Reader
	secrets secrets
	bmcs    engine.BMCs
	blobs   *blob.Store
	mode    console.Mode
	log     *slog.Logger
}

var _ controller.Consoles = (*consoles)(nil)

func newConsoles(c consoles) *consoles {
	c.keeper = console.NewKeeper(console.KeeperOptions{Open: c.open, Recorder: console.Options{Log: c.log}})
	return &c
}

// wanted decides whether a host's console is recorded now, and whether it may be
// open at all.
func wanted(mode console.Mode, b *metal3.BareMetalHost, h host.Host) (record, may bool) {
	if h.Gone || leftAlone(b) != "" || h.Detached || !h.Wants.Managed() {
		return false, false
	}
	if own, err := console.ParseMode(b.Annotations[console.AnnotationMode]); err == nil {
		mode = own
	}
	switch mode {
	case console.Never:
		return false, true
	case console.Always:
		return h.Good != "", true
	}
	return h.Op.Boots(), true
}

// leftAlone is the annotation because of which nothing of ours touches a host.
func leftAlone(b *metal3.BareMetalHost) string {
	for _, a := range []string{metal3.PausedAnnotation, metal3.DetachedAnnotation} {
		if _, is := b.Annotations[a]; is {
			return a
		}
	}
	return ""
}

// Follow implements controller.Consoles.
func (c *consoles) Follow(k types.NamespacedName, b *metal3.BareMetalHost, h host.Host) {
	switch record, may := wanted(c.mode, b, h); {
	case record:
		c.keeper.Record(k.String(), way(h.Wants), mark(h))
	case may:
		c.keeper.Release(k.String())
	default:
		c.keeper.End(k.String())
	}
}

// way changes with what a console is reached by.
func way(w host.Wants) string { return w.Address + " " + w.SecretVersion + " " + w.BMCOptions }

// mark names the operation, for what is printed from its beginning on. One that
// goes on in the boot of the one before counts from that boot.
func mark(h host.Host) string {
	if !h.Op.Boots() || h.Boot != nil && h.Op.Started.After(h.Boot.Ordered) {
		return ""
	}
	return string(h.Op.Kind) + " " + h.Op.Started.Format(time.RFC3339Nano)
}

// Printed implements controller.Consoles.
func (c *consoles) Printed(ctx context.Context, k types.NamespacedName, h host.Host, old *v1alpha1.ConsoleRef) *v1alpha1.ConsoleRef {
	// As the record has it, so that the two can be compared.
	ref := &v1alpha1.ConsoleRef{At: metav1.NewMicroTime(h.Problem.Since.Truncate(time.Microsecond))}
	raw, none := c.keeper.Since(k.String(), printedLines)
	if none == "" {
		text, err := json.Marshal(printed{Host: k.String(), At: ref.At.Time, Code: h.Problem.Code, Lines: console.Lines(raw)})
		var d blob.Digest
		if err == nil {
			d, err = c.blobs.PutSecret(ctx, text)
		}
		if err != nil {
			c.log.Warn("the console's last lines are not kept", "host", k.String(), "err", err)
			return nil
		}
		ref.Digest = "sha256:" + string(d)
	} else {
		if strings.HasPrefix(h.Problem.Code, "bmc-") {
			return nil // it is said already
		}
		ref.None = bounded(none)
	}
	c.drop(ctx, k, old)
	return ref
}

// bounded fits into ConsoleRef.None, which counts characters.
func bounded(s string) string {
	const most = 250
	if r := []rune(strings.ToValidUTF8(s, "?")); len(r) > most {
		return string(r[:most]) + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// printed is the blob: what a machine printed before it failed. No two are alike,
// so that one may be deleted.
type printed struct {
	Host  string    `json:"host"`
	At    time.Time `json:"at"`
	Code  string    `json:"code"`
	Lines []string  `json:"lines"`
}

// failure reads what was kept of a host's last failure; nil: nothing.
func (c *consoles) failure(ctx context.Context, k types.NamespacedName) (*printed, error) {
	hr := &v1alpha1.HostRecord{}
	if err := c.hosts.Get(ctx, k, hr); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	ref := hr.Status.Console
	if ref == nil || ref.Digest == "" {
		return nil, nil
	}
	raw, err := c.blobs.OpenSecret(ctx, blob.Digest(strings.TrimPrefix(ref.Digest, "sha256:")))
	if errors.Is(err, blob.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &printed{}
	if err := json.Unmarshal(raw, p); err != nil || p.Host != k.String() {
		return nil, fmt.Errorf("the console's last lines of %s are not readable: %w", k, errors.Join(err, errOthers))
	}
	return p, nil
}

var errOthers = errors.New("they are of another host, or no such lines at all")

// Leave implements controller.Consoles.
func (c *consoles) Leave(k types.NamespacedName) { c.keeper.End(k.String()) }

// Forget implements controller.Consoles.
func (c *consoles) Forget(k types.NamespacedName, old *v1alpha1.ConsoleRef) {
	c.keeper.Forget(k.String())
	c.drop(context.Background(), k, old)
}

func (c *consoles) drop(ctx context.Context, k types.NamespacedName, old *v1alpha1.ConsoleRef) {
	if old == nil || old.Digest == "" {
		return
	}
	if err := c.blobs.DeleteSecret(ctx, blob.Digest(strings.TrimPrefix(old.Digest, "sha256:"))); err != nil {
		c.log.Warn("an earlier console's lines stay in the blob store", "host", k.String(), "err", err)
	}
}

// bmcPatience bounds the login at a BMC whose console is opened.
const bmcPatience = time.Minute

// open opens a host's console with what the host says now. No credentials are
// kept for it.
func (c *consoles) open(ctx context.Context, name string) (io.ReadWriteCloser, error) {
	const op = "open the console"
	ns, n, _ := strings.Cut(name, "/")
	conn, err := func() (bmc.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, bmcPatience)
		defer cancel()
		b, secret, err := c.find(ctx, types.NamespacedName{Namespace: ns, Name: n})
		if err != nil {
			return nil, err
		}
		w := hostrecord.Wants(b, secret)
		if w.SecretVersion == "" || w.SecretProblem != nil {
			return nil, &bmc.Error{Class: bmc.Auth, Op: op, Detail: "there are no usable credentials: the Secret " + b.Spec.BMC.CredentialsName + " is missing or incomplete"}
		}
		return c.bmcs.Conn(ctx, b, hostrecord.Credentials(secret), w.SecretVersion)
	}()
	if err != nil {
		return nil, err
	}
	con, ok := conn.(bmc.Console)
	if !ok {
		return nil, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "this BMC has no serial console that ingot can open"}
	}
	return con.OpenConsole(ctx)
}

// find reads a host and the Secret of its BMC; nil: there is none.
func (c *consoles) find(ctx context.Context, k types.NamespacedName) (*metal3.BareMetalHost, *corev1.Secret, error) {
	b := &metal3.BareMetalHost{}
	if err := c.hosts.Get(ctx, k, b); err != nil {
		return nil, nil, err
	}
	if a := leftAlone(b); a != "" {
		return nil, nil, &bmc.Error{Class: bmc.Busy, Op: "open the console", Detail: "the host is left alone: it has the annotation " + a}
	}
	s, err := c.secrets.Secret(ctx, b.Namespace, b.Spec.BMC.CredentialsName)
	return b, s, err
}

// watch opens a console for a person.
func (c *consoles) watch(ctx context.Context, k types.NamespacedName) (*console.Recorder, func(), error) {
	b, s, err := c.find(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	if b.Spec.BMC.Address == "" {
		return nil, nil, &bmc.Error{Class: bmc.Unsupported, Op: "open the console", Detail: "the host names no BMC"}
	}
	return c.keeper.Watch(k.String(), way(hostrecord.Wants(b, s)))
}

// note is a line of ours in what a machine prints.
func note(format string, args ...any) []byte {
	text := strings.Join(console.Lines(fmt.Appendf(nil, format, args...)), " ")
	return bytes.Join([][]byte{[]byte("\r\n[ingot: "), []byte(text), []byte("]\r\n")}, nil)
}
