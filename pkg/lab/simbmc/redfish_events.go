package simbmc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	eventsPath        = rootPath + "/EventService"
	subscriptionsPath = eventsPath + "/Subscriptions"
	maxSubscriptions  = 16
	deliveryTimeout   = 5 * time.Second
)

// subscription is DSP0268 EventDestination, as far as it is kept.
type subscription struct {
	destination, context string
	headers              http.Header // sent with each event
}

// Panel is somebody at the machine itself: no client of the BMC asked for it, but
// subscribers hear of it.
func (b *BMC) Panel(ctx context.Context, a PowerAction) error {
	b.cfg.Journal.Add(b.info.Name, KindPanel, string(a))
	if err := b.body.SetPower(ctx, a); err != nil {
		return fmt.Errorf("%s at the panel: %w", a, err)
	}
	b.powerChanged()
	return nil
}

// eventResource finds what lives below the event service, where there is one.
func (b *BMC) eventResource(path string) (resource, bool) {
	if !b.cfg.Events {
		return resource{}, false
	}
	switch path {
	case eventsPath:
		return static(obj{
			"@odata.type":                  "#EventService.v1_10_2.EventService",
			"@odata.id":                    eventsPath,
			"Id":                           "EventService",
			"Name":                         "Event Service",
			"ServiceEnabled":               true,
			"DeliveryRetryAttempts":        0,
			"DeliveryRetryIntervalSeconds": 0,
			"RegistryPrefixes":             []string{"ResourceEvent"},
			"Status":                       health(),
			"Subscriptions":                link(subscriptionsPath),
			"Actions":                      obj{}, // none; sushy reads no service without it
		}, false), true
	case subscriptionsPath:
		return resource{get: b.subscriptionList, post: b.subscribe}, true
	}
	id, ok := strings.CutPrefix(path, subscriptionsPath+"/")
	if !ok {
		return resource{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, found := b.subscriptions[id]
	return resource{
		get: func(context.Context) reply { return reply{body: subscriptionBody(id, s)} },
		del: func(context.Context) reply {
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.subscriptions, id)
			return reply{}
		},
	}, found
}

func subscriptionBody(id string, s subscription) obj {
	return obj{
		"@odata.type":         "#EventDestination.v1_14_1.EventDestination",
		"@odata.id":           subscriptionsPath + "/" + id,
		"Id":                  id,
		"Name":                "Event Subscription",
		"Destination":         s.destination,
		"Context":             s.context,
		"Protocol":            "Redfish",
		"SubscriptionType":    "RedfishEvent",
		"DeliveryRetryPolicy": "RetryForever",
		"HttpHeaders":         nil, // DSP0268: null in every answer
	}
}

// eventHeaders reads HttpHeaders: a list of objects with one header each.
func eventHeaders(v any) http.Header {
	out := http.Header{}
	list, _ := v.([]any)
	for _, one := range list {
		pair, _ := one.(map[string]any)
		for name, value := range pair {
			text, _ := value.(string)
			out.Set(name, text)
		}
	}
	return out
}

func (b *BMC) subscriptionList(context.Context) reply {
	b.mu.Lock()
	var paths []string
	for id := range b.subscriptions {
		paths = append(paths, subscriptionsPath+"/"+id)
	}
	b.mu.Unlock()
	sort.Strings(paths)
	return reply{body: collection(subscriptionsPath, "#EventDestinationCollection.EventDestinationCollection", "Event Subscriptions", paths...)}
}

func (b *BMC) subscribe(_ context.Context, body obj) reply {
	destination, _ := body["Destination"].(string)
	switch {
	case body["Destination"] == nil:
		return reply{err: errMissing("Destination")}
	case !isHTTP(destination):
		return reply{err: errNotInList(body["Destination"], "Destination")}
	case body["Protocol"] != "Redfish":
		return reply{err: errNotInList(body["Protocol"], "Protocol")}
	}
	text, _ := body["Context"].(string)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subscriptions) >= maxSubscriptions {
		return reply{err: errBusy()}
	}
	b.nextID++
	id := strconv.Itoa(b.nextID)
	if b.subscriptions == nil {
		b.subscriptions = map[string]subscription{}
	}
	s := subscription{destination: destination, context: text, headers: eventHeaders(body["HttpHeaders"])}
	b.subscriptions[id] = s
	return reply{status: http.StatusCreated, body: subscriptionBody(id, s), location: subscriptionsPath + "/" + id}
}

// powerChanged tells subscribers that the machine's power is another. An event
// that does not arrive is not sent again.
func (b *BMC) powerChanged() {
	b.mu.Lock()
	var to []subscription
	for _, s := range b.subscriptions {
		to = append(to, s)
	}
	b.eventID++
	id := strconv.Itoa(b.eventID)
	b.mu.Unlock()
	state, err := b.powerState(b.ctx)
	if len(to) == 0 || err != nil || b.ctx.Err() != nil {
		return
	}
	for _, s := range to {
		b.running.Go(func() {
			if err := b.push(s, id, state); err != nil {
				b.cfg.Journal.Add(b.info.Name, KindEventLost, err.Error())
				return
			}
			b.cfg.Journal.Add(b.info.Name, KindEvent, "power "+state)
		})
	}
}

// push delivers one event. Like most BMCs it does not look at the certificate
// (DSP0268 EventDestination.VerifyCertificate is false by default).
func (b *BMC) push(s subscription, id, state string) error {
	text, err := json.Marshal(obj{
		"@odata.type": "#Event.v1_10_1.Event",
		"Id":          id,
		"Name":        "Event Array",
		"Context":     s.context,
		"Events": []obj{{
			"MemberId":          "0",
			"EventId":           id,
			"EventType":         "StatusChange",
			"EventTimestamp":    b.cfg.Now().UTC().Format("2006-01-02T15:04:05+00:00"),
			"MessageId":         "ResourceEvent.1.2.ResourceStateChanged",
			"Message":           "The state of resource '" + b.SystemPath() + "' has changed to " + state + ".",
			"MessageArgs":       []string{b.SystemPath(), state},
			"MessageSeverity":   "OK",
			"OriginOfCondition": link(b.SystemPath()),
		}},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(b.ctx, deliveryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.destination, bytes.NewReader(text))
	if err != nil {
		return err
	}
	for name, values := range s.headers {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as BMCs do
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the subscriber answered %s", resp.Status)
	}
	return nil
}
