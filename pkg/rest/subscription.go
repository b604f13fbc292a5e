package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
)

// redfishVendorMethods are Ironic's for Redfish: event subscriptions, and the virtual
// drive as it was emptied before there was vmedia.
func redfishVendorMethods() []vendorMethod {
	return []vendorMethod{
		{
			name: "create_subscription", method: http.MethodPost, do: createSubscription,
			description: "Creates a subscription on a node. Required argument: a dictionary of {'Destination': 'destination_url'}",
		},
		{
			name: "delete_subscription", method: http.MethodDelete, do: deleteSubscription,
			description: "Delete a subscription on a node. Required argument: a dictionary of {'id': 'subscription_bmc_id'}",
		},
		{
			name: "eject_vmedia", method: http.MethodPost, async: true, do: ejectMedia,
			description: "Eject a virtual media device. If no device is provided then all attached devices will be ejected. " +
				"Optional arguments: 'boot_device' - the boot device to eject, either 'cd', 'dvd', 'usb', or 'floppy'",
		},
		{name: "get_all_subscriptions", method: http.MethodGet, do: listSubscriptions, description: "Returns all subscriptions on the node."},
		{
			name: "get_subscription", method: http.MethodGet, do: showSubscription,
			description: "Get a subscription on the node. Required argument: a dictionary of {'id': 'subscription_bmc_id'}",
		},
	}
}

// maxHeaders bounds what a BMC is asked to send along.
const maxHeaders = 32

// wantedSubscription checks what a client asks for.
func wantedSubscription(args map[string]any) (bmc.Subscription, error) {
	want := bmc.Subscription{EventTypes: []string{"Alert"}}
	for name := range args {
		if !slices.Contains([]string{"Destination", "Context", "Protocol", "EventTypes", "HttpHeaders"}, name) {
			return want, badRequest("Unexpected arguments: %s", name)
		}
	}
	u, err := url.Parse(fmt.Sprint(args["Destination"]))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return want, badRequest("Destination %v is not a valid URI", args["Destination"])
	}
	want.Destination = u.String()
	if v, given := args["Context"]; given {
		if want.Context, given = v.(string); !given {
			return want, badRequest("Context %v is not a valid string", v)
		}
	}
	if v, given := args["Protocol"]; given && v != "Redfish" {
		return want, badRequest("Protocol %v is not supported: it has to be Redfish", v)
	}
	if v, given := args["EventTypes"]; given && v != nil {
		list, isList := v.([]any)
		want.EventTypes = nil
		for _, one := range list {
			word, isText := one.(string)
			isList = isList && isText
			want.EventTypes = append(want.EventTypes, word)
		}
		if !isList || len(list) > maxHeaders {
			return want, badRequest("EventTypes %v is not a valid value", v)
		}
	}
	want.Headers, err = eventHeaders(args["HttpHeaders"])
	return want, err
}

// eventHeaders reads a list of objects with one header each, or with several. Their values
// are secret, so they are in no answer.
func eventHeaders(v any) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	bad := badRequest("HttpHeaders is not a list of headers")
	list, is := v.([]any)
	if !is {
		return nil, bad
	}
	out := map[string]string{}
	for _, one := range list {
		pairs, is := one.(map[string]any)
		if !is {
			return nil, bad
		}
		for name, v := range pairs {
			value, is := v.(string)
			if !is || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || len(out) >= maxHeaders {
				return nil, bad
			}
			out[name] = value
		}
	}
	return out, nil
}

func createSubscription(c *call, n *node.Node, args map[string]any) (any, error) {
	want, err := wantedSubscription(args)
	if err != nil {
		return nil, err
	}
	var made bmc.Subscription
	err = changeMachine(c, n, "create_subscription", func(ctx context.Context, e bmc.Events) (err error) {
		made, err = e.Subscribe(ctx, want)
		return err
	})
	if err != nil {
		return nil, err
	}
	made.Destination, made.Context = want.Destination, want.Context // which some BMCs hide
	return subscriptionBody(made), nil
}

// subscriptionID is what Ironic's clients know a subscription by: its resource's Id,
// the last part of its URI.
func subscriptionID(s bmc.Subscription) string { return path.Base(strings.TrimRight(s.ID, "/")) }

func subscriptionBody(s bmc.Subscription) map[string]any {
	return map[string]any{
		"Id": subscriptionID(s), "Destination": s.Destination, "Context": s.Context, "Protocol": "Redfish",
		"EventTypes": append([]string{}, s.EventTypes...),
	}
}

// subscriptions of others than ingot itself.
func (c *call) subscriptions(ctx context.Context, n *node.Node, e bmc.Events) ([]bmc.Subscription, error) {
	all, err := e.Subscriptions(ctx)
	return slices.DeleteFunc(all, func(s bmc.Subscription) bool { return c.s.Machines.OwnSubscription(n, s) }), err
}

// errNoSubscription says that there is none of that id.
var errNoSubscription = errors.New("there is no such subscription")

// subscription finds the one of args.id.
func (c *call) subscription(ctx context.Context, n *node.Node, e bmc.Events, args map[string]any) (bmc.Subscription, error) {
	all, err := c.subscriptions(ctx, n, e)
	if err != nil {
		return bmc.Subscription{}, err
	}
	id := fmt.Sprint(args["id"])
	i := slices.IndexFunc(all, func(s bmc.Subscription) bool { return subscriptionID(s) == id })
	if i < 0 {
		return bmc.Subscription{}, errNoSubscription
	}
	return all[i], nil
}

func noSubscription(what string, n *node.Node, args map[string]any) error {
	return notFound("Redfish exception occurred. Error: Redfish %s failed for subscription %v on node %s. Error: %v", what, args["id"], n.UUID, errNoSubscription)
}

func deleteSubscription(c *call, n *node.Node, args map[string]any) (any, error) {
	if id, _ := args["id"].(string); id == "" {
		return nil, badRequest("id can't be None")
	}
	return nil, changeMachine(c, n, "delete_subscription", func(ctx context.Context, e bmc.Events) error {
		s, err := c.subscription(ctx, n, e, args)
		if errors.Is(err, errNoSubscription) {
			return noSubscription("delete_subscription", n, args)
		}
		if err != nil {
			return err
		}
		return e.Unsubscribe(ctx, s.ID)
	})
}

func listSubscriptions(c *call, n *node.Node, _ map[string]any) (any, error) {
	members := []map[string]string{}
	err := askMachine(c, n, "get_all_subscriptions", func(ctx context.Context, e bmc.Events) error {
		all, err := c.subscriptions(ctx, n, e)
		for _, s := range all {
			members = append(members, map[string]string{"@odata.id": s.ID})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"@odata.type": "#EventDestinationCollection.EventDestinationCollection", "Name": "Event Subscriptions Collection",
		"Members": members, "Members@odata.count": len(members),
	}, nil
}

func showSubscription(c *call, n *node.Node, args map[string]any) (any, error) {
	if id, _ := args["id"].(string); id == "" {
		return nil, badRequest("id can't be None")
	}
	var found bmc.Subscription
	err := askMachine(c, n, "get_subscription", func(ctx context.Context, e bmc.Events) (err error) {
		found, err = c.subscription(ctx, n, e, args)
		if errors.Is(err, errNoSubscription) {
			return noSubscription("get_subscription", n, args)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return subscriptionBody(found), nil
}

func ejectMedia(c *call, n *node.Node, args map[string]any) (any, error) {
	if d := args["boot_device"]; d != nil && !slices.Contains([]any{"cd", "dvd", "usb", "floppy"}, asText(d)) {
		return nil, badRequest("Boot device %v is not a valid value", d)
	}
	if err := drivable(n); err != nil {
		return nil, err
	}
	return nil, beginChange(c, n, "eject_vmedia", "Failed to eject virtual media: ", func(ctx context.Context, m bmc.Media) error {
		if d := args["boot_device"]; d == "usb" || d == "floppy" {
			return nil // nothing is ever put into others than CD drives
		}
		return m.EjectMedia(ctx, "")
	}, nil)
}
