package metric

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ingot-metal/ingot/pkg/host"
)

// life is a host whose every step is counted. Time is pretended: a second passes
// with each event.
type life struct {
	t   *testing.T
	m   host.Machine
	set *Set
	h   host.Host
	now time.Time
	// fails is the problem that the next action of a phase meets.
	fails map[host.Phase]host.Problem
	boots int
}

func newLife(t *testing.T, set *Set, key string) *life {
	return &life{
		t: t, m: host.Defaults(), set: set, h: host.Host{Key: key}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		fails: map[host.Phase]host.Problem{},
	}
}

func wants() host.Wants {
	return host.Wants{Generation: 1, Address: "redfish://x", SecretName: "s", SecretVersion: "v1", Online: true}
}

// feed gives the host an event, and its actions the outcomes that they have.
func (l *life) feed(e host.Event) {
	l.t.Helper()
	for todo := []host.Event{e}; len(todo) > 0; todo = todo[1:] {
		l.now = l.now.Add(time.Second)
		before := l.h
		var as []host.Action
		l.h, as = l.m.Step(before, l.now, todo[0])
		l.set.Stepped(before, l.h, as, l.now)
		for _, a := range as {
			if a.Seq == 0 || a.Seq != l.h.Seq {
				continue
			}
			todo = append(todo, l.outcome(a))
		}
		if op := l.h.Op; op != nil && op.Phase == host.PhaseHello && l.h.Boot != nil && !l.h.Boot.Redeemed && len(todo) == 1 {
			todo = append(todo, host.Hello{BootID: l.h.Boot.ID})
		}
	}
}

func (l *life) outcome(a host.Action) host.Event {
	phase := l.h.Op.Phase
	if p, ok := l.fails[phase]; ok {
		return host.Outcome{Seq: a.Seq, Problem: &p}
	}
	o := host.Outcome{Seq: a.Seq}
	switch a.Verb {
	case host.VerifyBMC:
		o.Power, o.Health = host.PowerOff, host.Healthy
	case host.SetPower:
		o.Power = host.PowerOff
		if a.Power == host.ChangeOn {
			o.Power = host.PowerOn
		}
	case host.OrderBoot:
		l.boots++
		o.BootID = fmt.Sprintf("b%d", l.boots)
	}
	return o
}

func (l *life) want(change func(*host.Wants)) {
	w := l.h.Wants
	change(&w)
	w.Generation++
	l.feed(host.Observe{Wants: w})
}

func (l *life) state(want host.State) {
	l.t.Helper()
	if l.h.State != want {
		l.t.Fatalf("the host is %q (%+v), want %q", l.h.State, l.h.Problem, want)
	}
}

// gather is every series by its name and labels, in the order of the labels'
// names; of a histogram, its count.
func gather(t *testing.T, s *Set) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(s); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				out[name] = m.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				out[name] = m.GetGauge().GetValue()
			case dto.MetricType_HISTOGRAM:
				out[name] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

// check compares some series, and fails where others of the same names exist.
func check(t *testing.T, s *Set, want map[string]float64) {
	t.Helper()
	got := gather(t, s)
	for k, v := range want {
		if have, ok := got[k]; (!ok && v != 0) || have != v {
			t.Errorf("%s = %v (there: %v), want %v", k, have, ok, v)
		}
	}
	family := func(k string) string { name, _, _ := strings.Cut(k, "{"); return name }
	families := map[string]bool{}
	for k := range want {
		families[family(k)] = true
	}
	for k, v := range got {
		if _, said := want[k]; !said && v != 0 && families[family(k)] {
			t.Errorf("%s = %v, which is not expected", k, v)
		}
	}
}

func TestWholeLifeCounted(t *testing.T) {
	s := New()
	l := newLife(t, s, "rack/w1")
	s.Reconciling("rack", "w1")
	l.feed(host.Observe{Wants: wants()})
	l.state(host.Available)
	l.want(func(w *host.Wants) { w.Image = &host.Image{URL: "http://x/a"} })
	l.state(host.Provisioned)
	l.want(func(w *host.Wants) { w.Online = false })
	l.want(func(w *host.Wants) { w.Online = true })
	l.want(func(w *host.Wants) { w.Image = nil })
	l.state(host.Available)
	check(t, s, map[string]float64{
		"metal3_reconcile_total{host=w1,namespace=rack}": 1,

		"metal3_provisioning_state_change_total{new_state=registering,prev_state=}":               1,
		"metal3_provisioning_state_change_total{new_state=inspecting,prev_state=registering}":     1,
		"metal3_provisioning_state_change_total{new_state=preparing,prev_state=inspecting}":       1,
		"metal3_provisioning_state_change_total{new_state=available,prev_state=preparing}":        1,
		"metal3_provisioning_state_change_total{new_state=provisioning,prev_state=available}":     1,
		"metal3_provisioning_state_change_total{new_state=provisioned,prev_state=provisioning}":   1,
		"metal3_provisioning_state_change_total{new_state=deprovisioning,prev_state=provisioned}": 1,
		"metal3_provisioning_state_change_total{new_state=available,prev_state=deprovisioning}":   1,

		"metal3_operation_register_duration_seconds{host=w1,namespace=rack}":    1,
		"metal3_operation_inspect_duration_seconds{host=w1,namespace=rack}":     1,
		"metal3_operation_provision_duration_seconds{host=w1,namespace=rack}":   1,
		"metal3_operation_deprovision_duration_seconds{host=w1,namespace=rack}": 1,

		"metal3_operation_power_change_total{host=w1,namespace=rack,on_off=off}": 1,
		"metal3_operation_power_change_total{host=w1,namespace=rack,on_off=on}":  1,

		"metal3_host_registration_required_total": 1,
		"metal3_credentials_updated_total":        1,

		"ingot_hosts{state=available}":  1,
		"ingot_hosts_health{health=OK}": 1,
	})
	got := gather(t, s)
	for _, phase := range []string{"write", "disk", "image", "run"} {
		if n := got["ingot_phase_duration_seconds{operation=provision,phase="+phase+"}"]; n != 1 {
			t.Errorf("phase %s: %v times, want once", phase, n)
		}
	}

	l.want(func(w *host.Wants) { w.Deleting = true })
	if !l.h.Gone {
		t.Fatalf("the host is %q, not gone", l.h.State)
	}
	s.Forget("rack", "w1")
	for k := range gather(t, s) {
		if strings.Contains(k, "host=w1") {
			t.Errorf("a deleted host left %s", k)
		}
	}
	check(t, s, map[string]float64{"ingot_hosts": 0, "ingot_host_problems": 0, "metal3_delete_without_powering_off_total": 0, "metal3_delete_without_deprovisioning_total": 0})
}

func TestTroubleCounted(t *testing.T) {
	t.Run("no Secret", func(t *testing.T) {
		s := New()
		l := newLife(t, s, "rack/w1")
		w := wants()
		w.SecretVersion = ""
		w.SecretProblem = &host.Problem{Code: "bmc-secret-missing", Class: host.Wait, Seen: []string{"no Secret rack/s"}}
		l.feed(host.Observe{Wants: w})
		for range 5 {
			l.feed(host.Observe{Wants: w}) // nothing new
		}
		check(t, s, map[string]float64{
			"metal3_credentials_missing_total": 1, "metal3_credentials_invalid_total": 0, "metal3_credentials_no_management_access_total": 0,
			"metal3_host_error_total{error_type=registration error}":    1,
			"ingot_host_problems{code=bmc-secret-missing}":              1,
			"ingot_hosts_waiting{for=change}":                           1,
			"metal3_host_registration_required_total":                   0,
			"ingot_operation_failures_total{operation=verify,code=any}": 0,
		})
		w.SecretProblem = &host.Problem{Code: "bmc-secret-missing", Class: host.Wait, Seen: []string{"Secret rack/s has no value for the key password"}}
		l.feed(host.Observe{Wants: w})
		check(t, s, map[string]float64{"metal3_credentials_missing_total": 1, "metal3_credentials_invalid_total": 1})
		l.feed(host.Observe{Wants: wants()})
		l.state(host.Available)
		check(t, s, map[string]float64{"ingot_host_problems": 0, "ingot_hosts_waiting": 0, "metal3_credentials_updated_total": 1})
		l.want(func(w *host.Wants) { w.SecretVersion = "v2" })
		check(t, s, map[string]float64{"metal3_credentials_updated_total": 2})
	})
	t.Run("a BMC that is silent", func(t *testing.T) {
		s := New()
		l := newLife(t, s, "rack/w1")
		l.fails[host.PhaseVerify] = host.Problem{Code: "bmc-unreachable", Class: host.Retry}
		l.feed(host.Observe{Wants: wants()})
		check(t, s, map[string]float64{
			"metal3_credentials_no_management_access_total":                         1,
			"ingot_operation_failures_total{code=bmc-unreachable,operation=verify}": 1,
			"ingot_hosts_waiting{for=retry}":                                        1,
			"ingot_next_try_timestamp_seconds":                                      float64(l.h.Problem.NextTry.UnixMilli()) / 1000,
			"ingot_phase_duration_seconds":                                          0,
		})
		l.now = l.h.Problem.NextTry
		l.feed(host.Tick{})
		check(t, s, map[string]float64{"metal3_credentials_no_management_access_total": 2, "metal3_credentials_updated_total": 0})
	})
	t.Run("a wrong image, user data, and the end without a BMC", func(t *testing.T) {
		s := New()
		l := newLife(t, s, "rack/w1")
		l.feed(host.Observe{Wants: wants()})
		l.fails[host.PhaseImage] = host.Problem{Code: "userdata-missing", Class: host.Wait, Facts: map[string]string{"key": "userData"}}
		l.want(func(w *host.Wants) { w.Image = &host.Image{URL: "http://x/a"} })
		l.state(host.Provisioning)
		check(t, s, map[string]float64{
			"metal3_host_config_data_error_total{host_data_type=userData}":              1,
			"metal3_host_error_total{error_type=provisioning error}":                    1,
			"ingot_operation_failures_total{code=userdata-missing,operation=provision}": 1,
		})
		delete(l.fails, host.PhaseImage)
		l.want(func(w *host.Wants) { w.Image = &host.Image{URL: "http://x/b"} })
		l.state(host.Provisioned)
		for _, p := range []host.Phase{host.PhaseOff, host.PhaseForceOff, host.PhaseStop} {
			l.fails[p] = host.Problem{Code: "bmc-unreachable", Class: host.Retry}
		}
		l.want(func(w *host.Wants) { w.Deleting = true })
		for range 20 {
			if l.h.Gone {
				break
			}
			l.now = l.h.Wake()
			l.feed(host.Tick{})
		}
		check(t, s, map[string]float64{"metal3_delete_without_deprovisioning_total": 1, "metal3_delete_without_powering_off_total": 1})
	})
	t.Run("a detached host's deletion waits", func(t *testing.T) {
		s := New()
		l := newLife(t, s, "rack/w1")
		l.feed(host.Observe{Wants: wants()})
		l.want(func(w *host.Wants) { w.Detach = &host.Detach{DelayDelete: true} })
		l.want(func(w *host.Wants) { w.Deleting = true })
		l.want(func(*host.Wants) {})
		check(t, s, map[string]float64{"metal3_delete_delayed_for_detached_total": 1})
		l.want(func(w *host.Wants) { w.Detach.DelayDelete = false })
		check(t, s, map[string]float64{
			"metal3_provisioning_state_change_total{new_state=deleting,prev_state=available}":     1,
			"metal3_provisioning_state_change_total{new_state=registering,prev_state=}":           1,
			"metal3_provisioning_state_change_total{new_state=inspecting,prev_state=registering}": 1,
			"metal3_provisioning_state_change_total{new_state=preparing,prev_state=inspecting}":   1,
			"metal3_provisioning_state_change_total{new_state=available,prev_state=preparing}":    1,
		})
	})
	t.Run("an unmanaged host, and what was dropped", func(t *testing.T) {
		s := New()
		l := newLife(t, s, "rack/w1")
		l.feed(host.Observe{Wants: host.Wants{Generation: 1}})
		before := l.h
		h, as := l.m.Step(before, l.now, host.Observe{Wants: wants()}) // verifies
		s.Stepped(before, h, as, l.now)
		gone, as := l.m.Step(h, l.now, host.Observe{Wants: host.Wants{Generation: 2}})
		s.Stepped(h, gone, as, l.now)
		check(t, s, map[string]float64{"metal3_host_unmanaged_total": 2, "ingot_phase_duration_seconds": 0})
	})
	t.Run("no ramdisk from its builder", func(t *testing.T) {
		s := New()
		l := newLife(t, s, "rack/w1")
		l.fails[host.PhaseOff] = host.Problem{Code: "ramdisk-waiting", Class: host.Retry}
		l.feed(host.Observe{Wants: wants()})
		check(t, s, map[string]float64{"metal3_waiting_for_preprov_image_total": 1})
	})
	t.Run("API and BMC", func(t *testing.T) {
		s := New()
		s.APIWrite("baremetalhosts/status", "ok")
		s.BMCCall("redfish", "")
		s.BMCCall("redfish", "auth")
		s.ReconcileFailed()
		s.CredentialsUnread()
		check(t, s, map[string]float64{
			"ingot_api_writes_total{resource=baremetalhosts/status,result=ok}": 1,
			"ingot_bmc_calls_total{protocol=redfish}":                          2,
			"ingot_bmc_errors_total{class=auth,protocol=redfish}":              1,
			"metal3_reconcile_error_total":                                     1,
			"metal3_credentials_unhandled_error_total":                         1,
		})
	})
}

// rate() of a dashboard needs counters that never fall while their host lives, and
// that were zero before their first event.
func TestCountersAreMonotone(t *testing.T) {
	s := New()
	before := map[string]float64{}
	gauge := func(k string) bool {
		return strings.HasPrefix(k, "ingot_hosts") || strings.HasPrefix(k, "ingot_host_problems") || strings.HasPrefix(k, "ingot_next_try")
	}
	look := func() {
		t.Helper()
		now := gather(t, s)
		for k, v := range before {
			if have, there := now[k]; !gauge(k) && (!there || have < v) {
				t.Errorf("%s was %v and is %v (there: %v)", k, v, have, there)
			}
		}
		before = now
	}
	look()
	for _, zero := range []string{
		"metal3_host_error_total{error_type=servicing error}", "metal3_host_config_data_error_total{host_data_type=metaData}",
		"metal3_delete_without_powering_off_total", "metal3_waiting_for_preprov_image_total",
	} {
		if v, there := before[zero]; !there || v != 0 {
			t.Errorf("%s is not there before its first event", zero)
		}
	}
	lives := []*life{newLife(t, s, "a/1"), newLife(t, s, "a/2"), newLife(t, s, "b/1")}
	for i, l := range lives {
		s.Reconciling(strings.Split(l.h.Key, "/")[0], strings.Split(l.h.Key, "/")[1])
		if i == 1 {
			l.fails[host.PhaseVerify] = host.Problem{Code: "bmc-auth", Class: host.Wait}
		}
		l.feed(host.Observe{Wants: wants()})
		look()
	}
	for round := range 4 {
		for _, l := range lives {
			l.want(func(w *host.Wants) {
				w.Image = &host.Image{URL: fmt.Sprint("http://x/", round)}
				w.SecretVersion = fmt.Sprint("v", round)
			})
			look()
		}
	}
}

// The gauges cannot drift: they are counted when they are asked for.
func TestGaugesAddUp(t *testing.T) {
	s := New()
	for i := range 7 {
		l := newLife(t, s, fmt.Sprintf("rack/w%d", i))
		if i%2 == 0 {
			l.fails[host.PhaseInspect] = host.Problem{Code: "inspect-failed", Class: host.Retry}
		}
		l.feed(host.Observe{Wants: wants()})
	}
	check(t, s, map[string]float64{
		"ingot_hosts{state=available}": 3, "ingot_hosts{state=inspecting}": 4, "ingot_host_problems{code=inspect-failed}": 4,
		"ingot_hosts_waiting{for=retry}": 4, "ingot_hosts_health{health=OK}": 7,
	})
}

// Nothing but Metal3's own series carries a host's name.
func TestCardinality(t *testing.T) {
	s := New()
	count := func(n int) (named, others int) {
		for i := range n {
			key := fmt.Sprintf("rack/w%d", i)
			s.Reconciling("rack", fmt.Sprint("w", i))
			newLife(t, s, key).feed(host.Observe{Wants: wants()})
		}
		for k := range gather(t, s) {
			if strings.Contains(k, "host=w") {
				named++
			} else {
				others++
			}
		}
		return named, others
	}
	named1, others1 := count(1)
	named9, others9 := count(9)
	if others9 != others1 {
		t.Errorf("%d series of no host with one host, %d with nine", others1, others9)
	}
	if named9 != 9*named1 || named1 > 8 {
		t.Errorf("%d series of one host, %d of nine", named1, named9)
	}
	for k := range gather(t, s) {
		if strings.HasPrefix(k, "ingot_") && strings.Contains(k, "host=") {
			t.Errorf("%s names a host", k)
		}
	}
}

// A nil Set counts nothing, and does no harm.
func TestNil(t *testing.T) {
	var s *Set
	s.Reconciling("a", "b")
	s.ReconcileFailed()
	s.CredentialsUnread()
	s.Stepped(host.Host{}, host.Host{State: host.Available}, nil, time.Time{})
	s.APIWrite("x", "ok")
	s.BMCCall("redfish", "")
	s.Forget("a", "b")
}

func TestBuckets(t *testing.T) {
	s := New()
	for st, d := range s.durations {
		d.WithLabelValues("a", "b").Observe(1)
		want := []float64{30, 90, 180, 360, 720, 1440}
		if st == host.Registering {
			want = prometheus.DefBuckets
		}
		ch := make(chan prometheus.Metric, 1)
		d.Collect(ch)
		m := &dto.Metric{}
		if err := (<-ch).Write(m); err != nil {
			t.Fatal(err)
		}
		var got []float64
		for _, b := range m.GetHistogram().GetBucket() {
			got = append(got, b.GetUpperBound())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: buckets %v, want %v", st, got, want)
		}
	}
	if len(slices.Collect(maps.Keys(s.durations))) != 4 {
		t.Error("not the four operations that Metal3 times")
	}
}

func BenchmarkStepped(b *testing.B) {
	s := New()
	h := host.Host{Key: "rack/w1", State: host.Provisioned, Good: "v1"}
	for b.Loop() {
		s.Stepped(h, h, nil, time.Time{})
	}
}
