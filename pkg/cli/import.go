package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/enroll"
	"github.com/ingot-metal/ingot/pkg/fromironic"
	"github.com/ingot-metal/ingot/pkg/node"
	"github.com/ingot-metal/ingot/pkg/record"
)

func (a *App) importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "import",
		Short:   "Take machines over from another service",
		Example: `  ingot import ironic http://10.0.0.1:6385`,
		RunE:    func(*cobra.Command, []string) error { return Usage("what is to be imported? ingot import ironic URL") },
	}
	c.AddCommand(a.importIronicCommand())
	return c
}

// importing is what the flags of an import say.
type importing struct {
	yes, skipBad         bool
	basicUser, basicFile string
	credentials, secret  string
	out                  output
}

func (a *App) importIronicCommand() *cobra.Command {
	im := importing{out: output{formats: []string{"json", "yaml"}}}
	c := &cobra.Command{
		Use:   "ironic URL [NODE...]",
		Short: "Take the nodes of a running Ironic over, with their ports and names",
		Long: `Take the nodes of a running Ironic over, or those that are named: with their
UUIDs, names, ports, port groups, traits, allocations, chassis and deploy
templates. Ironic is only read. A node that is in use (active) is declared as it
is, and nothing is written to its BMC; one that is on its way or has failed is
refused, with the reason. What would be made is shown first, checked by the API,
and made with --yes or after a typed yes. A second run adds what is missing.

Ironic masks the passwords of BMCs: they come from a file, or from a Secret that
all share. A host without them rests in enroll until they are given.

Ironic is asked as nobody (noauth), as --basic-user, or as the variables of the
openstack command line say: OS_CLOUD, or OS_AUTH_URL and its kin; OS_CACERT names
an authority for all.`,
		Example: `  ingot import ironic http://10.0.0.1:6385                              # shows what would be made, and asks
  ingot import ironic http://10.0.0.1:6385 --credentials bmc.csv --yes
  ingot import ironic https://10.0.0.1:6385 w1 w2 --secret rack-4-bmc
  OS_CLOUD=site ingot import ironic https://ironic.example.org --skip-bad # the good nodes, although others are refused

  $ cat bmc.csv
  name,username,password
  w1,admin,…`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Usage("name the URL of Ironic, like http://10.0.0.1:6385")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := im.out.check(); err != nil {
				return err
			}
			if (im.basicUser == "") != (im.basicFile == "") {
				return Usage("--basic-user and --basic-password-file go together")
			}
			return a.importIronic(cmd.Context(), args[0], args[1:], im)
		},
	}
	f := c.Flags()
	f.BoolVarP(&im.yes, "yes", "y", false, "make it without asking")
	f.BoolVar(&im.skipBad, "skip-bad", false, "take the good nodes although others are refused")
	f.StringVar(&im.basicUser, "basic-user", "", "user of an Ironic with http_basic")
	f.StringVar(&im.basicFile, "basic-password-file", "", "file with that user's password")
	f.StringVar(&im.credentials, "credentials", "", "CSV file of the BMCs' credentials: name,username,password")
	f.StringVar(&im.secret, "secret", "", "Secret with the credentials of all BMCs that are not in the file")
	f.StringVarP(&im.out.format, "output", "o", "", "json or yaml: what becomes of each node")
	return c
}

func (a *App) importIronic(ctx context.Context, where string, only []string, im importing) error {
	ironic, err := fromironic.NewClient(where)
	if err != nil {
		return Usage("%v", err)
	}
	o := fromironic.Options{Secret: im.secret, Only: only}
	if o.Credentials, err = readCredentials(im.credentials); err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	o.Namespace = c.namespace
	if o.Known, err = c.known(ctx); err != nil {
		return err
	}
	login := fromironic.Login{BasicUser: im.basicUser, Env: a.Env}
	if im.basicFile != "" {
		if login.BasicPassword, err = readSecret(im.basicFile); err != nil {
			return err
		}
	}
	if err := login.Apply(ctx, ironic); err != nil {
		return err
	}
	site, err := ironic.Read(ctx)
	if err != nil {
		return err
	}
	plan := fromironic.Convert(site, o)
	diff, err := enroll.Plan(ctx, c, plan.Objects)
	if err != nil {
		return err
	}
	return a.finishImport(ctx, c, site, plan, diff, im)
}

// finishImport shows what would be made, and makes it where that is wanted.
func (a *App) finishImport(ctx context.Context, c *api, site *fromironic.Site, plan fromironic.Plan, diff enroll.Diff, im importing) error {
	report := newImportReport(site, plan, diff)
	if done, err := report.print(a, im.out.format); err != nil {
		return err
	} else if !done {
		if err := report.text(a, diff); err != nil {
			return err
		}
	}
	if n := report.refused; n > 0 && !im.skipBad {
		return fmt.Errorf("%d of %d nodes are refused, nothing was changed: see to them, or use --skip-bad to go on with the others", n, len(plan.Nodes))
	}
	if n := diff.Count(enroll.Refused); n > 0 && !im.skipBad {
		return fmt.Errorf("the API refuses %d objects, nothing was changed: correct them in Ironic, or use --skip-bad to go on with the others", n)
	}
	if len(plan.Unused) > 0 && !im.skipBad {
		return fmt.Errorf("Ironic has no node %s, nothing was changed: correct the name, or use --skip-bad to go on without", strings.Join(plan.Unused, ", ")) //nolint:staticcheck // a name
	}
	if !diff.Pending() {
		return nil
	}
	if !im.yes {
		if !a.Terminal || im.out.format != "" {
			fmt.Fprintln(a.Err, "Nothing was changed. Make it with --yes.")
			return nil
		}
		if ok, err := a.ask("Make them? Type yes: "); !ok || err != nil {
			return err
		}
	}
	made := 0
	err := diff.Apply(ctx, c, func(enroll.Change) { made++ })
	fmt.Fprintf(a.Err, "made %d of %d\n", made, diff.Count(enroll.Create, enroll.Update))
	if err == nil {
		fmt.Fprintln(a.Err, "See them with: ingot hosts --watch. Have Ironic let go of them next: docs/howto/from-ironic.md")
	}
	return err
}

func readCredentials(path string) (fromironic.Credentials, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	creds, err := fromironic.ReadCredentials(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return creds, nil
}

// known are the hosts of all namespaces: a BMC is one machine's, wherever it is named.
func (c *api) known(ctx context.Context) ([]fromironic.Known, error) {
	var hosts metal3.BareMetalHostList
	if err := c.List(ctx, &hosts); err != nil {
		return nil, err
	}
	var records v1alpha1.HostRecordList
	if err := c.List(ctx, &records); err != nil && !absent(err) {
		return nil, err
	}
	ids := map[types.NamespacedName]string{}
	for i := range records.Items {
		ids[client.ObjectKeyFromObject(&records.Items[i])] = records.Items[i].Spec.ID
	}
	var things v1alpha1.NodeResourceList
	if err := c.List(ctx, &things); err != nil && !absent(err) {
		return nil, err
	}
	macs := map[string][]string{}
	for i := range things.Items {
		spec := &things.Items[i].Spec
		var port struct{ Address string }
		if spec.Kind == node.KindPort && spec.Body != nil && json.Unmarshal(spec.Body.Raw, &port) == nil && port.Address != "" {
			macs[spec.Node] = append(macs[spec.Node], port.Address)
		}
	}
	known := make([]fromironic.Known, 0, len(hosts.Items))
	for i := range hosts.Items {
		h := &hosts.Items[i]
		k := fromironic.Known{Key: client.ObjectKeyFromObject(h), Address: h.Spec.BMC.Address}
		k.ID = cmp.Or(ids[k.Key], h.Status.Provisioning.ID, h.Annotations[record.AnnotationNodeUUID])
		if mac := h.Spec.BootMACAddress; mac != "" {
			k.MACs = append(k.MACs, mac)
		}
		if k.ID != "" {
			k.MACs = append(k.MACs, macs[k.ID]...)
		}
		known = append(known, k)
	}
	return known, nil
}

// importReport is what becomes of the nodes, as -o prints it.
type importReport struct {
	Version string               `json:"version"` // microversion that was spoken
	Nodes   []fromironic.Verdict `json:"nodes"`
	Missed  []string             `json:"missed,omitempty"`
	Unused  []string             `json:"unused,omitempty"`
	Create  int                  `json:"create"`
	Change  int                  `json:"change"`
	refused int
}

// newImportReport adds what the API refuses to what cannot be converted.
func newImportReport(site *fromironic.Site, plan fromironic.Plan, diff enroll.Diff) *importReport {
	r := &importReport{
		Version: site.Version.String(), Nodes: plan.Nodes, Missed: site.Missed, Unused: plan.Unused,
		Create: diff.Count(enroll.Create), Change: diff.Count(enroll.Update),
	}
	refusals := map[string]string{} // by host
	for _, change := range diff {
		host := change.Object.GetNamespace() + "/" + cmp.Or(change.Object.Host, change.Object.GetName())
		if change.Action == enroll.Refused && refusals[host] == "" {
			refusals[host] = change.Refusal
		}
	}
	notes := map[string][]string{}
	for i, v := range plan.Nodes {
		notes[v.Host] = v.Notes
		if text := refusals[v.Host]; text != "" && v.Host != "" {
			r.Nodes[i].Refused = text
		}
		if r.Nodes[i].Refused != "" {
			r.refused++
		}
	}
	for i, change := range diff {
		if change.Object.GetKind() != "BareMetalHost" || change.Action != enroll.Create {
			continue
		}
		all := slices.Clone(notes[change.Object.GetNamespace()+"/"+change.Object.GetName()])
		if change.Warning != "" && len(all) == 0 {
			all = append(all, change.Warning)
		}
		diff[i].Warning = strings.Join(all, "\n    note: ")
	}
	return r
}

func (r *importReport) print(a *App, format string) (bool, error) {
	switch format {
	case "json":
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		return true, enc.Encode(r)
	case "yaml":
		text, err := yaml.Marshal(r)
		if err != nil {
			return true, err
		}
		_, err = a.Out.Write(text)
		return true, err
	}
	return false, nil
}

// text is the diff, and the nodes that are left out of it.
func (r *importReport) text(a *App, diff enroll.Diff) error {
	if len(r.Nodes) == 0 && len(r.Unused) == 0 {
		fmt.Fprintln(a.Err, "This Ironic shows no nodes.")
	}
	for _, v := range r.Nodes {
		if v.Refused != "" && v.Host == "" {
			fmt.Fprintf(a.Out, "! node %s  (%s)\n    refused: %s\n", cmp.Or(v.Name, v.UUID), cmp.Or(v.State, "available"), v.Refused)
		}
	}
	for _, name := range r.Unused {
		fmt.Fprintf(a.Err, "there is no node %s\n", oneLine(name))
	}
	for _, missed := range r.Missed {
		fmt.Fprintln(a.Err, oneLine(missed))
	}
	return diff.Write(a.Out)
}
