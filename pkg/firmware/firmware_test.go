package firmware

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

func ptr[T any](v T) *T { return &v }

func bios() bmc.BIOS {
	return bmc.BIOS{
		Attributes: map[string]any{
			"BootMode": "Uefi", "NumLock": true, "Threads": int64(8), "Asset": "x", "Serial": "S1",
			"AdminPassword": "(hidden)", "Chap": "(hidden)", "Wide": "open",
		},
		Registry: map[string]bmc.BIOSAttribute{
			"BootMode": {Type: "Enumeration", Values: []string{"Uefi", "Legacy"}},
			"NumLock":  {Type: "Boolean"},
			"Threads":  {Type: "Integer", LowerBound: ptr(int64(1)), UpperBound: ptr(int64(64))},
			"Asset":    {Type: "String", MinLength: ptr(int64(1)), MaxLength: ptr(int64(4))},
			"Serial":   {Type: "String", ReadOnly: true},
			"Chap":     {Type: "Password"},
		},
	}
}

func TestSettingsShowNoPassword(t *testing.T) {
	want := metal3.SettingsMap{"BootMode": "Uefi", "NumLock": "true", "Threads": "8", "Asset": "x", "Serial": "S1", "Wide": "open"}
	if d := cmp.Diff(want, Settings(bios())); d != "" {
		t.Error(d)
	}
	schema := Schema(bios())
	for name := range want {
		if _, ok := schema[name]; !ok {
			t.Errorf("the schema lacks %s", name)
		}
		delete(schema, name)
	}
	if len(schema) != 0 {
		t.Errorf("the schema has %v", schema)
	}
}

// The name is Metal3's own: what its operator left is found again.
func TestSchemaName(t *testing.T) {
	schema := map[string]metal3.SettingSchema{
		"L2Cache":    {AttributeType: "Integer", LowerBound: ptr(0), UpperBound: ptr(10), ReadOnly: ptr(false)},
		"AssetTag":   {AttributeType: "String", MinLength: ptr(0), MaxLength: ptr(16)},
		"QuietBoot":  {AttributeType: "Boolean"},
		"Virtualise": {AttributeType: "Enumeration", AllowableValues: []string{"Enabled", "Disabled"}},
	}
	// sha256("[0 0 10 16 AssetTag Boolean Disabled Enabled Enumeration Integer L2Cache QuietBoot String Virtualise false]")
	if got := SchemaName(schema); got != "schema-"+wantHash {
		t.Errorf("got %s", got)
	}
	other := schema["L2Cache"]
	other.UpperBound = ptr(11)
	schema["L2Cache"] = other
	if SchemaName(schema) == "schema-"+wantHash {
		t.Error("another bound has the same name")
	}
}

func TestInvalidSettings(t *testing.T) {
	for _, tc := range []struct {
		name, setting string
		value         intstr.IntOrString
		says          []string
	}{
		{name: "unknown", setting: "bootmode", value: intstr.FromString("Legacy"), says: []string{"spec.settings.bootmode", "BootMode?"}},
		{name: "enumeration", setting: "BootMode", value: intstr.FromString("BIOS"), says: []string{"spec.settings.BootMode", `"BIOS"`, "Uefi, Legacy"}},
		{name: "no integer", setting: "Threads", value: intstr.FromString("many"), says: []string{`"many"`, "from 1 to 64"}},
		{name: "out of bounds", setting: "Threads", value: intstr.FromInt32(65), says: []string{`"65"`, "from 1 to 64"}},
		{name: "too long", setting: "Asset", value: intstr.FromString("abcde"), says: []string{"5 characters", "from 1 to 4"}},
		{name: "read-only", setting: "Serial", value: intstr.FromString("S2"), says: []string{"read-only"}},
		{name: "boolean", setting: "NumLock", value: intstr.FromString("yes"), says: []string{"true or false"}},
		{name: "password", setting: "AdminPassword", value: intstr.FromString("x"), says: []string{"passwords cannot be set"}},
		{name: "good", setting: "Threads", value: intstr.FromString("16")},
		{name: "in force", setting: "Serial", value: intstr.FromString("S1")},
		{name: "no registry", setting: "Wide", value: intstr.FromString("shut")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := &metal3.HostFirmwareSettings{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
			h.Spec.Settings = metal3.DesiredSettingsMap{tc.setting: tc.value}
			st, wrong := SettingsStatus(h, Settings(bios()), Schema(bios()), nil, "")
			if (len(wrong) == 0) != (tc.says == nil) {
				t.Fatalf("wrong: %q", wrong)
			}
			valid := meta.FindStatusCondition(st.Conditions, "Valid")
			if valid == nil || valid.ObservedGeneration != 3 || (valid.Status == metav1.ConditionTrue) != (tc.says == nil) {
				t.Fatalf("Valid is %+v", valid)
			}
			want := ReasonSuccess
			if tc.says != nil {
				want = ReasonConfigurationError
			}
			if valid.Reason != want {
				t.Errorf("reason %s, want %s", valid.Reason, want)
			}
			for _, s := range tc.says {
				if !strings.Contains(wrong[0], s) || !strings.Contains(valid.Message, s) {
					t.Errorf("%q lacks %q", wrong[0], s)
				}
			}
		})
	}
}

// What is due follows the conditions, and counts as due while they are of another
// spec: whoever changes settings looks first.
func TestSettingsDue(t *testing.T) {
	h := &metal3.HostFirmwareSettings{ObjectMeta: metav1.ObjectMeta{Generation: 1}}
	due := func(want bool, when string) {
		t.Helper()
		if got := SettingsDue(h); got != want {
			t.Errorf("%s: due %v", when, got)
		}
	}
	due(false, "nothing declared")
	h.Spec.Settings = metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(16)}
	due(true, "nothing read")
	judge := func(b bmc.BIOS) {
		h.Status, _ = SettingsStatus(h, Settings(b), Schema(b), nil, "")
		h.Status.LastUpdated = ptr(metav1.Now())
	}
	judge(bios())
	due(true, "another value in force")
	h.Generation, h.Spec.Settings = 2, metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(99)}
	due(true, "another spec")
	judge(bios())
	due(false, "invalid")
	h.Generation, h.Spec.Settings = 3, metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(8)}
	judge(bios())
	due(false, "in force")
	if c := meta.FindStatusCondition(h.Status.Conditions, "ChangeDetected"); c == nil || c.Status != metav1.ConditionFalse || c.Reason != ReasonSuccess {
		t.Errorf("ChangeDetected is %+v", c)
	}
	h.Spec.Settings = metal3.DesiredSettingsMap{"Threads": intstr.FromInt32(16)}
	h.Status, _ = SettingsStatus(h, nil, nil, nil, "IPMI knows none")
	h.Status.LastUpdated = ptr(metav1.Now())
	due(false, "a BMC without settings")
}

func TestComponents(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	inventory := []bmc.FirmwareComponent{
		{Component: "nic:A", Version: "3"}, {Component: "bios", Version: "2"}, {Name: "disk", Version: "9"}, {Component: "bmc", Version: "1"},
	}
	u := metal3.FirmwareUpdate{Component: "bios", URL: "http://x/bios"}
	h := &metal3.HostFirmwareComponents{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	h.Spec.Updates = []metal3.FirmwareUpdate{u, {Component: "bmc", URL: "http://x/bmc"}}
	old := []metal3.FirmwareComponentStatus{{Component: "bios", InitialVersion: "1", CurrentVersion: "1"}}
	all := Components(old, inventory, &u, now)
	want := []metal3.FirmwareComponentStatus{
		{Component: "bios", InitialVersion: "1", CurrentVersion: "2", LastVersionFlashed: "2", UpdatedAt: metav1.NewTime(now.Truncate(time.Second))},
		{Component: "bmc", InitialVersion: "1", CurrentVersion: "1"},
		{Component: "nic:A", InitialVersion: "3", CurrentVersion: "3"},
	}
	if d := cmp.Diff(want, all); d != "" {
		t.Error(d)
	}
	st, wrong := ComponentsStatus(h, all, "", &u)
	if len(wrong) != 0 || !meta.IsStatusConditionTrue(st.Conditions, "ChangeDetected") || !meta.IsStatusConditionTrue(st.Conditions, "Valid") {
		t.Errorf("wrong %q, %+v", wrong, st.Conditions)
	}
	h.Status = st
	if todo := Todo(h); len(todo) != 1 || todo[0].Component != "bmc" {
		t.Errorf("to do %v", todo)
	}
	h.Spec.Updates = h.Spec.Updates[:1]
	st, _ = ComponentsStatus(h, all, "", nil)
	if meta.IsStatusConditionTrue(st.Conditions, "ChangeDetected") {
		t.Error("what was carried out counts as a change")
	}
	for _, tc := range []struct{ component, url, says string }{
		{"cpld", "http://x/y", "bios, bmc or a name that begins with nic:"},
		{"nic:B", "http://x/y", "nic:A"},
		{"bios", "y.bin", "spec.updates[0].url"},
		{"bios", "http://u:secret@x/y", "credentials"},
		{"bios", "http://x/" + strings.Repeat("y", 2000), "2009 characters"},
	} {
		h.Spec.Updates = []metal3.FirmwareUpdate{{Component: tc.component, URL: tc.url}}
		st, wrong := ComponentsStatus(h, all, "", nil)
		c := meta.FindStatusCondition(st.Conditions, "Valid")
		if len(wrong) != 1 || !strings.Contains(wrong[0], tc.says) || strings.Contains(wrong[0], "secret") || c.Status != metav1.ConditionFalse || c.Reason != ReasonInvalidComponent {
			t.Errorf("%s %s: %q, %+v", tc.component, tc.url, wrong, c)
		}
	}
}

// wantHash begins the sum, computed with sha256sum(1).
const wantHash = "19aabde4"
