package host

import (
	"testing"
	"time"
)

// DHCP packets are looked at side by side: what was seen first may be told last. It
// takes nothing back.
func TestNewsOfABootInTheOtherOrder(t *testing.T) {
	now := time.Unix(1800000000, 0)
	was := Host{Key: "a/b", State: Inspecting, Boot: &Boot{ID: "1", Ordered: now}}
	h, _ := Defaults().Step(was, now, BootSeen{Seen: Seen{DHCP: true, OtherServer: "10.77.0.9"}})
	h, _ = Defaults().Step(h, now, BootSeen{Seen: Seen{DHCP: true}})
	if h.Boot == nil || h.Boot.Seen != (Seen{DHCP: true, OtherServer: "10.77.0.9"}) {
		t.Errorf("seen %+v", h.Boot)
	}
	if was.Boot.Seen != (Seen{}) {
		t.Error("the host that was given is changed")
	}
}
