package redfish

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/ingot-metal/ingot/pkg/bmc"
)

// oldSensor is an element of the arrays of DSP0268 Thermal and Power.
type oldSensor struct {
	Name    text      `json:"Name"`
	FanName text      `json:"FanName"` // before Thermal v1.1
	Status  condition `json:"Status"`
	Celsius quantity  `json:"ReadingCelsius"`
	Volts   quantity  `json:"ReadingVolts"`
	Watts   quantity  `json:"PowerConsumedWatts"`
	Input   quantity  `json:"PowerInputWatts"`
	Output  quantity  `json:"PowerOutputWatts"`
	Last    quantity  `json:"LastPowerOutputWatts"` // before Power v1.5
	Reading quantity  `json:"Reading"`
	Unit    text      `json:"ReadingUnits"`
}

func (o oldSensor) name() text {
	if o.Name == "" {
		return o.FanName
	}
	return o.Name
}

// oldSensors reads Thermal and Power, which DSP0268 deprecated in 2020 and most
// BMCs have.
func (s *System) oldSensors(ctx context.Context, op string, c enclosure) ([]bmc.Sensor, error) {
	var out []bmc.Sensor
	for _, uri := range []link{c.Thermal, c.Power} {
		if uri == "" {
			continue
		}
		a, err := s.e.get(ctx, op, string(uri), &struct{}{})
		if err == nil {
			out = append(out, decodeOldSensors(a.body)...)
		} else if !passable(err) {
			return out, err
		}
	}
	return out, nil
}

func decodeOldSensors(body []byte) []bmc.Sensor {
	var doc struct {
		Temperatures list[oldSensor] `json:"Temperatures"`
		Fans         list[oldSensor] `json:"Fans"`
		Voltages     list[oldSensor] `json:"Voltages"`
		Control      list[oldSensor] `json:"PowerControl"`
		Supplies     list[oldSensor] `json:"PowerSupplies"`
	}
	if lenient(json.Unmarshal(body, &doc)) != nil {
		return nil
	}
	var out []bmc.Sensor
	for _, o := range doc.Temperatures {
		out = append(out, newSensor(o.name(), "temperature", "Cel", o.Celsius, o.Status))
	}
	for _, o := range doc.Fans {
		unit := "RPM"
		if strings.EqualFold(string(o.Unit), "Percent") {
			unit = "%"
		}
		out = append(out, newSensor(o.name(), "fan", unit, o.Reading, o.Status))
	}
	for _, o := range doc.Voltages {
		out = append(out, newSensor(o.name(), "voltage", "V", o.Volts, o.Status))
	}
	for _, o := range doc.Control {
		if o.Watts.known {
			out = append(out, newSensor(o.name(), "power", "W", o.Watts, o.Status))
		}
	}
	for _, o := range doc.Supplies {
		watts := o.Input
		for _, other := range []quantity{o.Output, o.Last} {
			if !watts.known {
				watts = other
			}
		}
		out = append(out, newSensor(o.name(), "power", "W", watts, o.Status))
	}
	return out
}

// excerpt is a sensor's reading inside another resource (DSP0268 Sensor excerpts).
type excerpt struct {
	Name    text     `json:"DeviceName"`
	Reading quantity `json:"Reading"`
	RPM     quantity `json:"SpeedRPM"`
}

// environment reads what BMCs without sensors and without the old resources
// have: EnvironmentMetrics, or else the metrics and fans of ThermalSubsystem.
func (s *System) environment(ctx context.Context, op string, c enclosure) ([]bmc.Sensor, error) {
	if c.Metrics != "" {
		var m struct {
			Temperature excerpt       `json:"TemperatureCelsius"`
			Power       excerpt       `json:"PowerWatts"`
			Fans        list[excerpt] `json:"FanSpeedsPercent"`
		}
		if _, err := s.e.get(ctx, op, string(c.Metrics), &m); err != nil && !passable(err) {
			return nil, err
		}
		var out []bmc.Sensor
		if m.Temperature.Reading.known {
			out = append(out, newSensor("Temperature", "temperature", "Cel", m.Temperature.Reading, condition{}))
		}
		if m.Power.Reading.known {
			out = append(out, newSensor("Power", "power", "W", m.Power.Reading, condition{}))
		}
		for _, f := range m.Fans {
			out = append(out, f.fan(f.Name, condition{}))
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	if c.Cooling == "" {
		return nil, nil
	}
	return s.cooling(ctx, op, string(c.Cooling))
}

// fan prefers revolutions to percent.
func (x excerpt) fan(name text, c condition) bmc.Sensor {
	if x.RPM.known {
		return newSensor(name, "fan", "RPM", x.RPM, c)
	}
	return newSensor(name, "fan", "%", x.Reading, c)
}

func (s *System) cooling(ctx context.Context, op, uri string) ([]bmc.Sensor, error) {
	var sub struct {
		Fans    link `json:"Fans"`
		Metrics link `json:"ThermalMetrics"`
	}
	if _, err := s.e.get(ctx, op, uri, &sub); err != nil {
		return nil, err
	}
	var out []bmc.Sensor
	if sub.Metrics != "" {
		var m struct {
			Readings list[excerpt] `json:"TemperatureReadingsCelsius"`
		}
		if _, err := s.e.get(ctx, op, string(sub.Metrics), &m); err != nil && !passable(err) {
			return nil, err
		}
		for _, r := range m.Readings {
			out = append(out, newSensor(r.Name, "temperature", "Cel", r.Reading, condition{}))
		}
	}
	if sub.Fans == "" {
		return out, nil
	}
	all, err := s.e.gather(ctx, op, string(sub.Fans), maxSensors, singleSensors)
	if err != nil && !passable(err) {
		return out, err
	}
	for _, m := range all.members {
		var fan struct {
			Name   text      `json:"Name"`
			Speed  excerpt   `json:"SpeedPercent"`
			Status condition `json:"Status"`
		}
		if lenient(json.Unmarshal(m.body, &fan)) == nil && fan.Name != "" {
			out = append(out, fan.Speed.fan(fan.Name, fan.Status))
		}
	}
	return out, nil
}
