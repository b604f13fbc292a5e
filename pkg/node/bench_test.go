package node

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/pkg/record"
)

// fill has a store know n nodes of machines, without an API.
func fill(s *Store, n int) {
	for i := range n {
		name := fmt.Sprintf("n%05d", i)
		meta := metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID(name), ResourceVersion: fmt.Sprint(i + 1),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(1700000000+i), 0)),
		}
		b := &metal3.BareMetalHost{ObjectMeta: meta}
		b.Annotations = map[string]string{record.AnnotationNodeUUID: "u"}
		b.Spec.BMC = metal3.BMCDetails{Address: "redfish://10.0.0.3/redfish/v1/Systems/" + name, CredentialsName: name + "-bmc"}
		b.Spec.Image = &metal3.Image{URL: "http://10.0.0.9/i", Checksum: "c"}
		b.Status.Provisioning.State, b.Status.LastUpdated = "provisioned", &metav1Now
		r := &v1alpha1.HostRecord{ObjectMeta: meta, Spec: v1alpha1.HostRecordSpec{ID: fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i), IronicName: name}}
		a := &v1alpha1.NodeAttributes{ObjectMeta: meta}
		a.Spec.Attributes = &apiextensionsv1.JSON{Raw: fmt.Appendf(nil, `{"driver":"redfish","driver_info":{"redfish_address":"https://10.0.0.3",`+
			`"redfish_system_id":"/redfish/v1/Systems/%s","redfish_username":"u","redfish_password":"******"},"properties":{"cpus":8,"memory_mb":8192},`+
			`"instance_info":{"image_source":"http://10.0.0.9/i","image_checksum":"c"},"extra":{"rack":"r4"},"resource_class":"big"}`, name)}
		s.Observe(b)
		s.Observe(r)
		s.Observe(a)
	}
}

func quiet() *Store { return NewStore(nil, nil, "default", time.Now, func() string { return "" }) }

func BenchmarkRender(b *testing.B) {
	s := quiet()
	fill(s, 1)
	n := s.List()[0]
	b.ReportAllocs()
	for b.Loop() {
		again := *n
		s.render(&again)
	}
}

// What a watch brings: a node's status changed, one among many.
func BenchmarkObserve10000(b *testing.B) {
	s := quiet()
	fill(s, 10000)
	n := s.List()[5000]
	version := 1 << 20
	b.ReportAllocs()
	for b.Loop() {
		host := n.Host.DeepCopy()
		version++
		host.ResourceVersion = fmt.Sprint(version)
		s.Observe(host)
	}
}

func BenchmarkList10000(b *testing.B) {
	s := quiet()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fill(s, 10000)
	s.List()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	for b.Loop() {
		if len(s.List()) != 10000 {
			b.Fatal("some are missing")
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10000, "heap-B/node")
}

// The list after a change: it is made anew.
func BenchmarkListAfterChange10000(b *testing.B) {
	s := quiet()
	fill(s, 10000)
	n := s.List()[5000]
	version := 1 << 20
	b.ReportAllocs()
	for b.Loop() {
		host := n.Host.DeepCopy()
		version++
		host.ResourceVersion = fmt.Sprint(version)
		s.Observe(host)
		s.List()
	}
}
