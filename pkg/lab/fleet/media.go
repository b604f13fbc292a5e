package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ingot-metal/ingot/agent"
	"github.com/ingot-metal/ingot/agent/fault"
	api "github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

// RamdiskISO begins the content of a pretended ISO that holds a ramdisk; the
// kernel's command line follows. Any other is an operating system that runs from
// its drive.
const RamdiskISO = "#!ramdisk\n"

// startMedia starts what is in the virtual drive.
func (m *Machine) startMedia(ctx context.Context, mode simbmc.BootMode) {
	image, inserted, _ := m.body.Media(ctx) // a Memory body has no error
	if !inserted {
		m.log(KindStuck, "nothing in the virtual drive")
		m.prints("No bootable device.")
		return
	}
	text, err := m.fetch(ctx, image, "bytes=0-4095")
	switch {
	case ctx.Err() != nil:
	case err != nil:
		m.log(KindStuck, "virtual drive: "+err.Error())
	case strings.HasPrefix(text, RamdiskISO):
		m.startRamdisk(ctx, script{cmdline: strings.TrimSpace(strings.TrimPrefix(text, RamdiskISO))}, mode)
	default:
		m.log(KindOSUp, "media "+image)
		m.login()
	}
}

// DeployMethod is the one deploy method of the pretended ramdisk. It makes the
// disk bootable with what follows from the image's URL and the user data.
const DeployMethod = "pretend"

var _ agent.Deployer = (*devices)(nil)

// Deploy implements agent.Deployer. A user data of "fail" is a method that fails.
func (d *devices) Deploy(ctx context.Context, s api.DeployStep, src agent.Source, p agent.Progress) (api.DeployResult, error) {
	content, spec, err := d.match(s.Disk)
	if err != nil {
		return api.DeployResult{}, err
	}
	if s.Method != DeployMethod {
		return api.DeployResult{}, fault.New(fault.StepRefused, "there is no deploy method %.40q", s.Method)
	}
	files := api.DeployFiles{}
	if s.Files != "" {
		var raw []byte
		err := insist(ctx, func() (err error) {
			raw, err = src.Secret(ctx, s.Files, s.FilesSize)
			return err
		})
		if err == nil {
			err = json.Unmarshal(raw, &files)
		}
		if err != nil {
			return api.DeployResult{}, fault.New(fault.DeployFailed, "files: %w", err)
		}
	}
	d.m.log(KindDeploy, s.Method+" "+spec.Serial)
	p(0, 0, "", "pretending")
	if string(files["user_data"]) == "fail" {
		return api.DeployResult{}, fault.New(fault.DeployFailed, "exit status 3\nreading the recipe\nno such recipe")
	}
	if err := content.erase(ctx); err != nil {
		return api.DeployResult{}, err
	}
	url := ""
	if s.Image != nil {
		url = s.Image.URL
	}
	return api.DeployResult{Disk: refOf(spec)}, content.setImage(ctx, Deployed(url, string(files["user_data"])))
}

// Deployed names what DeployMethod puts on a disk.
func Deployed(image, userData string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s", image, userData))
	return hex.EncodeToString(sum[:])
}
