package rest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
)

func mediaRoutes() []route {
	const path = "/nodes/{node}/vmedia"
	return []route{
		{method: http.MethodGet, path: path, since: 93, action: "baremetal:node:vmedia:get", do: atOwner(showMedia)},
		{method: http.MethodPost, path: path, since: 89, action: "baremetal:node:vmedia:attach", do: atOwner(attachMedia)},
		{method: http.MethodDelete, path: path, since: 89, action: "baremetal:node:vmedia:detach", do: atOwner(detachMedia)},
	}
}

// drive is a virtual drive as Ironic lists it.
type drive struct {
	Image      *string  `json:"image"`
	Inserted   bool     `json:"inserted"`
	MediaTypes []string `json:"media_types"`
}

func showMedia(c *call, n *node.Node) (*reply, error) {
	if n.Driver == fakeHardware {
		return nil, unsupported(n, "get_virtual_media")
	}
	list := []drive{}
	err := askMachine(c, n, "get_virtual_media", func(ctx context.Context, m bmc.Media) error {
		slots, err := m.Slots(ctx)
		for _, s := range slots {
			d := drive{Inserted: s.Inserted, MediaTypes: append([]string{}, s.Types...)}
			switch {
			case s.Image == "":
			case s.Inserted && ownRamdisk(n):
				image := ironic.Masked // the path of our ISO is all that proves who may have it
				d.Image = &image
			default:
				d.Image = &s.Image
			}
			list = append(list, d)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ok(list)
}

// ownRamdisk reports whether what is in the drive is ingot's, for a boot.
func ownRamdisk(n *node.Node) bool {
	return n.Record != nil && n.Record.Status.Media != nil && n.Record.Status.Media.Use == "ramdisk"
}

// drivable refuses what would take away what ingot put into the drive.
func drivable(n *node.Node) error {
	if n.Record == nil || n.Record.Status.Media == nil {
		return nil
	}
	return conflict("The virtual drive of node %s is in use by ingot (%s): please retry when it was taken out.", n.UUID, n.Record.Status.Media.Use)
}

func attachMedia(c *call, n *node.Node) (*reply, error) {
	args, err := c.machineArguments([]string{"device_type", "image_url"}, "image_download_source")
	if err != nil {
		return nil, err
	}
	device, err := deviceType(args["device_type"])
	if err != nil {
		return nil, err
	}
	if source, given := args["image_download_source"]; given && !slices.Contains([]any{"http", "local", "swift"}, asText(source)) {
		return nil, badRequest("Schema error for vmedia: %v is not one of ['http', 'local', 'swift']", source)
	}
	image, err := textArg(args, "image_url")
	if err != nil {
		return nil, err
	}
	r, err := mediaRequest(image)
	if err != nil {
		return nil, err
	}
	if err := drivable(n); err != nil {
		return nil, err
	}
	return nil, beginChange(c, n, "attach_virtual_media", "Failed to attach a virtual media device: ", func(ctx context.Context, m bmc.Media) error {
		if device != "cdrom" {
			return &bmc.Error{Class: bmc.Unsupported, Op: "insert virtual media", Detail: "ingot uses virtual CD drives alone, no " + device}
		}
		_, err := m.InsertMedia(ctx, r)
		return err
	}, nil)
}

// detachMedia empties the drives. ?device_types= names which.
func detachMedia(c *call, n *node.Node) (*reply, error) {
	q := c.URL.Query()
	var devices []string
	for _, list := range q["device_types"] {
		for _, d := range strings.Split(list, ",") {
			if _, err := deviceType(d); err != nil {
				return nil, err
			}
			devices = append(devices, d)
		}
	}
	if err := drivable(n); err != nil {
		return nil, err
	}
	return nil, beginChange(c, n, "detach_virtual_media", "Failed to detach virtual media: ", func(ctx context.Context, m bmc.Media) error {
		if len(devices) > 0 && !slices.Contains(devices, "cdrom") {
			return nil // nothing is ever put into others
		}
		return m.EjectMedia(ctx, "")
	}, nil)
}

func deviceType(v any) (string, error) {
	if s, ok := v.(string); ok && slices.Contains([]string{"cdrom", "disk", "floppy"}, s) {
		return s, nil
	}
	return "", badRequest("Invalid device type %v: it has to be one of cdrom, disk, floppy.", v)
}

// mediaRequest takes the credentials out of an image's URL: they go beside it. The
// BMC fetches it, not we.
func mediaRequest(image string) (bmc.MediaRequest, error) {
	u, err := url.Parse(image)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || len(image) > 4096 {
		return bmc.MediaRequest{}, badRequest("Invalid image_url: it has to be a URL with the scheme http or https, of at most 4096 bytes.")
	}
	var r bmc.MediaRequest
	if u.User != nil {
		r.Username = u.User.Username()
		r.Password, _ = u.User.Password()
		u.User = nil
	}
	r.URL = u.String()
	return r, nil
}
