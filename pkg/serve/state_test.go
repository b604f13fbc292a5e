package serve

import (
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The authority is made once; every later start and every replica has the same.
func TestAuthority(t *testing.T) {
	c := api(t)
	first, err := authority(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := authority(t.Context(), c)
	if err != nil || again.Pin() != first.Pin() {
		t.Errorf("another authority after a restart: %v", err)
	}
	if again.Token("x") != first.Token("x") || again.Token("x") == again.Token("y") {
		t.Error("tokens do not survive a restart, or are all the same")
	}
	s := &corev1.Secret{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: caSecret}, s); err != nil {
		t.Fatal(err)
	}
	s.Data[caPrivateKey] = []byte("rubbish")
	if err := c.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := authority(t.Context(), c); err == nil || strings.Contains(err.Error(), "rubbish") {
		t.Errorf("a broken authority is taken, or shown: %v", err)
	}
}

func TestPublishDoors(t *testing.T) {
	c := api(t)
	for _, at := range []string{"http://a", "http://b"} {
		if err := publishDoors(t.Context(), c, map[string]string{"http": at}); err != nil {
			t.Fatal(err)
		}
		cm := &corev1.ConfigMap{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: doorsMap}, cm); err != nil || cm.Data["http"] != at {
			t.Errorf("published %v, %v", cm.Data, err)
		}
	}
}

// An address in use is said at once, with the flag to change; nothing stays open.
func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := Config{RESTAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", HTTPSAddress: taken.Addr().String()}
	l, err := c.listen()
	if err == nil || !strings.Contains(err.Error(), "--https-address "+c.HTTPSAddress) {
		t.Errorf("got %v", err)
	}
	if l.rest != nil {
		if _, err := l.rest.Accept(); err == nil {
			t.Error("the REST door stayed open")
		}
	}
}
