package rest

// What may be done by whom is decided here and nowhere else. The names and the rules
// are Ironic's (ironic/common/policy.py: system, owner and lessee with the roles
// admin, manager, member, reader and service); what has no row is nobody's.

// target is whose a resource is: the project that owns it, and the one that leases it.
type target struct{ owner, lessee string }

// rule says whether a caller may do something to what is a target's.
type rule func(c *Caller, t target) bool

func role(name string) rule { return func(c *Caller, _ target) bool { return c.has(name) } }

func both(a, b rule) rule { return func(c *Caller, t target) bool { return a(c, t) && b(c, t) } }

func either(rules ...rule) rule {
	return func(c *Caller, t target) bool {
		for _, r := range rules {
			if r(c, t) {
				return true
			}
		}
		return false
	}
}

func system(c *Caller, _ target) bool { return c.System }

func ofProject(c *Caller, _ target) bool { return c.Project != "" }

func owner(c *Caller, t target) bool { return c.Project != "" && c.Project == t.owner }

func lessee(c *Caller, t target) bool { return c.Project != "" && c.Project == t.lessee }

// elevated are services of the project that the configuration names.
func elevated(c *Caller, _ target) bool { return c.Elevated && c.has("service") }

// Ironic's check strings, by its names for them.
var (
	systemAdmin   = both(role("admin"), system)
	systemService = both(role("service"), system)
	systemMember  = either(both(role("member"), system), elevated)
	systemReader  = either(both(role("reader"), system), systemService, elevated)

	ownerAdmin     = both(role("admin"), owner)
	ownerManager   = both(role("manager"), owner)
	ownerMember    = both(role("member"), owner)
	ownerReader    = both(role("reader"), owner)
	ownerService   = both(role("service"), owner)
	lesseeAdmin    = both(role("admin"), lessee)
	lesseeManager  = both(role("manager"), lessee)
	ownerOrLessee  = either(owner, lessee)
	projectMember  = both(role("member"), ownerOrLessee)
	projectReader  = both(role("reader"), ownerOrLessee)
	anybodysReader = either(role("reader"), role("service"))

	systemOrProjectMember          = either(systemMember, projectMember, systemService)
	systemOrProjectReader          = either(systemReader, projectReader, ownerService)
	systemOrOwnerMemberLesseeAdmin = either(systemMember, systemService, ownerMember, lesseeAdmin, lesseeManager, ownerService)
	systemAdminOrOwnerAdmin        = either(systemAdmin, systemService, ownerAdmin, ownerManager, ownerService)
	systemMemberOrOwnerAdmin       = either(systemMember, systemService, ownerAdmin, ownerManager, ownerService)
	systemMemberOrOwnerMember      = either(systemMember, systemService, ownerMember, ownerService)
	systemOrOwnerReader            = either(systemReader, systemService, ownerReader, ownerService)
	systemMemberOrAdmins           = either(systemMember, systemService, ownerAdmin, ownerManager, lesseeAdmin, lesseeManager, ownerService)
)

// by is what a rule's target is.
type by int

const (
	byNobody by = iota // the rule asks for no owner
	byNode             // the node, or the node that the resource belongs to
	byItself           // the resource has an owner of its own: allocations, runbooks
	byFields           // the node, and what of it is changed
	byList             // a list: who may not see all sees its own
)

// things are what Kubernetes callers are asked about: hosts, unless it is an object
// that belongs to none.
type things int

const (
	hosts things = iota
	owned
)

// policy is one row.
type policy struct {
	rule rule
	by   by
	verb string // what Kubernetes is asked for; empty: what the roles say holds for nobody from there
	of   things
	all  string // of a list: who may do this sees all
}

// policies is the table. A route names a row, or it is public.
var policies = map[string]policy{
	"baremetal:node:create":                   {rule: either(systemAdmin, systemService, both(ofProject, either(role("admin"), role("service")))), by: byItself, verb: "create"},
	"baremetal:node:list":                     {rule: anybodysReader, by: byList, verb: "list", all: "baremetal:node:list_all"},
	"baremetal:node:list_all":                 {rule: systemReader, verb: "list"},
	"baremetal:node:get":                      {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:update":                   {rule: systemOrProjectMember, by: byFields, verb: "patch"},
	"baremetal:node:delete":                   {rule: either(systemAdmin, ownerAdmin), by: byNode, verb: "delete"},
	"baremetal:node:validate":                 {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "get"},
	"baremetal:node:set_maintenance":          {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "update"},
	"baremetal:node:clear_maintenance":        {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "update"},
	"baremetal:node:get_boot_device":          {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "get"},
	"baremetal:node:set_boot_device":          {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "update"},
	"baremetal:node:get_indicator_state":      {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:set_indicator_state":      {rule: systemMemberOrOwnerMember, by: byNode, verb: "update"},
	"baremetal:node:inject_nmi":               {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "update"},
	"baremetal:node:get_states":               {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:set_power_state":          {rule: systemOrProjectMember, by: byNode, verb: "update"},
	"baremetal:node:set_boot_mode":            {rule: systemOrProjectMember, by: byNode, verb: "update"},
	"baremetal:node:set_secure_boot":          {rule: systemOrProjectMember, by: byNode, verb: "update"},
	"baremetal:node:set_provision_state":      {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "update"},
	"baremetal:node:set_raid_state":           {rule: systemMemberOrOwnerMember, by: byNode, verb: "update"},
	"baremetal:node:get_console":              {rule: systemMemberOrOwnerMember, by: byNode, verb: "get"},
	"baremetal:node:set_console_state":        {rule: systemMemberOrOwnerMember, by: byNode, verb: "update"},
	"baremetal:node:vif:list":                 {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:vif:attach":               {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "update"},
	"baremetal:node:vif:detach":               {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "update"},
	"baremetal:node:traits:list":              {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:traits:set":               {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "update"},
	"baremetal:node:traits:delete":            {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "update"},
	"baremetal:node:bios:get":                 {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:firmware:get":             {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:history:get":              {rule: systemOrOwnerReader, by: byNode, verb: "get"},
	"baremetal:node:inventory:get":            {rule: systemOrOwnerReader, by: byNode, verb: "get"},
	"baremetal:node:vmedia:attach":            {rule: systemOrProjectMember, by: byNode, verb: "update"},
	"baremetal:node:vmedia:detach":            {rule: systemOrProjectMember, by: byNode, verb: "update"},
	"baremetal:node:vmedia:get":               {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:node:vendor_passthru":          {rule: systemAdmin, by: byNode, verb: "update"},
	"baremetal:node:get:filter_threshold":     {rule: systemReader, by: byNode, verb: "get"},
	"baremetal:node:get:last_error":           {rule: systemOrOwnerReader, by: byNode, verb: "get"},
	"baremetal:node:get:reservation":          {rule: systemOrOwnerReader, by: byNode, verb: "get"},
	"baremetal:node:get:driver_internal_info": {rule: systemOrOwnerReader, by: byNode, verb: "get"},
	"baremetal:node:get:driver_info":          {rule: systemOrOwnerReader, by: byNode, verb: "get"},

	// Steps that the caller makes up, in a verb's body.
	"baremetal:node:set_provision_state:clean_steps":   {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "update"},
	"baremetal:node:set_provision_state:service_steps": {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "update"},

	// What of a node is changed: patchActions says which field is whose.
	"baremetal:node:update_extra":             {rule: systemOrProjectMember, by: byNode, verb: "patch"},
	"baremetal:node:update_instance_info":     {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "patch"},
	"baremetal:node:update_owner_provisioned": {rule: systemAdmin, by: byNode, verb: "patch"},
	"baremetal:node:disable_cleaning":         {rule: systemAdmin, by: byNode, verb: "patch"},
	"baremetal:node:update:driver_info":       {rule: systemMemberOrOwnerMember, by: byNode, verb: "patch"},
	"baremetal:node:update:properties":        {rule: systemMemberOrOwnerMember, by: byNode, verb: "patch"},
	"baremetal:node:update:chassis_uuid":      {rule: systemAdmin, by: byNode, verb: "patch"},
	"baremetal:node:update:instance_uuid":     {rule: systemMemberOrOwnerMember, by: byNode, verb: "patch"},
	"baremetal:node:update:lessee":            {rule: systemMemberOrOwnerMember, by: byNode, verb: "patch"},
	"baremetal:node:update:owner":             {rule: systemMember, by: byNode, verb: "patch"},
	"baremetal:node:update:driver_interfaces": {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "patch"},
	"baremetal:node:update:network_data":      {rule: systemMemberOrOwnerMember, by: byNode, verb: "patch"},
	"baremetal:node:update:conductor_group":   {rule: systemMember, by: byNode, verb: "patch"},
	"baremetal:node:update:name":              {rule: systemMemberOrOwnerMember, by: byNode, verb: "patch"},
	"baremetal:node:update:retired":           {rule: systemMemberOrOwnerMember, by: byNode, verb: "patch"},
	"baremetal:node:update:shard":             {rule: systemAdmin, by: byNode, verb: "patch"},
	"baremetal:node:update:parent_node":       {rule: systemMember, by: byNode, verb: "patch"},
	"baremetal:node:update:disable_power_off": {rule: systemAdmin, by: byNode, verb: "patch"},

	"baremetal:port:get":      {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:port:list":     {rule: anybodysReader, by: byList, verb: "list", all: "baremetal:port:list_all"},
	"baremetal:port:list_all": {rule: systemReader, verb: "list"},
	"baremetal:port:create":   {rule: systemAdminOrOwnerAdmin, by: byNode, verb: "patch"},
	"baremetal:port:update":   {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "patch"},
	"baremetal:port:delete":   {rule: systemAdminOrOwnerAdmin, by: byNode, verb: "patch"},

	"baremetal:portgroup:get":      {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:portgroup:list":     {rule: anybodysReader, by: byList, verb: "list", all: "baremetal:portgroup:list_all"},
	"baremetal:portgroup:list_all": {rule: systemReader, verb: "list"},
	"baremetal:portgroup:create":   {rule: systemAdminOrOwnerAdmin, by: byNode, verb: "patch"},
	"baremetal:portgroup:update":   {rule: systemMemberOrOwnerAdmin, by: byNode, verb: "patch"},
	"baremetal:portgroup:delete":   {rule: systemAdminOrOwnerAdmin, by: byNode, verb: "patch"},

	"baremetal:volume:get":                    {rule: systemOrProjectReader, by: byNode, verb: "get"},
	"baremetal:volume:list":                   {rule: anybodysReader, by: byList, verb: "list", all: "baremetal:volume:list_all"},
	"baremetal:volume:list_all":               {rule: systemReader, verb: "list"},
	"baremetal:volume:create":                 {rule: systemMemberOrAdmins, by: byNode, verb: "patch"},
	"baremetal:volume:update":                 {rule: systemOrOwnerMemberLesseeAdmin, by: byNode, verb: "patch"},
	"baremetal:volume:delete":                 {rule: systemMemberOrAdmins, by: byNode, verb: "patch"},
	"baremetal:volume:view_target_properties": {rule: either(systemReader, role("admin")), verb: "get"},

	"baremetal:allocation:get":               {rule: either(systemReader, ownerReader), by: byItself, verb: "get", of: owned},
	"baremetal:allocation:list":              {rule: anybodysReader, by: byList, verb: "list", of: owned, all: "baremetal:allocation:list_all"},
	"baremetal:allocation:list_all":          {rule: systemReader, verb: "list", of: owned},
	"baremetal:allocation:create":            {rule: either(systemMember, role("member")), by: byItself, verb: "create", of: owned},
	"baremetal:allocation:create_restricted": {rule: systemMember, verb: "create", of: owned},
	"baremetal:allocation:update":            {rule: either(systemMember, ownerMember), by: byItself, verb: "patch", of: owned},
	"baremetal:allocation:delete":            {rule: either(systemMember, ownerMember), by: byItself, verb: "delete", of: owned},

	"baremetal:runbook:get":           {rule: either(systemReader, ownerReader, role("service")), by: byItself, verb: "get", of: owned},
	"baremetal:runbook:list":          {rule: anybodysReader, by: byList, verb: "list", of: owned, all: "baremetal:runbook:list_all"},
	"baremetal:runbook:list_all":      {rule: systemReader, verb: "list", of: owned},
	"baremetal:runbook:create":        {rule: either(systemMember, role("manager"), role("service")), by: byItself, verb: "create", of: owned},
	"baremetal:runbook:update":        {rule: either(systemMember, ownerManager, role("service")), by: byItself, verb: "patch", of: owned},
	"baremetal:runbook:update:public": {rule: systemMember, verb: "patch", of: owned},
	"baremetal:runbook:update:owner":  {rule: systemMember, verb: "patch", of: owned},
	"baremetal:runbook:delete":        {rule: either(systemMember, ownerManager, role("service")), by: byItself, verb: "delete", of: owned},
	"baremetal:runbook:use":           {rule: either(systemMember, ownerManager, role("service")), by: byItself, verb: "get", of: owned},

	// These take system-scoped tokens alone (scope_types): not even services that
	// are trusted with all nodes.
	"baremetal:chassis:get":                             {rule: both(system, systemReader), verb: "get", of: owned},
	"baremetal:chassis:create":                          {rule: systemAdmin, verb: "create", of: owned},
	"baremetal:chassis:update":                          {rule: both(system, systemMember), verb: "patch", of: owned},
	"baremetal:chassis:delete":                          {rule: systemAdmin, verb: "delete", of: owned},
	"baremetal:driver:get":                              {rule: both(system, systemReader), verb: "list"},
	"baremetal:driver:get_properties":                   {rule: both(system, systemReader), verb: "list"},
	"baremetal:driver:get_raid_logical_disk_properties": {rule: both(system, systemReader), verb: "list"},
	"baremetal:driver:vendor_passthru":                  {rule: systemAdmin, verb: "update"},
	"baremetal:events:post":                             {rule: systemAdmin, verb: "update"},

	"baremetal:conductor:get": {rule: systemReader, verb: "list"},
	"baremetal:openapi:get":   {rule: anybodysReader, verb: "list"}, // ours
	"baremetal:shards:get":    {rule: systemReader, verb: "list"},

	"baremetal:deploy_template:get":    {rule: systemReader, verb: "get", of: owned},
	"baremetal:deploy_template:create": {rule: systemAdmin, verb: "create", of: owned},
	"baremetal:deploy_template:update": {rule: systemAdmin, verb: "patch", of: owned},
	"baremetal:deploy_template:delete": {rule: systemAdmin, verb: "delete", of: owned},

	"baremetal:inspection_rule:get":    {rule: systemReader, verb: "get", of: owned},
	"baremetal:inspection_rule:create": {rule: systemAdmin, verb: "create", of: owned},
	"baremetal:inspection_rule:update": {rule: systemAdmin, verb: "patch", of: owned},
	"baremetal:inspection_rule:delete": {rule: systemAdmin, verb: "delete", of: owned},
}
