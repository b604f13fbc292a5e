package enroll_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/enroll"
)

func options() enroll.Options {
	return enroll.Options{Namespace: "default", Address: func(s string) (string, error) {
		a, err := bmc.ParseAddress(s)
		if err != nil {
			return "", err
		}
		return a.String(), nil
	}}
}

const header = "name,address,username,password,secret,mac,rack,unit,zone,class\n"

func TestParseRows(t *testing.T) {
	// One host, in every way that it can be written.
	forms := map[string]string{
		"any-order.csv":     "mac,Name,site,address,username,password,rack,unit,zone,class\n52-54-00-AB-CD-01,w1,ber,redfish://10.0.0.3,admin,\"p,w\",r1,07,z1,gpu\n",
		"windows.csv":       "\xef\xbb\xbfname,address,username,password,mac,rack,unit,zone,class,site\r\nw1,redfish://10.0.0.3,admin,\"p,w\",5254.00ab.cd01,r1,07,z1,gpu,ber\r\n,,,,,,,,,\r\n",
		"rows.yaml":         "# a rack\n- {name: w1, address: 'redfish://10.0.0.3', username: admin, password: 'p,w', mac: 52:54:00:ab:cd:01, rack: r1, unit: 07, zone: z1, class: gpu, site: ber}\n",
		"rows.json":         "[\n\t{\"name\":\"w1\",\"address\":\"redfish://10.0.0.3\",\"username\":\"admin\",\"password\":\"p,w\",\"mac\":\"52:54:00:ab:cd:01\",\"rack\":\"r1\",\"unit\":\"07\",\"zone\":\"z1\",\"class\":\"gpu\",\"site\":\"ber\",\"secret\":null}\n]\n",
		"manifest.yaml":     manifest,
		"several.docs.yml":  "---\n" + manifest + "---\n",
		"kubectl-list.yaml": "apiVersion: v1\nkind: List\nitems:\n" + indentItems(manifest),
	}
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			set, err := enroll.Parse(name, strings.NewReader(text), options())
			if err != nil {
				t.Fatal(err)
			}
			if len(set.Problems) > 0 {
				t.Fatal(set.Problems)
			}
			var got []map[string]any
			for _, o := range set.Objects {
				got = append(got, o.Object)
			}
			want := []map[string]any{
				{
					"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
					"metadata": map[string]any{"name": "w1-bmc-secret", "namespace": "default"},
					"data":     map[string]any{"username": "YWRtaW4=", "password": "cCx3"},
				},
				{
					"apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
					"metadata": map[string]any{"name": "w1", "namespace": "default", "labels": map[string]any{
						"ingot.dev/rack": "r1", "ingot.dev/unit": "07", "ingot.dev/class": "gpu", "site": "ber",
						"infrastructure.cluster.x-k8s.io/failure-domain": "z1",
					}},
					"spec": map[string]any{
						"online":         false,
						"bmc":            map[string]any{"address": "redfish://10.0.0.3", "credentialsName": "w1-bmc-secret"},
						"bootMACAddress": "52:54:00:ab:cd:01",
					},
				},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if set.Hosts() != 1 {
				t.Errorf("%d hosts", set.Hosts())
			}
		})
	}
}

const manifest = `apiVersion: v1
kind: Secret
metadata: {name: w1-bmc-secret}
type: Opaque
stringData: {username: admin, password: 'p,w'}
---
apiVersion: metal3.io/v1alpha1
kind: BareMetalHost
metadata:
  name: w1
  uid: 6f0a
  resourceVersion: "7"
  labels: {ingot.dev/rack: r1, ingot.dev/unit: "07", ingot.dev/class: gpu, site: ber, infrastructure.cluster.x-k8s.io/failure-domain: z1}
spec:
  bmc: {address: 'redfish://10.0.0.3', credentialsName: w1-bmc-secret}
  bootMACAddress: 52:54:00:ab:cd:01
status: {poweredOn: true}
`

// indentItems makes list items of YAML documents.
func indentItems(docs string) string {
	var b strings.Builder
	for _, doc := range strings.Split(docs, "---\n") {
		mark := "- "
		for _, line := range strings.Split(strings.TrimSpace(doc), "\n") {
			b.WriteString(mark + line + "\n")
			mark = "  "
		}
	}
	return b.String()
}

func TestParseProblems(t *testing.T) {
	tests := []struct {
		name, file string
		text       string
		want       []string
		hosts      int // good ones
	}{
		{
			name: "every bad line at once", file: "rack.csv", hosts: 2,
			text: header +
				"w1,redfish://10.0.0.1,a,b,,52:54:00:00:00:01,r1,1,,\n" +
				"W_2,redfsh://10.0.0.2,a,,,52:54:zz,r 1,2,,\n" +
				",,,,,,,,,\n" +
				"w1,redfish://10.0.0.1/,a,b,,52-54-00-00-00-01,r1,3,,\n" +
				"w4,redfish://10.0.0.4,a\n" +
				"w5,ipmi://10.0.0.5,,,shared,,,,,\n" +
				"w6,ipmi://u:pw@10.0.0.6,,,,,,,,\n",
			want: []string{
				`line 3, column name: "W_2" is no name that Kubernetes takes: use lower-case letters, digits, '-' and '.', like w-2`,
				`line 3, column address: cannot be used: parse BMC address: scheme "redfsh" is not known; did you mean redfish? There are redfish, redfish-virtualmedia, redfish-uefihttp, idrac-redfish, idrac-virtualmedia, ilo5-redfish, ilo5-virtualmedia, ipmi, libvirt`,
				`line 3, column password: is missing, but there is a username: give both`,
				`line 3, column mac: "52:54:zz" is no MAC address: write six pairs of hex digits, like 52:54:00:12:34:56`,
				`line 3, column rack: "r 1" cannot be a label: use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends`,
				`line 5, column name: "w1" is in line 2 already: names must differ`,
				`line 5, column address: "redfish://10.0.0.1/" is in line 2 already: two hosts would switch one machine`,
				`line 5, column mac: "52-54-00-00-00-01" is in line 2 already: correct one of the two`,
				`line 6: has 3 values for 10 columns: leave a value empty rather than out, and quote one that holds a comma`,
				`line 8, column address: cannot be used: parse BMC address: user "(hidden)" does not belong into the address: put it into the Secret that credentialsName names`,
				`line 8, column username: is missing, and so is secret: give username and password, or the name of a Secret that has them`,
			},
		},
		{
			name: "header", file: "rack.csv", text: "Name,adress,mac,mac,bad label!,\nw1,x,y,z,a,b\n",
			want: []string{
				`line 1, column mac: is there twice: remove one`,
				`line 1, column bad label!: cannot be the name of a label: the columns are name, address, username, password, secret, mac, rack, unit, zone, class; any other must be a valid label`,
				`line 1: column 6 has no name: name it, or remove it`,
				`line 1, column address: is missing: is adress meant?`,
			},
		},
		{
			name: "semicolons", file: "rack.csv", text: "name;address\nw1;ipmi://h\n",
			want: []string{`line 1: has no commas: save the table as CSV with commas between the columns`},
		},
		{
			name: "quotes", file: "rack.csv", hosts: 1, text: "name,address,secret\nw1,ipmi://10.0.0.1,a\"b\nw2,ipmi://10.0.0.2,s\n",
			want: []string{`line 2: cannot be read: bare " in non-quoted-field: put a value that holds a quote or a comma into quotes, and write a quote in it twice: "a ""b"" c"`},
		},
		{
			name: "one secret, two passwords", file: "rack.csv", hosts: 2,
			text: "name,address,secret,username,password\nw1,ipmi://10.0.0.1,s,a,b\nw2,ipmi://10.0.0.2,s,a,b\nw3,ipmi://10.0.0.3,s,a,c\n",
			want: []string{`line 4, column secret: "s" has other credentials in line 2: give each its own Secret`},
		},
		{
			name: "uuid", file: "rack.csv", text: "name,address,secret\n6f0a9c1e-1111-2222-3333-444455556666,ipmi://h,s\n",
			want: []string{`line 2, column name: "6f0a9c1e-1111-2222-3333-444455556666" is a UUID: Metal3 allows none as a name: use another`},
		},
		{
			name: "yaml rows", file: "rack.yaml", hosts: 1,
			text: "- name: w1\n  address: ipmi://h\n  secret: s\n- name: w2\n  labels: {a: b}\n- just text\n- name: w4\n",
			want: []string{
				`line 5, column labels: is not a single value: every key has one text`,
				`line 6: is no host: write key: value pairs, at least name and address`,
				`line 7, column address: is missing: give the BMC's address, like redfish://10.0.0.3/redfish/v1/Systems/1 or ipmi://10.0.0.3`,
				`line 7, column username: is missing, and so is secret: give username and password, or the name of a Secret that has them`,
			},
		},
		{
			name: "manifests", file: "rack.yaml", hosts: 1,
			text: "apiVersion: metal3.io/v1alpha1\nkind: BareMetalHost\nmetadata: {name: w1}\nspec: {bmc: {address: 'ipmi://h', credentialsName: s}}\n---\nkind: Pod\napiVersion: v1\nmetadata: {name: p}\n---\napiVersion: metal3.io/v1alpha1\nkind: BareMetalHost\nmetadata: {name: w2}\nspec: {bmc: {address: 'ipmi://h'}}\n---\n&a x: *a\n",
			want: []string{
				`line 6, column kind: "Pod" is neither a BareMetalHost of metal3.io/v1alpha1 nor a Secret of v1: apply it with kubectl`,
				`line 10, column address: "ipmi://h" is in line 1 already: two hosts would switch one machine`,
				`line 15: uses an alias: write the value out`,
			},
		},
		{name: "no list", file: "rack.yaml", text: "name: w1\n", want: []string{`line 1: is no list of hosts: begin every host with a dash: - name: …`}},
		{name: "not yaml", file: "rack.yaml", text: "- a: b: c\n", want: []string{`the file: cannot be read: mapping values are not allowed in this context`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := enroll.Parse(tt.file, strings.NewReader(tt.text), options())
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(set.Problems.Error(), "\n")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if set.Hosts() != tt.hosts {
				t.Errorf("%d good hosts, want %d", set.Hosts(), tt.hosts)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"rack.txt":   header,
		"empty.csv":  "",
		"header.csv": header,
		"empty.yaml": "# nothing\n",
		"large.csv":  header + strings.Repeat("x", enroll.MaxBytes),
		"long.csv":   strings.Repeat("\n", enroll.MaxLines+1),
	} {
		if set, err := enroll.Parse(name, strings.NewReader(text), options()); err == nil {
			t.Errorf("%s: no error, %d objects", name, len(set.Objects))
		}
	}
	_, err := enroll.Parse("x.csv", failing{}, options())
	if err == nil || !strings.Contains(err.Error(), "x.csv") {
		t.Errorf("error of a reader that fails: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

// The problems of a file never show a password.
func TestPasswordsAreHidden(t *testing.T) {
	const secret = "s3cr3t-p4ss"
	text := "name,address,username,password\nW1,nope://h," + "," + secret + "\nw2,ipmi://h,a," + secret + "\nw2,ipmi://h,a," + secret + "\n"
	set, err := enroll.Parse("r.csv", strings.NewReader(text), options())
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Problems) == 0 || strings.Contains(set.Problems.Error(), secret) {
		t.Error(set.Problems)
	}
}

func FuzzCSV(f *testing.F) {
	f.Add(header + "w1,redfish://10.0.0.1,a,b,,52:54:00:00:00:01,r1,1,,\n")
	f.Add("name,address,secret\n\"w\n1\",ipmi://h,s\n\"")
	f.Add("\xef\xbb\xbfname;address\r\n")
	f.Fuzz(func(t *testing.T, text string) { check(t, "x.csv", text) })
}

func FuzzYAML(f *testing.F) {
	f.Add("- {name: w1, address: ipmi://h, secret: s}\n")
	f.Add(manifest)
	f.Add("{\"kind\": \"List\", \"items\": [{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"},\"stringData\":{\"a\":1}}]}")
	f.Add("kind: List\nitems: [1, [2], {kind: }]\n")
	f.Fuzz(func(t *testing.T, text string) { check(t, "x.yaml", text) })
}

// check holds what is true of every file: problems have lines of the file, and
// good objects can be sent.
func check(t *testing.T, name, text string) {
	set, err := enroll.Parse(name, strings.NewReader(text), options())
	if err != nil {
		return
	}
	lines := 1
	for _, c := range text {
		if strings.ContainsRune("\n\r\u0085\u2028\u2029", c) { // YAML 1.1 §5.4 has them all
			lines++
		}
	}
	for _, p := range set.Problems {
		if p.Line < 0 || p.Line > lines || p.What == "" || strings.Contains(p.String(), "\n") {
			t.Errorf("problem %+v of %d lines", p, lines)
		}
	}
	names := map[string]bool{}
	for _, o := range set.Objects {
		o.DeepCopy()
		if _, err := json.Marshal(o.Object); err != nil {
			t.Error(err)
		}
		key := o.GetKind() + "/" + o.GetName()
		if o.GetName() == "" || o.GetNamespace() == "" || (o.GetKind() == "BareMetalHost" && names[key]) {
			t.Errorf("object %v", o)
		}
		names[key] = true
	}
}

func TestDiffWrite(t *testing.T) {
	set, err := enroll.Parse("r.csv", strings.NewReader(header+"w1,ipmi://10.0.0.1,a,b,,,r1,1,,\nw2,ipmi://10.0.0.2,,,s,,,,,\n"), options())
	if err != nil || len(set.Objects) != 3 {
		t.Fatal(err, set)
	}
	o := set.Objects
	diff := enroll.Diff{
		{Object: o[0], Action: enroll.Create, Fields: []enroll.Field{{Path: "data.password", To: "(hidden)"}}},
		{Object: o[1], Action: enroll.Update, Fields: []enroll.Field{
			{Path: "metadata.labels.ingot.dev/rack", From: "r1", To: "r2"},
			{Path: "metadata.labels.x", From: "y"},
			{Path: "spec.bootMACAddress", To: "52:54:00:00:00:01"},
		}},
		{Object: o[2], Action: enroll.Unchanged, Warning: "there is no Secret s yet: the host waits for it"},
		{Object: o[2], Action: enroll.Refused, Refusal: "spec.bmc.address is immutable"},
		{Object: o[2], Action: enroll.Unchanged},
	}
	var b strings.Builder
	if err := diff.Write(&b); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "diff.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
