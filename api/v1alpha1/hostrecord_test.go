package v1alpha1

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A record in which everything is said at once stays near 2 kB: a write costs by
// the size of the object, and this is the one that changes often. A field that
// breaks this belongs into a blob or an object of its own.
func TestHostRecordStaysSmall(t *testing.T) {
	var r HostRecord
	fill(reflect.ValueOf(&r.Spec).Elem())
	fill(reflect.ValueOf(&r.Status).Elem())
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 4000 { // with 36 bytes for each text, which most do not have
		t.Errorf("a full record has %d bytes:\n%s", len(text), text)
	}
}

func TestEmptyHostRecordSaysNothing(t *testing.T) {
	text, err := json.Marshal(HostRecord{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "status") || strings.Contains(string(text), "spec") {
		t.Errorf("got %s", text)
	}
}

// fill sets every field to something as long as such things are.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[metav1.MicroTime]() {
		v.Set(reflect.ValueOf(metav1.NewMicroTime(time.Unix(1800000000, 123456000).UTC())))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.String:
		v.SetString("6c2a3f2e-6f0e-4b52-8a5b-0d9e2d1b7a11")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(12345)
	}
}
