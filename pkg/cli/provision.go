package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/spf13/cobra"
)

// provisioning are the flags of provision.
type provisioning struct {
	waiting
	image, checksum, checksumType, format   string
	userData, networkData, metaData, sshKey string
	hostname                                string
	hints                                   []string
}

func (a *App) provisionCommand() *cobra.Command {
	var p provisioning
	c := &cobra.Command{
		Use:   "provision HOST... --image URL|FILE --checksum HEX|URL",
		Short: "Write an image to hosts' disks and boot it",
		Long: `Write an image to the disk of hosts and boot it. The disk is the one that
--root-device-hint names, else the smallest; what is on it is lost.
The image is a raw or qcow2 disk image, plain or compressed with gzip, xz or zstd.
A local file is uploaded first, and needs no checksum.`,
		Example: `  ingot provision w1 --image debian.qcow2 --ssh-key ~/.ssh/id_ed25519.pub --wait
  ingot provision w1 w2 --image https://example.org/debian.raw.zst --checksum 4f2c… --user-data cloud.yaml
  ingot provision w1 --image debian.raw --root-device-hint serialNumber=S4EV --hostname db1`,
		Args: someHosts,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.provision(cmd.Context(), args, p)
		},
	}
	f := c.Flags()
	f.StringVar(&p.image, "image", "", "URL of the image, or a local file")
	f.StringVar(&p.checksum, "checksum", "", "its checksum in hex, or the URL of a file that lists it")
	f.StringVar(&p.checksumType, "checksum-type", "", "sha256, sha512, md5 or auto (default: by the checksum's length)")
	f.StringVar(&p.format, "format", "", "raw or qcow2 (default: found out)")
	f.StringVar(&p.userData, "user-data", "", "file with user data (cloud-config, a script, Ignition)")
	f.StringVar(&p.networkData, "network-data", "", "file with network data (OpenStack's network_data, YAML or JSON)")
	f.StringVar(&p.metaData, "meta-data", "", "file with meta data (YAML)")
	f.StringVar(&p.hostname, "hostname", "", "host name of the installed system (default: the host's name)")
	f.StringVar(&p.sshKey, "ssh-key", "", "file with public SSH keys for the default user; makes user data of it")
	f.StringArrayVar(&p.hints, "root-device-hint", nil, "which disk, as KEY=VALUE; may be repeated: "+strings.Join(hintKeys(), ", "))
	p.waiting.flags(c)
	return c
}

func (a *App) provision(ctx context.Context, names []string, p provisioning) error {
	if p.image == "" {
		return Usage("name the image: --image URL, or --image FILE")
	}
	hints, err := parseHints(p.hints)
	if err != nil {
		return err
	}
	data, err := p.readData(names)
	if err != nil {
		return err
	}
	local := !strings.Contains(p.image, "://")
	if err := p.checkImage(local); err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	hosts, err := c.hosts(ctx, names)
	if err != nil {
		return err
	}
	var refused []error
	for _, h := range hosts {
		refused = append(refused, canProvision(h))
	}
	if err := errors.Join(refused...); err != nil {
		return err
	}
	if local {
		if err := a.uploadImage(ctx, c, &p); err != nil {
			return err
		}
	}
	for _, h := range hosts {
		spec, err := c.writeData(ctx, h, data)
		if err != nil {
			return err
		}
		spec["image"] = p.imageSpec()
		spec["online"] = true
		if hints != nil {
			spec["rootDeviceHints"] = hints
		}
		if err := c.change(ctx, h, canProvision, map[string]any{"spec": spec}); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "%s: provisioning asked for\n", h.name())
	}
	return a.wait(ctx, c, hosts, p.waiting, "provision", func(h host) bool {
		return h.state() == metal3.StateProvisioned && h.bmh.Status.Provisioning.Image.URL == p.image && h.bmh.Status.PoweredOn
	})
}

// canProvision refuses what would destroy, or have no effect.
func canProvision(h host) error {
	if err := managed(h); err != nil {
		return err
	}
	if by := h.consumer(); by != "" {
		return fmt.Errorf("%s is held by %s: what is to be on it is decided there", h.name(), by)
	}
	if h.bmh.Spec.ExternallyProvisioned {
		return fmt.Errorf("%s is provisioned by somebody else (spec.externallyProvisioned is true)", h.name())
	}
	if img := h.bmh.Spec.Image; img != nil {
		return fmt.Errorf("%s has the image %s already: first ingot deprovision %s", h.name(), img.URL, h.name())
	}
	if h.bmh.Spec.CustomDeploy != nil {
		return fmt.Errorf("%s has a custom deployment: first remove spec.customDeploy", h.name())
	}
	return nil
}

// checkImage finds what is wrong with the image's flags before anything is done.
func (p *provisioning) checkImage(local bool) error {
	if !local {
		u, err := url.Parse(p.image)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "oci") || u.Host == "" {
			return Usage("--image %s: give an http or https URL, or a local file", p.image)
		}
	} else if !exists(p.image) {
		return fmt.Errorf("there is no file %s; an image elsewhere is named by its URL, https://…", p.image)
	}
	if p.format != "" && p.format != "raw" && p.format != "qcow2" && p.format != "live-iso" {
		return Usage("--format %s: the formats are raw and qcow2", p.format)
	}
	switch p.checksumType {
	case "", "auto", "md5", "sha256", "sha512":
	default:
		return Usage("--checksum-type %s: the types are sha256, sha512, md5 and auto", p.checksumType)
	}
	if p.checksum == "" {
		if local || p.format == "live-iso" || strings.HasPrefix(p.image, "oci://") {
			return nil
		}
		return Usage("give the image's --checksum: its SHA-256 in hex (sha256sum FILE), or the URL of a file that lists it")
	}
	if strings.Contains(p.checksum, "://") {
		if p.checksumType == "" {
			p.checksumType = "auto"
		}
		return nil
	}
	if !regexp.MustCompile(`^[0-9a-fA-F]+$`).MatchString(p.checksum) {
		return Usage("--checksum %s is neither hex digits nor a URL", p.checksum)
	}
	byLength := map[int]string{32: "md5", 64: "sha256", 128: "sha512"}[len(p.checksum)]
	switch {
	case byLength == "":
		return Usage("--checksum has %d digits: a SHA-256 has 64, a SHA-512 has 128", len(p.checksum))
	case p.checksumType == "":
		p.checksumType = byLength
	case p.checksumType != "auto" && p.checksumType != byLength:
		return Usage("--checksum has %d digits, which is a %s and no %s", len(p.checksum), byLength, p.checksumType)
	}
	return nil
}

// uploadImage replaces the local file by the URL where it is now.
func (a *App) uploadImage(ctx context.Context, c *api, p *provisioning) error {
	if p.format == "" {
		var err error
		if p.format, err = imageFormat(p.image); err != nil {
			return err
		}
	}
	d, err := c.doors(ctx)
	if err != nil {
		return err
	}
	u, err := a.uploadFile(ctx, d, p.image)
	if err != nil {
		return err
	}
	if p.checksum != "" && p.checksumType == "sha256" && !strings.EqualFold(p.checksum, u.Digest) {
		return fmt.Errorf("%s has the SHA-256 %s, not the one that --checksum gives", p.image, u.Digest)
	}
	p.image = u.URL
	if p.checksum == "" {
		p.checksum, p.checksumType = u.Digest, "sha256"
	}
	return nil
}

func (p *provisioning) imageSpec() map[string]any {
	image := map[string]any{"url": p.image}
	for key, value := range map[string]string{"checksum": p.checksum, "checksumType": p.checksumType, "format": p.format} {
		if value != "" {
			image[key] = value
		}
	}
	return image
}

func hintKeys() []string {
	return []string{"deviceName", "hctl", "model", "vendor", "serialNumber", "minSizeGigabytes", "wwn", "wwnWithExtension", "wwnVendorExtension", "rotational"}
}

// parseHints reads KEY=VALUE pairs into a host's rootDeviceHints, all of them, so
// that no older hint stays beside the new ones.
func parseHints(pairs []string) (map[string]any, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	hints := map[string]any{}
	for _, key := range hintKeys() {
		hints[key] = nil
	}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if _, known := hints[key]; !known || !found || value == "" {
			return nil, Usage("--root-device-hint %s: write KEY=VALUE, where KEY is one of %s", pair, strings.Join(hintKeys(), ", "))
		}
		switch key {
		case "minSizeGigabytes":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return nil, Usage("--root-device-hint %s: write a whole number of gigabytes", pair)
			}
			hints[key] = n
		case "rotational":
			b, err := strconv.ParseBool(value)
			if err != nil {
				return nil, Usage("--root-device-hint %s: write true or false", pair)
			}
			hints[key] = b
		default:
			hints[key] = value
		}
	}
	return hints, nil
}
