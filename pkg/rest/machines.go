package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/node"
)

// Machines reaches the machines of nodes, beside their life cycle. What it does not
// do now is a *Refusal; what a BMC says is an error of package bmc.
type Machines interface {
	// Read lends the way to a node's BMC to somebody who changes nothing.
	Read(ctx context.Context, n *node.Node, do func(context.Context, bmc.Conn) error) error
	// Change lends it for one change. Nothing else is done to the machine meanwhile.
	Change(ctx context.Context, n *node.Node, do func(context.Context, bmc.Conn) error) error
	// Begin is Change for what may take longer than a client waits: it goes on after
	// it returned nil, which it does a little later, or when the change is over. ended
	// is told what came of it.
	Begin(ctx context.Context, n *node.Node, do func(context.Context, bmc.Conn) error, ended func(context.Context, error)) error

	// OwnSubscription reports whether an event subscription at a node's BMC is the
	// service's own, which is nobody's to see.
	OwnSubscription(n *node.Node, s bmc.Subscription) bool
	// Console is where the machine's console is watched; empty: nowhere.
	Console(n *node.Node) string

	// Settings of the firmware as they were read last, and what they may be; nil: none.
	Settings(ctx context.Context, n *node.Node) (*metal3.HostFirmwareSettings, map[string]metal3.SettingSchema, error)
	// Components with firmware as they were read last; nil: none.
	Components(ctx context.Context, n *node.Node) (*metal3.HostFirmwareComponents, error)
	// Inventory that was taken last; nil: none.
	Inventory(ctx context.Context, n *node.Node) (*agent.Inventory, error)
}

// Refusal is why nothing is asked of a machine now, as the client is told.
type Refusal struct {
	Status int
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

// Locked is the refusal of a node that an operation runs on, in Ironic's words.
func Locked(n *ironic.Node) *Refusal {
	holder := "ingot"
	if n.Reservation != nil {
		holder = *n.Reservation
	} else if n.Conductor != nil {
		holder = *n.Conductor
	}
	return &Refusal{Status: http.StatusConflict, Text: fmt.Sprintf(
		"Node %s is locked by host %s, please retry after the current operation is completed.", n.UUID, holder)}
}

// machineRoutes are the endpoints about a machine itself.
func (s *Server) machineRoutes() []route {
	return slices.Concat(
		managementRoutes(), bootModeRoutes(), mediaRoutes(), consoleRoutes(),
		biosRoutes(), firmwareRoutes(), raidRoutes(), inventoryRoutes(), vendorRoutes(),
	)
}

// fakeHardware is the driver without a machine: it is answered here as Ironic's fake
// interfaces do.
const fakeHardware = "fake-hardware"

// ofMachine makes a handler of one that is about a node's machine.
func ofMachine(do func(*call, *node.Node) (*reply, error)) func(*call) (*reply, error) {
	return func(c *call) (*reply, error) {
		n, err := c.node()
		if err != nil {
			return nil, err
		}
		return do(c, n)
	}
}

// unsupported is Ironic's UnsupportedDriverExtension.
func unsupported(n *node.Node, extension string) error {
	return badRequest("Driver %s does not support %s (disabled or not implemented).", n.Driver, extension)
}

// lacks reports whether a driver is known not to do something, whatever the machine:
// the BMC need not be asked, which may take its time.
func lacks(n *node.Node, extension string) bool {
	return n.Driver == "ipmi" && slices.Contains([]string{"get_virtual_media", "attach_virtual_media", "detach_virtual_media", "set_secure_boot_state"}, extension)
}

// machineFault is what a client is told of an error of Machines or a BMC. extension
// is the method that Ironic's drivers have for what was asked.
func machineFault(n *node.Node, extension string, err error) error {
	var f *fault
	var r *Refusal
	var b *bmc.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.As(err, &r):
		return refuse(r.Status, "%s", r.Text)
	case errors.As(err, &b):
		switch b.Class {
		case bmc.Unsupported:
			return badRequest("%s %s", unsupported(n, extension), b.Error())
		case bmc.BadRequest:
			return badRequest("%s: %s", n.UUID, b.Error())
		case bmc.Busy:
			return refuse(http.StatusServiceUnavailable, "The BMC of node %s is busy, please retry: %s", n.UUID, b.Error())
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(http.StatusServiceUnavailable, "The BMC of node %s did not answer in time, please retry.", n.UUID)
	}
	return refuse(http.StatusInternalServerError, "The BMC of node %s: %v", n.UUID, err)
}

// askMachine asks a node's BMC something by the capability I.
func askMachine[I any](c *call, n *node.Node, extension string, do func(context.Context, I) error) error {
	return withMachine(n, extension, do, func(do func(context.Context, bmc.Conn) error) error {
		return c.s.Machines.Read(c.Context(), n, do)
	}, c.s.Machines)
}

// changeMachine has a node's BMC change something by the capability I.
func changeMachine[I any](c *call, n *node.Node, extension string, do func(context.Context, I) error) error {
	return withMachine(n, extension, do, func(do func(context.Context, bmc.Conn) error) error {
		return c.s.Machines.Change(c.Context(), n, do)
	}, c.s.Machines)
}

func withMachine[I any](n *node.Node, extension string, do func(context.Context, I) error, by func(func(context.Context, bmc.Conn) error) error, m Machines) error {
	if m == nil || lacks(n, extension) {
		return unsupported(n, extension)
	}
	return machineFault(n, extension, by(capable(n, extension, do)))
}

// capable asserts the capability that do works by.
func capable[I any](n *node.Node, extension string, do func(context.Context, I) error) func(context.Context, bmc.Conn) error {
	return func(ctx context.Context, conn bmc.Conn) error {
		with, ok := conn.(I)
		if !ok {
			return unsupported(n, extension)
		}
		return do(ctx, with)
	}
}

// beginChange is changeMachine for what Ironic does after it has answered: what goes
// wrong is the node's last_error, which begins with what was tried. done, which may be
// nil, says in the node's document what is so from then on.
func beginChange[I any](c *call, n *node.Node, extension, failed string, do func(context.Context, I) error, done func(*ironic.Node)) error {
	ended := func(ctx context.Context, err error) {
		text := ""
		if err != nil {
			text = failed + machineFault(n, extension, err).Error()
			c.s.Log.Warn("what the REST door was asked for failed", "node", n.UUID, "op", extension, "err", text)
		}
		err = c.s.note(ctx, n.UUID, func(d *ironic.Node) {
			d.LastError = orNull(text)
			if text == "" && done != nil {
				done(d)
			}
		})
		if err != nil {
			c.s.Log.Warn("what came of it is not shown", "node", n.UUID, "op", extension, "err", err)
		}
	}
	if n.Driver == fakeHardware || c.s.Machines == nil || lacks(n, extension) {
		ended(c.Context(), unsupported(n, extension))
		return nil
	}
	return machineFault(n, extension, c.s.Machines.Begin(c.Context(), n, capable(n, extension, do), ended))
}

// notePause is the wait for a node that somebody else wrote meanwhile to be seen.
const notePause = 200 * time.Millisecond

// note changes a node's document on behalf of nobody who could be told of a
// conflict.
func (s *Server) note(ctx context.Context, id string, change func(*ironic.Node)) error {
	for {
		n, found := s.Nodes.Get(id)
		if !found {
			return node.ErrNotFound
		}
		to := n.Clone()
		change(&to)
		if reflect.DeepEqual(to, n.Clone()) {
			return nil
		}
		_, err := s.Nodes.Update(ctx, n, to)
		if !errors.Is(err, node.ErrChanged) {
			return err
		}
		select {
		case <-time.After(notePause):
		case <-ctx.Done():
			return err
		}
	}
}

// unlocked refuses what waits for an operation that runs on the node.
func unlocked(n *node.Node) error {
	if n.Reservation == nil {
		return nil
	}
	return locked(&n.Node)
}

func locked(n *ironic.Node) error {
	r := Locked(n)
	return refuse(r.Status, "%s", r.Text)
}

// lockWait is how long a request waits for a node that something short is done to:
// node_locked_retry_attempts times node_locked_retry_interval of Ironic.
const (
	lockWait = 3 * time.Second
	lockLook = 20 * time.Millisecond
)

// free is the node once nothing is done to it, or as it is where that takes longer or
// nothing can be asked of it meanwhile. A second ask would take the place of a first
// one that nobody has taken up.
func (c *call) free() (*node.Node, error) {
	for end := time.Now().Add(lockWait); ; {
		n, err := c.node()
		if err != nil || n.Reservation == nil || time.Now().After(end) {
			return n, err
		}
		if row, _ := node.RowOf(stateOf(&n.Node)); len(row.Verbs) == 0 {
			return n, nil
		}
		select {
		case <-time.After(lockLook):
		case <-c.Context().Done():
			return n, nil
		}
	}
}

// machineArguments reads a body that is an object with these members: those that have to be
// there, and others that may.
func (c *call) machineArguments(must []string, may ...string) (map[string]any, error) {
	args, err := c.bodyObject()
	if err != nil {
		return nil, err
	}
	var unknown []string
	for name := range args {
		if !slices.Contains(must, name) && !slices.Contains(may, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, badRequest("Unexpected arguments: %s", strings.Join(unknown, ", "))
	}
	for _, name := range must {
		if _, ok := args[name]; !ok {
			return nil, badRequest("Missing mandatory parameter: %s", name)
		}
	}
	return args, nil
}

// bodyObject reads a body that is a JSON object; one that is not there is empty.
func (c *call) bodyObject() (map[string]any, error) {
	text, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, err
	}
	args := map[string]any{}
	if len(bytes.TrimSpace(text)) == 0 {
		return args, nil
	}
	c.Body = io.NopCloser(bytes.NewReader(text))
	var raw json.RawMessage
	if err := c.read(&raw); err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, &args) != nil || args == nil {
		return nil, badRequest("The request body has to be a JSON object.")
	}
	return args, nil
}

// textArg is an argument that is a text.
func textArg(args map[string]any, name string) (string, error) {
	s, ok := args[name].(string)
	if !ok {
		return "", badRequest("Expected string for %s: %v", name, args[name])
	}
	return s, nil
}

// truthSpellings are the spellings of a boolean that Ironic takes (oslo_utils.strutils).
func truthSpellings() map[string]bool {
	return map[string]bool{
		"0": false, "f": false, "false": false, "n": false, "no": false, "off": false,
		"1": true, "on": true, "t": true, "true": true, "y": true, "yes": true,
	}
}

// truthArg is an argument that is true or false; one that is null or missing is false.
func truthArg(args map[string]any, name string) (bool, error) {
	switch v := args[name].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	default:
		known := truthSpellings()
		b, ok := known[strings.ToLower(strings.TrimSpace(fmt.Sprint(v)))]
		if !ok {
			return false, badRequest("Invalid %s: Unrecognized value '%v', acceptable values are: '%s'", name, v, strings.Join(slices.Sorted(maps.Keys(known)), "', '")) //nolint:misspell // Ironic's own text
		}
		return b, nil
	}
}

// changing are the states in which something is under way (UNSTABLE_STATES of
// ironic/common/states.py).
func changing(st *ironic.State) bool {
	return st != nil && slices.Contains([]ironic.State{
		ironic.Deploying, ironic.DeployWait, ironic.Cleaning, ironic.CleanWait, ironic.Verifying, ironic.Deleting,
		ironic.Inspecting, ironic.InspectWait, ironic.Adopting, ironic.Rescuing, ironic.RescueWait, ironic.Unrescuing,
		ironic.Servicing, ironic.ServiceWait,
	}, *st)
}
