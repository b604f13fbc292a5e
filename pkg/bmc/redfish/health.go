package redfish

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

var (
	_ bmc.Health = (*System)(nil)
	_ bmc.Glance = (*System)(nil)
)

const (
	// maxChassis bounds the enclosures of one machine: those it names and those
	// around them.
	maxChassis = 3
	maxSensors = 512
	// singleSensors are read one by one where the BMC neither expands nor has the
	// old resources; more are not worth their requests.
	singleSensors = 24
)

// condition is DSP0268 Resource.Status.
type condition struct {
	Health text `json:"Health"`
	Rollup text `json:"HealthRollup"`
	State  text `json:"State"`
}

// worst is the health of the thing with all its parts, or else its own.
func (c condition) worst() string {
	if c.Rollup != "" {
		return clean(c.Rollup)
	}
	return clean(c.Health)
}

// enclosure is DSP0268 Chassis, as far as it is used here.
type enclosure struct {
	Sensors link `json:"Sensors"`
	Thermal link `json:"Thermal"`
	Power   link `json:"Power"`
	Metrics link `json:"EnvironmentMetrics"`
	Cooling link `json:"ThermalSubsystem"`
	Links   struct {
		ContainedBy link `json:"ContainedBy"`
	} `json:"Links"`
}

// Health implements bmc.Health. It reads the machine, and for each of its
// enclosures the enclosure and its sensors: four requests for most machines, at
// most twelve where a BMC expands collections or has the old resources. Sensors
// of accelerators and boards inside that the machine does not name as its own are
// left out.
func (s *System) Health(ctx context.Context) (bmc.HealthReport, error) {
	const op = "read health"
	var cs struct {
		Status condition `json:"Status"`
		Links  struct {
			Chassis list[link] `json:"Chassis"`
		} `json:"Links"`
	}
	if err := s.readInto(ctx, op, &cs); err != nil {
		return bmc.HealthReport{}, err
	}
	report := bmc.HealthReport{Status: cs.Status.worst(), State: clean(cs.Status.State), Sensors: []bmc.Sensor{}}
	var todo []string
	for _, l := range cs.Links.Chassis {
		todo = append(todo, string(l))
	}
	seen := map[string]bool{}
	for len(todo) > 0 && len(seen) < maxChassis {
		uri := todo[0]
		todo = todo[1:]
		if uri == "" || seen[uri] {
			continue
		}
		seen[uri] = true
		var c enclosure
		_, err := s.e.get(ctx, op, uri, &c)
		if err == nil {
			todo = append(todo, string(c.Links.ContainedBy))
			var sensors []bmc.Sensor
			sensors, err = s.sensors(ctx, op, c)
			report.Sensors = append(report.Sensors, sensors...)
		}
		if err != nil && !passable(err) {
			return report, err
		}
	}
	report.Sensors = report.Sensors[:min(len(report.Sensors), maxSensors)]
	return report, nil
}

// sensors reads those of one enclosure, from the newest resource that gives any
// worth having. HPE's sensors carry no unit, so that its Thermal and Power say
// more.
func (s *System) sensors(ctx context.Context, op string, c enclosure) ([]bmc.Sensor, error) {
	old := c.Thermal != "" || c.Power != ""
	if c.Sensors != "" {
		single := singleSensors
		if old {
			single = 0
		}
		all, err := s.e.gather(ctx, op, string(c.Sensors), maxSensors, single)
		if err != nil && !passable(err) {
			return nil, err
		}
		out, kinds := decodeSensors(all.members)
		if len(out) > 0 && (kinds || !old) {
			return out, nil
		}
	}
	if old {
		out, err := s.oldSensors(ctx, op, c)
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
	return s.environment(ctx, op, c)
}

// decodeSensors also tells whether any sensor says what it measures.
func decodeSensors(members []member) ([]bmc.Sensor, bool) {
	var out []bmc.Sensor
	kinds := false
	for _, m := range members {
		var v struct {
			Name    text      `json:"Name"`
			Type    text      `json:"ReadingType"`
			Unit    text      `json:"ReadingUnits"`
			Context text      `json:"PhysicalContext"`
			Reading quantity  `json:"Reading"`
			Status  condition `json:"Status"`
		}
		if lenient(json.Unmarshal(m.body, &v)) != nil || v.Name == "" {
			continue
		}
		kinds = kinds || v.Type != "" || v.Unit != ""
		kind, unit := sensorKind(string(v.Type), string(v.Unit), string(v.Context)+" "+string(v.Name))
		out = append(out, newSensor(v.Name, kind, unit, v.Reading, v.Status))
	}
	return out, kinds
}

func newSensor(name text, kind, unit string, r quantity, c condition) bmc.Sensor {
	absent := !r.known || strings.EqualFold(string(c.State), "Absent")
	out := bmc.Sensor{Name: clean(name), Kind: kind, Unit: unit, Health: clean(c.Health), Absent: absent}
	if !absent {
		out.Value = r.value
	}
	return out
}

// sensorKind sorts DSP0268 Sensor.ReadingType and its UCUM unit.
func sensorKind(reading, unit, about string) (kind, short string) {
	fan := strings.Contains(strings.ToLower(about), "fan")
	switch strings.ToLower(reading) {
	case "temperature":
		return "temperature", "Cel"
	case "rotational":
		return "fan", "RPM"
	case "voltage":
		return "voltage", "V"
	case "current":
		return "current", "A"
	case "power":
		return "power", "W"
	case "percent":
		if fan {
			return "fan", "%"
		}
		return "other", "%"
	}
	switch unit {
	case "Cel":
		return "temperature", unit
	case "V":
		return "voltage", unit
	case "A":
		return "current", unit
	case "W":
		return "power", unit
	case "RPM", "{rev}/min":
		return "fan", "RPM"
	case "%":
		if fan {
			return "fan", unit
		}
	}
	return "other", clip(unit)
}
