package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/image"
	"github.com/ingot-metal/ingot/pkg/inventory"
	"github.com/ingot-metal/ingot/pkg/record"
	"github.com/ingot-metal/ingot/pkg/userdata"
)

// prepareImage fetches, verifies, decodes and cuts the image, before any disk is
// touched. It also makes the config drive once, so that a broken Secret is found
// before the machine is started.
func (e *Engine) prepareImage(ctx context.Context, in Input, a host.Action) Post {
	if _, err := e.configDrive(ctx, in, 0, nil); err != nil {
		return failed(a, userdataProblem(in, err))
	}
	if in.Host.LastTried != nil && in.Host.LastTried.Method != "" {
		if err := e.noWholeDrive(ctx, in); err != nil {
			return failed(a, userdataProblem(in, err))
		}
		return Post{Event: host.Outcome{Seq: a.Seq}} // the method fetches what it needs
	}
	_, digest, p := e.manifest(ctx, in)
	if p != nil {
		return failed(a, p)
	}
	post := Post{Event: host.Outcome{Seq: a.Seq}, Extra: record.Extra{Manifest: string(digest)}}
	if s := source(in); s.Weak() {
		post.Note = &Note{Warning: true, Reason: "ImageChecksumWeak", Message: "spec.image.checksum is MD5, which can be forged: give a SHA-256 or SHA-512"}
	}
	return post
}

func source(in Input) image.Source {
	i := in.Host.LastTried
	return image.Source{URL: i.URL, Checksum: i.Checksum, ChecksumType: i.ChecksumType, Format: i.Format}
}

// manifest prepares the wanted image; one that was prepared before costs
// nothing.
func (e *Engine) manifest(ctx context.Context, in Input) (*agent.Manifest, blob.Digest, *host.Problem) {
	if in.Host.LastTried == nil {
		return nil, "", NewProblem("image-unreachable", nil, "no image is wanted")
	}
	m, digest, err := e.Images.Prepare(ctx, source(in), func(done, total int64) {
		e.Progress.Set(in.Host.Key, Progress{Step: "image", Done: done, Total: total, Unit: "bytes", Detail: "fetching and verifying"})
	})
	if err == nil {
		return m, digest, nil
	}
	facts := map[string]string{"url": in.Host.LastTried.URL, "host": in.BMH.Name}
	var ie *image.Error
	if !errors.As(err, &ie) {
		return nil, "", NewProblem("image-unreachable", facts, err.Error())
	}
	maps.Copy(facts, ie.Facts)
	p := NewProblem(ie.Code, facts, ie.Message)
	if ie.Retryable {
		p.Class = host.Retry
	}
	return nil, "", p
}

// keyRef is one of the Secrets that make up a config drive.
type keyRef struct {
	key  string
	name string
}

// keyDrive is the key of a Secret of user data that holds a whole config drive.
const keyDrive = "configDrive"

// wholeDrive is a config drive that somebody made, to be written as it is; nil:
// there is none.
func (e *Engine) wholeDrive(ctx context.Context, in Input) ([]byte, error) {
	ref := in.BMH.Spec.UserData
	if ref == nil {
		return nil, nil
	}
	s, err := e.Secrets.Secret(ctx, in.BMH.Namespace, ref.Name)
	if s == nil || err != nil {
		return nil, err // what is missing is said where it is needed
	}
	drive, ok := s.Data[keyDrive]
	switch {
	case !ok:
		return nil, nil
	case len(drive) > agent.MaxConfDrive:
		return nil, &userdata.Error{Code: userdata.CodeInvalid, Key: keyDrive, Message: fmt.Sprintf("it has %d bytes, at most %d are allowed", len(drive), agent.MaxConfDrive)}
	case !isDrive(drive):
		return nil, &userdata.Error{Code: userdata.CodeInvalid, Key: keyDrive, Message: "it is no ISO 9660 and no FAT file system: give the bytes themselves, neither compressed nor in base64"}
	}
	return drive, nil
}

// isDrive tells file systems of config drives by their marks: ECMA-119 §8.1.2 in the
// volume descriptor of sector 16, or the signature of a FAT's boot sector.
func isDrive(b []byte) bool {
	const descriptor = 16 * 2048
	iso := len(b) > descriptor+6 && string(b[descriptor+1:descriptor+6]) == "CD001"
	fat := len(b) >= 512 && b[510] == 0x55 && b[511] == 0xaa && (string(b[54:57]) == "FAT" || string(b[82:85]) == "FAT")
	return iso || fat
}

// configDrive makes the host's config drive for a disk of that sector size (0:
// the usual one), or takes the one that is given whole. report tells the installed
// system where to say that it is up.
func (e *Engine) configDrive(ctx context.Context, in Input, sectorSize int, report *userdata.Report) ([]byte, error) {
	if drive, err := e.wholeDrive(ctx, in); drive != nil || err != nil {
		return drive, err
	}
	d, err := e.configInput(ctx, in, sectorSize, report)
	if err != nil {
		return nil, err
	}
	return userdata.ConfigDrive(d)
}

// configInput reads the Secrets that make up a config drive.
func (e *Engine) configInput(ctx context.Context, in Input, sectorSize int, report *userdata.Report) (userdata.Input, error) {
	b := in.BMH
	d := userdata.Input{UUID: string(b.UID), Namespace: b.Namespace, Name: b.Name, Report: report, SectorSize: sectorSize}
	refs := map[keyRef]*[]byte{}
	if r := b.Spec.UserData; r != nil {
		refs[keyRef{userdata.KeyUserData, r.Name}] = &d.UserData
	}
	if r := b.Spec.MetaData; r != nil {
		refs[keyRef{userdata.KeyMetaData, r.Name}] = &d.MetaData
	}
	network := b.Spec.NetworkData
	if network != nil {
		refs[keyRef{userdata.KeyNetworkData, network.Name}] = &d.NetworkData
	} else if n := b.Spec.PreprovisioningNetworkDataName; n != "" {
		refs[keyRef{userdata.KeyNetworkData, n}] = &d.NetworkData
	}
	for ref, into := range refs {
		s, err := e.Secrets.Secret(ctx, b.Namespace, ref.name)
		if err != nil {
			return d, err
		}
		if s == nil {
			return d, &userdata.Error{
				Code: userdata.CodeMissing, Key: ref.key,
				Message: fmt.Sprintf("there is no Secret %s/%s", b.Namespace, ref.name),
			}
		}
		if *into, err = userdata.FromSecret(ref.name, s.Data, ref.key); err != nil {
			return d, err
		}
	}
	return d, nil
}

func userdataProblem(in Input, err error) *host.Problem {
	var ue *userdata.Error
	if !errors.As(err, &ue) {
		return NewProblem("api-slow", nil, err.Error())
	}
	return NewProblem(ue.Code, map[string]string{"key": ue.Key, "host": in.BMH.Name, "namespace": in.BMH.Namespace}, ue.Error())
}

// inventory of the host, as the record names it.
func (e *Engine) inventory(ctx context.Context, in Input) (*agent.Inventory, error) {
	ref := in.HR.Status.Inventory
	if ref == nil {
		return nil, errors.New("no inventory is recorded")
	}
	if ref.Boot == "" {
		return nil, errors.New("the recorded inventory is the BMC's, which knows no device names")
	}
	d, err := blob.ParseDigest(strings.TrimPrefix(ref.Digest, "sha256:"))
	if err != nil {
		return nil, err
	}
	f, n, err := e.Blobs.Open(ctx, d)
	if errors.Is(err, blob.ErrNotExist) && ref.StepID != "" && in.Host.Boot != nil && in.Host.Boot.ID == ref.Boot {
		return e.inventoryAgain(ctx, in, ref.StepID)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if n > agent.MaxMessage {
		return nil, fmt.Errorf("the recorded inventory has %d bytes: want at most %d", n, agent.MaxMessage)
	}
	var inv agent.Inventory
	if err := json.NewDecoder(io.LimitReader(f, n)).Decode(&inv); err != nil {
		return nil, err
	}
	return &inv, nil
}

// inventoryAgain asks the agent for the result of its inspection, which lies with
// another replica. The agent does not inspect again, and whatever it runs goes on.
func (e *Engine) inventoryAgain(ctx context.Context, in Input, stepID string) (*agent.Inventory, error) {
	res, err := e.Agents.Run(ctx, in.Host.Boot.ID, in.Host.Key, agent.Step{ID: stepID, Epoch: in.epoch, Kind: agent.StepInspect}, nil)
	switch {
	case err != nil:
		return nil, err
	case res.Error != nil || res.Inventory == nil:
		return nil, errors.New("the agent has no inventory of this boot")
	}
	if err := inventory.Check(*res.Inventory); err != nil {
		return nil, fmt.Errorf("the agent's inventory: %w", err)
	}
	inventory.Clean(res.Inventory)
	raw, err := json.Marshal(res.Inventory)
	if err != nil {
		return nil, err
	}
	// The next who reads it finds it here; where it is the same to the byte.
	if _, _, err := e.Blobs.Put(ctx, bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	return res.Inventory, nil
}

// strictHints is the annotation that makes several matching disks an error.
const strictHints = "ingot.dev/strict-root-device-hints"

// choose picks the disk that the image goes to, from this boot's inventory. It
// gives the same answer whenever it is asked again. Hints that were recorded at
// an earlier provisioning hold until the spec names others.
func (e *Engine) choose(ctx context.Context, in Input) (inventory.Choice, *host.Problem) {
	inv, err := e.inventory(ctx, in)
	if err != nil {
		return inventory.Choice{}, NewProblem("inspect-failed", nil, "the inventory of this boot cannot be read: "+err.Error())
	}
	hints := record.Hints(in.BMH)
	if hints == nil {
		root, err := e.rootArray(ctx, in)
		if err != nil {
			return inventory.Choice{}, NewProblem("api-slow", nil, err.Error())
		}
		if root != "" {
			hints = &metal3.RootDeviceHints{DeviceName: root}
		}
	}
	c, err := inventory.ChooseDisk(inv.Disks, hints, in.BMH.Annotations[strictHints] == "true")
	if err == nil {
		return c, nil
	}
	code := inventory.CodeHintNone
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		code = coded.Code()
	}
	return c, NewProblem(code, map[string]string{"host": in.BMH.Name}, strings.Split(err.Error(), "; ")...)
}

func (e *Engine) chooseDisk(ctx context.Context, in Input, a host.Action) Post {
	c, p := e.choose(ctx, in)
	if p != nil {
		return failed(a, p)
	}
	var m *agent.Manifest
	if in.Host.LastTried != nil && in.Host.LastTried.Method != "" {
		m, p = &agent.Manifest{}, e.knowsMethod(ctx, in)
	} else {
		m, _, p = e.manifest(ctx, in)
	}
	if p != nil {
		return failed(a, p)
	}
	if m.Size > c.Disk.Size {
		return failed(a, NewProblem("disk-small", map[string]string{"disk": c.Disk.Name, "host": in.BMH.Name},
			fmt.Sprintf("the image needs %d bytes, %s has %d", m.Size, c.Disk.Name, c.Disk.Size)))
	}
	post := Post{
		Event: host.Outcome{Seq: a.Seq},
		Note:  &Note{Reason: "DiskChosen", Message: c.Disk.Name + " (" + c.Disk.Serial + "): " + c.Reason},
	}
	if n := len(c.Others); n > 0 {
		names := make([]string, n)
		for i, d := range c.Others {
			names[i] = d.Name
		}
		post.Note.Warning = true
		post.Note.Message += fmt.Sprintf("; %d more matched: %s", n, strings.Join(names, ", "))
	}
	return post
}
