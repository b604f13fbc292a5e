package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/record"
)

// labNamespace is where a lab's machines are enrolled.
const labNamespace = "default"

// enrolLab makes a lab's network and machines known. What is there already, from
// an earlier start of the same lab, is brought up to date: the faces' ports are
// others each time.
func enrolLab(ctx context.Context, c client.Client, l *lab.Lab) error {
	if l.Socket != "" {
		spec := v1alpha1.ProvisioningNetworkSpec{
			Interface: "unix:" + l.Socket, Address: lab.ServerAddress, Flavour: v1alpha1.FlavourVM,
			Range: &v1alpha1.AddressRange{Start: lab.RangeStart, End: lab.RangeEnd},
			Mode:  v1alpha1.NetworkDHCP,
		}
		n := &v1alpha1.ProvisioningNetwork{ObjectMeta: metav1.ObjectMeta{Name: "lab"}, Spec: spec}
		if err := put(ctx, c, n, func() { n.Spec = spec }); err != nil {
			return err
		}
	}
	for _, m := range l.Machines {
		if err := enrolMachine(ctx, c, m); err != nil {
			return err
		}
	}
	return nil
}

func enrolMachine(ctx context.Context, c client.Client, m lab.Machine) error {
	meta := metav1.ObjectMeta{Namespace: labNamespace, Name: m.Name + "-bmc"}
	data := map[string][]byte{"username": []byte(m.Username), "password": []byte(m.Password)}
	s := &corev1.Secret{ObjectMeta: meta, Data: data}
	if err := put(ctx, c, s, func() { s.Data = data }); err != nil {
		return err
	}
	b := &metal3.BareMetalHost{ObjectMeta: metav1.ObjectMeta{
		Namespace: labNamespace, Name: m.Name, Labels: map[string]string{"ingot.dev/lab": m.Kind},
	}}
	set := func() {
		b.Spec.BMC = metal3.BMCDetails{Address: m.Address, CredentialsName: meta.Name, DisableCertificateVerification: m.Insecure}
		b.Spec.BootMACAddress = m.MAC
		b.Spec.Online = true
		if m.Legacy {
			b.Spec.BootMode = metal3.Legacy
		}
	}
	set()
	err := put(ctx, c, b, set)
	if apierrors.IsInvalid(err) {
		// A registered host's address does not change, unless it is detached.
		return fmt.Errorf("%w\nthe host is from an earlier lab: kubectl delete bmh %s, or use another --data-dir", err, m.Name)
	}
	return err
}

// put creates an object, or changes the one that is there.
func put(ctx context.Context, c client.Client, o client.Object, set func()) error {
	err := c.Create(ctx, o, record.FieldOwner)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return err
	}
	set()
	return c.Update(ctx, o, record.FieldOwner)
}

// showLab lets a person watch, with the verbs that the person would use.
func showLab(ctx context.Context, a *cli.App, c client.Client, o *labOptions, l *lab.Lab) error {
	verb := func(args ...string) error {
		if o.kubeconfig != "" {
			args = append(args, "--kubeconfig", o.kubeconfig)
		}
		if code := cli.Run(ctx, append(args, "-n", labNamespace), a.Env, a.Stdio); code != 0 && ctx.Err() == nil {
			return fmt.Errorf("ingot %s ended with code %d", args[0], code)
		}
		return nil
	}
	if o.provision == "" {
		return verb("hosts", "--watch")
	}
	image := o.provision
	if image == "pretend" {
		if !o.Simulated {
			return cli.Usage("--provision pretend makes an image that no real machine can boot: name a file, or use --simulated")
		}
		var err error
		if image, err = pretendImage(o.Dir); err != nil {
			return err
		}
	}
	args := []string{"provision"}
	for _, m := range l.Machines {
		args = append(args, m.Name)
	}
	key, err := sshKey(o.Dir)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := verb(append(args, "--image", image, "--ssh-key", key, "--wait")...); err != nil {
		return err
	}
	if o.firstBoot {
		if err := awaitFirstBoot(ctx, a, c, l); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.Out, "%d machines, from enrolled to done in %s\n", len(l.Machines), time.Since(began).Round(100*time.Millisecond))
	return errors.Join(verb("hosts"), ctx.Err())
}

// sshKey makes a key that provisioned systems are given, and returns the file of
// its public part.
func sshKey(dir string) (string, error) {
	path := filepath.Join(dir, "id_ed25519.pub")
	pub, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, "ingot lab")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(strings.TrimSuffix(path, ".pub"), pem.EncodeToMemory(block), 0o600); err != nil {
		return "", err
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, append(bytes.TrimSpace(ssh.MarshalAuthorizedKey(line)), " ingot-lab\n"...), 0o600)
}

// firstBootTimeout bounds the wait for installed systems: under emulation one
// takes seconds, several at a time a little longer.
const firstBootTimeout = 5 * time.Minute

// awaitFirstBoot waits until each installed system has reported, and says what
// it reported.
func awaitFirstBoot(ctx context.Context, a *cli.App, c client.Client, l *lab.Lab) error {
	ctx, cancel := context.WithTimeout(ctx, firstBootTimeout)
	defer cancel()
	waiting := map[string]bool{}
	for _, m := range l.Machines {
		waiting[m.Name] = true
	}
	for {
		for name := range waiting {
			hr := &v1alpha1.HostRecord{}
			if err := c.Get(ctx, client.ObjectKey{Namespace: labNamespace, Name: name}, hr); err != nil {
				return err
			}
			if b := hr.Status.FirstBoot; b != nil {
				fmt.Fprintf(a.Out, "%s: its own system is up and reports: hostname %s, ssh key %s\n", name, b.Hostname, strings.Join(b.SSHKeys, ", "))
				delete(waiting, name)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("no report of the installed system from %s: look at the consoles below %s: %w", strings.Join(slices.Sorted(maps.Keys(waiting)), ", "), filepath.Dir(l.Machines[0].Disk), ctx.Err())
		}
	}
}

// pretendBytes is the size of the image that simulated machines are given.
const pretendBytes = 4 << 20

// pretendImage makes an image for simulated machines: bytes that do not
// compress, the same each time.
func pretendImage(dir string) (string, error) {
	b := make([]byte, pretendBytes)
	var seed [32]byte
	copy(seed[:], "ingot pretended image")
	if _, err := rand.NewChaCha8(seed).Read(b); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "pretend.raw")
	return path, os.WriteFile(path, b, 0o600)
}

// pretendBootFiles stand in for a kernel and a ramdisk, which a pretended machine
// fetches and does not run.
func pretendBootFiles(o *labOptions) error {
	o.bootFiles = filepath.Join(o.Dir, "boot")
	if err := os.MkdirAll(o.bootFiles, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"vmlinuz-vm", "initrd-vm.img"} {
		if err := os.WriteFile(filepath.Join(o.bootFiles, name), []byte("pretended\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}
