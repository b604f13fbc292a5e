package redfish

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

var _ bmc.Events = (*System)(nil)

// maxSubscriptions bounds the walk. BMCs keep a dozen or two.
const maxSubscriptions = 64

// eventService is DSP0268 EventService, as far as it is used.
type eventService struct {
	Enabled       tristate   `json:"ServiceEnabled"`
	Types         list[text] `json:"EventTypesForSubscription"`
	Subscriptions link       `json:"Subscriptions"`
}

// eventDestination is DSP0268 EventDestination, as far as it is used.
type eventDestination struct {
	Destination text       `json:"Destination"`
	Context     text       `json:"Context"`
	Types       list[text] `json:"EventTypes"`
}

// Subscriptions implements bmc.Events. Those of other protocols (SNMP, syslog,
// mail) are listed too.
func (s *System) Subscriptions(ctx context.Context) ([]bmc.Subscription, error) {
	const op = "list event subscriptions"
	service, err := s.eventService(ctx, op)
	if err != nil {
		return nil, err
	}
	return s.subscriptions(ctx, op, service)
}

func (s *System) eventService(ctx context.Context, op string) (eventService, error) {
	var service eventService
	root, err := s.e.serviceRoot(ctx)
	if err != nil {
		return service, err
	}
	if root.EventService == "" {
		return service, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the BMC has no event service"}
	}
	if _, err := s.e.get(ctx, op, string(root.EventService), &service); err != nil {
		return service, err
	}
	if service.Subscriptions == "" {
		return service, &bmc.Error{Class: bmc.Unsupported, Op: op, Detail: "the event service takes no subscriptions"}
	}
	return service, nil
}

func (s *System) subscriptions(ctx context.Context, op string, service eventService) ([]bmc.Subscription, error) {
	all, err := s.e.gather(ctx, op, string(service.Subscriptions), maxSubscriptions, maxSubscriptions)
	if err != nil {
		return nil, err
	}
	out := []bmc.Subscription{}
	for _, m := range all.members {
		var d eventDestination
		if lenient(json.Unmarshal(m.body, &d)) == nil && m.uri != "" {
			out = append(out, d.subscription(m.uri))
		}
	}
	return out, nil
}

func (d eventDestination) subscription(uri string) bmc.Subscription {
	return bmc.Subscription{ID: uri, Destination: clip(string(d.Destination)), Context: clip(string(d.Context)), EventTypes: cleanWords(d.Types)}
}

// Subscribe implements bmc.Events.
func (s *System) Subscribe(ctx context.Context, want bmc.Subscription) (bmc.Subscription, error) {
	got, err := s.subscribe(ctx, "subscribe to events", want)
	if err != nil {
		return bmc.Subscription{}, subscriptionSecrets(want).scrub(err)
	}
	return got, nil
}

// subscriptionSecrets: the headers prove to our door who sends, and the path of
// the destination or a context that is no mere word may.
func subscriptionSecrets(want bmc.Subscription) secrets {
	hide := urlSecrets(want.Destination)
	if len(want.Context) > gram {
		hide = append(hide, want.Context)
	}
	for _, v := range want.Headers {
		hide = append(hide, v)
	}
	return hide
}

func (s *System) subscribe(ctx context.Context, op string, want bmc.Subscription) (bmc.Subscription, error) {
	service, err := s.eventService(ctx, op)
	if err != nil {
		return want, err
	}
	if service.Enabled.known && !service.Enabled.value {
		return want, &bmc.Error{
			Class: bmc.Unsupported, Op: op,
			Detail: "the BMC's event service is switched off (iDRAC: enable alerts); until then the machine is polled",
		}
	}
	if s.has(quirk.EventNoContext) && want.Context == "" {
		want.Context = "ingot" // an empty one is refused
	}
	found, ok, err := s.findSubscription(ctx, op, service, want, s.has(quirk.EventNoContext))
	if err != nil || ok {
		return found, err
	}
	a, err := s.e.do(ctx, call{op: op, method: http.MethodPost, uri: string(service.Subscriptions), body: s.destinationBody(service, want)})
	if err != nil {
		class := bmc.ClassOf(err)
		if s.has(quirk.EventDuplicate) && (class == bmc.BadRequest || class == bmc.Busy) {
			// It has one for this destination, under another context perhaps. That
			// one is ours too: nobody else posts to our door.
			if found, ok, findErr := s.findSubscription(ctx, op, service, want, true); findErr == nil && ok {
				return found, nil
			}
		}
		return want, err
	}
	return s.subscribed(ctx, op, service, want, a)
}

// subscribed reads a new subscription back.
func (s *System) subscribed(ctx context.Context, op string, service eventService, want bmc.Subscription, a *answer) (bmc.Subscription, error) {
	uri := ""
	if u, err := url.Parse(a.header.Get("Location")); err == nil {
		uri = u.EscapedPath()
	}
	if uri != "" {
		var d eventDestination
		if _, err := s.e.get(ctx, op, uri, &d); err != nil {
			return want, err
		}
		if got := d.subscription(uri); got.Destination == "" || got.Destination == clip(want.Destination) {
			return got, nil
		}
	} else {
		found, ok, err := s.findSubscription(ctx, op, service, want, s.has(quirk.EventNoContext))
		if err != nil || ok {
			return found, err
		}
	}
	return want, &bmc.Error{Class: bmc.Protocol, Op: op, Detail: "the BMC took the subscription, but does not show it"}
}

// findSubscription looks for one with the same destination and, unless any
// context will do, the same context.
func (s *System) findSubscription(ctx context.Context, op string, service eventService, want bmc.Subscription, anyContext bool) (bmc.Subscription, bool, error) {
	all, err := s.subscriptions(ctx, op, service)
	if err != nil {
		return want, false, err
	}
	for _, have := range all {
		same := have.Destination == clip(want.Destination) && (anyContext || have.Context == clip(want.Context))
		// Some hide the destination (DMTF Redfish-Tacklebox #59).
		hidden := have.Destination == "" && have.Context != "" && have.Context == clip(want.Context)
		if same || hidden {
			return have, true, nil
		}
	}
	return want, false, nil
}

// destinationBody writes a subscription. Services older than EventService v1.3
// name event types and want some; for the others, who have registry prefixes,
// leaving both out means everything (DSP0268 EventDestination).
func (s *System) destinationBody(service eventService, want bmc.Subscription) map[string]any {
	body := map[string]any{"Destination": want.Destination, "Protocol": "Redfish", "Context": want.Context}
	if offered := words(service.Types); len(offered) > 0 {
		var types []string
		for _, t := range offered {
			if len(want.EventTypes) == 0 && t != "MetricReport" || slices.ContainsFunc(want.EventTypes, func(w string) bool { return strings.EqualFold(w, t) }) {
				types = append(types, t)
			}
		}
		if len(types) > 0 {
			body["EventTypes"] = types
		}
	}
	if !s.has(quirk.EventNoRetry) {
		// The default of many, SuspendRetries, ends a subscription for good when we
		// were away for three tries.
		body["DeliveryRetryPolicy"] = "RetryForever"
	}
	if len(want.Headers) > 0 {
		var headers []map[string]string
		for k, v := range want.Headers {
			headers = append(headers, map[string]string{k: v})
		}
		sort.Slice(headers, func(i, j int) bool { return firstKey(headers[i]) < firstKey(headers[j]) })
		body["HttpHeaders"] = headers
	}
	return body
}

func firstKey(m map[string]string) string {
	for k := range m {
		return k
	}
	return ""
}

// Unsubscribe implements bmc.Events. A subscription that is gone is no error.
func (s *System) Unsubscribe(ctx context.Context, id string) error {
	const op = "unsubscribe from events"
	if !strings.Contains(id, "/Subscriptions/") {
		return &bmc.Error{Class: bmc.BadRequest, Op: op, Detail: "that is no subscription: " + clip(id)}
	}
	_, err := s.e.do(ctx, call{op: op, method: http.MethodDelete, uri: id})
	if unsupported(err) {
		var d eventDestination
		if _, readErr := s.e.get(ctx, op, id, &d); unsupported(readErr) {
			return nil
		}
	}
	return err
}
