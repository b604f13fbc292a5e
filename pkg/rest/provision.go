package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/ingot-metal/ingot/api/ironic"
	"github.com/ingot-metal/ingot/pkg/node"
)

// verbSince says which version brought a verb; those that are not named were always
// there.
var verbSince = map[ironic.Verb]ironic.Version{
	ironic.VerbManage: 4, ironic.VerbProvide: 4, ironic.VerbInspect: 6, ironic.VerbAbort: 13, ironic.VerbClean: 15, ironic.VerbAdopt: 17,
	ironic.VerbRescue: 38, ironic.VerbUnrescue: 38, "deploy": 73, "undeploy": 73, ironic.VerbUnhold: 85, ironic.VerbService: 87,
}

// verbAliases are second spellings (1.73).
var verbAliases = map[ironic.Verb]ironic.Verb{"deploy": ironic.VerbActive, "undeploy": ironic.VerbDeleted}

// abortSince says from which states an abort came later than the verb.
var abortSince = map[ironic.State]ironic.Version{ironic.InspectWait: 41, ironic.DeployWait: 110}

// provisioning is the body of PUT states/provision.
type provisioning struct {
	Target         ironic.Verb
	ConfigDrive    json.RawMessage
	Steps          map[string]json.RawMessage // clean_steps, deploy_steps, service_steps
	RescuePassword *string
	DisableRamdisk *bool
	Runbook        string
}

// stepLists are the arguments that carry steps, with the verbs that take them.
var stepLists = []struct {
	name  string
	since ironic.Version
	verbs []ironic.Verb
	says  string // of the wrong verb
}{
	{"clean_steps", 0, []ironic.Verb{ironic.VerbClean}, `"clean_steps" is only valid when setting target provision state to clean`},
	{"deploy_steps", 69, []ironic.Verb{ironic.VerbActive, ironic.VerbRebuild}, `"deploy_steps" is only valid when setting target provision state to active or rebuild`},
	{"service_steps", 87, []ironic.Verb{ironic.VerbService}, `"service_steps" is only valid when setting target provision state to service`},
}

func setProvision(c *call) (*reply, error) {
	p, err := c.readProvisioning()
	if err != nil {
		return nil, err
	}
	n, err := c.free()
	if err != nil {
		return nil, err
	}
	asked, err := p.check(&n.Node, c.version)
	if err != nil {
		return nil, err
	}
	for _, steps := range []string{"clean_steps", "service_steps"} {
		if p.Steps[steps] == nil {
			continue
		}
		if err := c.may("baremetal:node:set_provision_state:"+steps, n); err != nil {
			return nil, err
		}
	}
	if p.Runbook != "" {
		book, err := c.runbook(n, p.Runbook)
		if err != nil {
			return nil, err
		}
		asked.Steps = book.Steps
		asked.DisableRamdisk = asked.DisableRamdisk || book.DisableRamdisk
	}
	if asked.Verb == ironic.VerbActive || asked.Verb == ironic.VerbRebuild {
		more, err := c.templateSteps(n)
		if err != nil {
			return nil, err
		}
		asked.Steps = append(asked.Steps, more...)
	}
	if _, err := c.s.Nodes.Ask(c.Context(), n, asked); err != nil {
		return nil, err
	}
	if asked.Verb == ironic.VerbDeleted {
		c.endAllocation(n)
	}
	return &reply{status: http.StatusAccepted, location: "/nodes/" + c.PathValue("node") + "/states"}, nil
}

// endAllocation removes the allocation of a node that is not used any more. What fails
// is done by FinishInterrupted later.
func (c *call) endAllocation(n *node.Node) {
	if n.AllocationUUID == nil {
		return
	}
	o, found := c.s.Nodes.Object(node.KindAllocation, *n.AllocationUUID)
	if !found {
		return
	}
	if err := c.s.Nodes.DeleteObject(c.Context(), o); err != nil {
		c.s.Log.Warn("an allocation outlives its node's use for a while", "node", n.UUID, "allocation", o.UUID, "err", err)
	}
}

// readProvisioning reads the body: only its types are looked at.
func (c *call) readProvisioning() (provisioning, error) {
	var p provisioning
	args, err := c.arguments("target", "configdrive", "clean_steps", "deploy_steps", "service_steps", "rescue_password", "disable_ramdisk", "runbook")
	if err != nil {
		return p, err
	}
	if args["target"] == nil {
		return p, badRequest("Missing mandatory parameter: target")
	}
	target, err := textArgument(args, "target")
	if err != nil {
		return p, err
	}
	p.Target = ironic.Verb(target)
	if p.Runbook, err = textArgument(args, "runbook"); err != nil {
		return p, err
	}
	if args["rescue_password"] != nil {
		var password string
		if json.Unmarshal(args["rescue_password"], &password) != nil {
			return p, badRequest("Expected string for rescue_password") // which is not repeated
		}
		p.RescuePassword = &password
	}
	if text := args["disable_ramdisk"]; text != nil {
		var v any
		if err := decode(text, &v); err != nil {
			return p, err
		}
		if isBool(v) != nil {
			return p, notBool("disable_ramdisk", string(bytes.Trim(text, `"`)))
		}
		b := toBool(v).(bool)
		p.DisableRamdisk = &b
	}
	if text := args["configdrive"]; text != nil && text[0] != '{' && text[0] != '"' {
		return p, badRequest("Expected an object or a string for configdrive: %s", clip(text))
	} else if string(text) != `""` && string(text) != "{}" {
		p.ConfigDrive = text
	}
	p.Steps = map[string]json.RawMessage{}
	for _, l := range stepLists {
		text := args[l.name]
		switch {
		case text == nil:
		case text[0] != '[':
			return p, badRequest("Expected a list for %s: %s", l.name, clip(text))
		case string(text) != "[]":
			p.Steps[l.name] = text
		}
	}
	return p, nil
}

// check applies Ironic's rules in Ironic's order (NodeStatesController.provision): what
// the version has, then what the state allows, then what the verb takes.
func (p provisioning) check(n *ironic.Node, v ironic.Version) (node.Asked, error) {
	asked := node.Asked{}
	if verbSince[p.Target] > v {
		return asked, notAcceptable("")
	}
	verb := p.Target
	if first, ok := verbAliases[verb]; ok {
		verb = first
	}
	if n.Maintenance && (verb == ironic.VerbActive || verb == ironic.VerbRebuild) {
		return asked, badRequest("The provisioning operation can't be performed on node %s because it's in maintenance mode.", n.UUID)
	}
	if !node.Allowed(stateOf(n), verb) {
		return asked, notNow(n, string(p.Target), string(stateOf(n)))
	}
	if err := p.checkArguments(verb, v); err != nil {
		return asked, err
	}
	if verb == ironic.VerbAbort && v < abortSince[stateOf(n)] {
		return asked, notAcceptable("")
	}
	steps, err := p.steps(verb)
	if err != nil {
		return asked, err
	}
	if n.Reservation != nil {
		return asked, locked(n)
	}
	if err := p.checkNode(verb, n); err != nil {
		return asked, err
	}
	asked.Verb, asked.Steps, asked.ConfigDrive = verb, steps, p.ConfigDrive
	asked.DisableRamdisk = p.DisableRamdisk != nil && *p.DisableRamdisk
	return asked, nil
}

// notNow is the answer to an action that the state does not allow: clients try again
// where an operation is under way.
func notNow(n *ironic.Node, action, state string) error {
	if n.Reservation != nil {
		return locked(n)
	}
	return badRequest("The requested action \"%s\" can not be performed on node \"%s\" while it is in state \"%s\".", clip([]byte(action)), n.UUID, state)
}

// checkArguments checks what goes with the verb.
func (p provisioning) checkArguments(verb ironic.Verb, v ironic.Version) error {
	if err := p.checkConfigDrive(verb, v); err != nil {
		return err
	}
	if p.DisableRamdisk != nil {
		switch {
		case v < 70:
			return refuse(http.StatusNotAcceptable, "disable_ramdisk is not acceptable in this API version")
		case verb == ironic.VerbClean, verb == ironic.VerbService && v >= 108:
		default:
			return badRequest("disable_ramdisk is supported only with manual cleaning and service")
		}
	}
	for _, l := range stepLists {
		if p.Steps[l.name] == nil {
			continue
		}
		if v < l.since {
			return sinceVersion(l.since)
		}
		if !slices.Contains(l.verbs, verb) {
			return badRequest("%s", l.says)
		}
		if p.Runbook != "" {
			return badRequest("Please provide either \"%s\" or a runbook, but not both.", l.name)
		}
	}
	if p.RescuePassword != nil && verb != ironic.VerbRescue {
		return badRequest("\"rescue_password\" is only valid when setting target provision state to rescue")
	}
	if p.Runbook != "" {
		switch {
		case v < 92:
			return sinceVersion(92)
		case verb != ironic.VerbClean && verb != ironic.VerbService:
			return badRequest("A runbook is only valid when setting target provision state to clean or service")
		}
	}
	return nil
}

// checkConfigDrive: an object to make a drive from (1.56), a whole drive in base64, or
// a URL of one.
func (p provisioning) checkConfigDrive(verb ironic.Verb, v ironic.Version) error {
	if p.ConfigDrive == nil {
		return nil
	}
	targets := []string{"active"}
	if v >= 35 {
		targets = append(targets, "rebuild")
	}
	if !slices.Contains(targets, string(verb)) {
		return badRequest("Adding a config drive is only supported when setting provision state to %s", strings.Join(targets, ", "))
	}
	if p.ConfigDrive[0] == '"' {
		// The drive may be large: the base64 in its JSON string needs no decoding.
		text := p.ConfigDrive[1 : len(p.ConfigDrive)-1]
		if strings.Contains(string(text[:min(len(text), 16)]), "://") || strings.Contains(string(text[:min(len(text), 16)]), `:\/\/`) {
			return nil
		}
		for i := 0; i < len(text); i++ {
			if !base64Text(text[i]) {
				return badRequest("Invalid configdrive format: it is neither a JSON, nor a URL, nor a base64 string")
			}
		}
		return nil
	}
	if v < 56 {
		return badRequest("Providing a JSON object for configdrive is only supported starting with API version 1.56")
	}
	var parts map[string]json.RawMessage
	if err := decode(p.ConfigDrive, &parts); err != nil {
		return err
	}
	for name, value := range parts {
		switch name {
		case "vendor_data":
			if v < 59 {
				return badRequest("Providing vendor_data in configdrive is only supported starting with API version 1.59")
			}
			fallthrough
		case "meta_data", "network_data":
			if value[0] != '{' {
				return badRequest("Invalid configdrive format: %s is not of type 'object'", name)
			}
		case "user_data":
			if !strings.ContainsRune(`{["n`, rune(value[0])) {
				return badRequest("Invalid configdrive format: user_data is not of type 'object', 'array', 'string', 'null'")
			}
		default:
			return badRequest("Invalid configdrive format: Additional properties are not allowed ('%s' was unexpected)", clip([]byte(name)))
		}
	}
	return nil
}

// base64Text takes the letters of base64, white space, and JSON's escapes of it.
func base64Text(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("+/=\n\r\t \\", b) >= 0
}

// checkNode applies the rules of Ironic's conductor to the node.
func (p provisioning) checkNode(verb ironic.Verb, n *ironic.Node) error {
	switch verb {
	case ironic.VerbActive, ironic.VerbRebuild:
		if verb == ironic.VerbRebuild && n.Protected {
			return isProtected(n)
		}
		for _, kind := range []string{"power", "deploy"} {
			if reason := unfit(n, kind); reason != "" {
				return badRequest("Failed to validate deploy or power info for node %s: %s", n.UUID, reason)
			}
		}
	case ironic.VerbDeleted:
		if n.Protected {
			return isProtected(n)
		}
	case ironic.VerbProvide:
		if n.Retired {
			return badRequest("The providing operation can't be performed on node %s because it is retired.", n.UUID)
		}
	case ironic.VerbClean, ironic.VerbService:
		what := map[ironic.Verb]string{ironic.VerbClean: "cleaning", ironic.VerbService: "servicing"}[verb]
		if n.Maintenance && verb == ironic.VerbClean {
			return badRequest("The cleaning operation can't be performed on node %s because it's in maintenance mode.", n.UUID)
		}
		if reason := unfit(n, "power"); reason != "" {
			return badRequest("Validation of node %s for %s failed: %s", n.UUID, what, reason)
		}
	case ironic.VerbInspect:
		for _, kind := range []string{"power", "inspect"} {
			if reason := unfit(n, kind); reason != "" {
				return badRequest("Failed to validate inspection or power info. Error: %s", reason)
			}
		}
	case ironic.VerbRescue:
		if p.RescuePassword == nil || strings.TrimSpace(*p.RescuePassword) == "" {
			return badRequest("A non-empty \"rescue_password\" is required when setting target provision state to rescue")
		}
		if n.Maintenance {
			return badRequest("The rescuing operation can't be performed on node %s because it's in maintenance mode.", n.UUID)
		}
		if reason := unfit(n, "rescue"); reason != "" {
			return badRequest("Validation of node %s for rescue failed: %s", n.UUID, reason)
		}
	}
	return nil
}

func isProtected(n *ironic.Node) error {
	return refuse(http.StatusForbidden, "Node %s is protected and cannot be undeployed, rebuilt or deleted", n.UUID)
}

// reservedSteps are done by Ironic's conductor: they need no interface.
var reservedSteps = []string{"hold", "wait", "power_on", "power_off", "reboot"}

// stepInterfaces are those whose steps can be asked for.
var stepInterfaces = []string{"power", "management", "deploy", "bios", "raid", "firmware", "vendor"}

// steps reads the steps that go with a verb. Cleaning and service have nothing to do
// without.
func (p provisioning) steps(verb ironic.Verb) ([]ironic.Step, error) {
	for _, l := range stepLists {
		if !slices.Contains(l.verbs, verb) {
			continue
		}
		if text := p.Steps[l.name]; text != nil {
			return readSteps(l.name, text)
		}
		if p.Runbook == "" && l.name != "deploy_steps" {
			return nil, badRequest("\"%s\" is required when setting target provision state to %s", l.name, verb)
		}
	}
	return nil, nil
}

// maxSteps bounds a list of steps.
const maxSteps = 256

func readSteps(list string, text []byte) ([]ironic.Step, error) {
	var raw []map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, badRequest("Invalid %s: each of them is an object", list)
	}
	if len(raw) > maxSteps {
		return nil, badRequest("Invalid %s: at most %d steps", list, maxSteps)
	}
	steps := make([]ironic.Step, 0, len(raw))
	for _, members := range raw {
		step, err := readStep(list, members)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func readStep(list string, members map[string]json.RawMessage) (ironic.Step, error) {
	var s ironic.Step
	invalid := func(format string, args ...any) error {
		return badRequest("Invalid "+list+": "+format, args...)
	}
	for name, value := range members {
		var into any
		switch name {
		case "interface":
			into = &s.Interface
		case "step":
			into = &s.Step
		case "args":
			into = &s.Args
		case "priority":
			if list != "deploy_steps" {
				return s, invalid("Additional properties are not allowed ('priority' was unexpected)")
			}
			value = []byte(strings.Trim(string(value), `"`)) // Ironic takes digits in a string
			into = &s.Priority
		case "execute_on_child_nodes", "limit_child_node_execution":
			if list == "deploy_steps" || string(value) != "false" && string(value) != "null" && string(value) != "[]" {
				return s, invalid("'%s' is not supported here: a node's steps are its own", name)
			}
			continue
		default:
			return s, invalid("Additional properties are not allowed ('%s' was unexpected)", clip([]byte(name)))
		}
		if json.Unmarshal(value, into) != nil {
			return s, invalid("'%s' is not of the right type: %s", name, clip(value))
		}
	}
	interfaces := stepInterfaces
	if list == "service_steps" {
		interfaces = append(slices.Clone(interfaces), "network")
	}
	switch {
	case s.Step == "":
		return s, invalid("'step' is a required property")
	case s.Interface == "" && slices.Contains(reservedSteps, s.Step):
	case s.Interface == "":
		return s, invalid("'interface' is a required property")
	case !slices.Contains(interfaces, s.Interface):
		return s, invalid("'%s' is not one of ['%s']", clip([]byte(s.Interface)), strings.Join(interfaces, "', '"))
	}
	if list == "deploy_steps" {
		switch {
		case members["args"] == nil:
			return s, invalid("'args' is a required property")
		case s.Priority == nil:
			return s, invalid("'priority' is a required property")
		case *s.Priority < 0:
			return s, invalid("%d is less than the minimum of 0", *s.Priority)
		}
	}
	return s, nil
}

// runbook is what a verb takes of one.
type runbook struct {
	Steps          []ironic.Step `json:"steps"`
	Traits         []string      `json:"traits"`
	DisableRamdisk bool          `json:"disable_ramdisk"`
}

// runbook reads one that was approved for the node: by a trait of its name, or since
// 1.112 by one of the runbook's traits. Its steps are in their order.
func (c *call) runbook(n *node.Node, ident string) (runbook, error) {
	var book runbook
	o, found := c.s.Nodes.Object(node.KindRunbook, ident)
	if !found {
		return book, notFound("Runbook %s could not be found.", clip([]byte(ident)))
	}
	if err := c.mayObject("baremetal:runbook:use", o); err != nil {
		return book, err
	}
	if err := json.Unmarshal(o.Body, &book); err != nil {
		return book, err
	}
	approved := slices.Contains(n.Traits, o.Name)
	for _, t := range book.Traits {
		approved = approved || slices.Contains(n.Traits, t)
	}
	if !approved {
		return book, badRequest("This runbook has not been approved for use on this node %s. Please ask an administrator to add it to the node's traits.", n.UUID)
	}
	slices.SortStableFunc(book.Steps, func(a, b ironic.Step) int { return stepOrder(a) - stepOrder(b) })
	return book, nil
}

// templateSteps are the steps of the deploy templates that the instance's traits name.
func (c *call) templateSteps(n *node.Node) ([]ironic.Step, error) {
	traits, _ := n.InstanceInfo["traits"].([]any)
	var all []ironic.Step
	for _, t := range traits {
		name, _ := t.(string)
		o, found := c.s.Nodes.Object(node.KindDeployTemplate, name)
		if !found || o.Name != name {
			continue
		}
		var body struct {
			Steps []ironic.Step `json:"steps"`
		}
		if err := json.Unmarshal(o.Body, &body); err != nil {
			return nil, err
		}
		all = append(all, body.Steps...)
	}
	return all, nil
}

func stepOrder(s ironic.Step) int {
	if s.Order == nil {
		return 0
	}
	return *s.Order
}
