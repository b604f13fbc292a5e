package treebmc

import (
	"net/http"
	"path"
	"slices"
)

// addVolume makes a RAID volume (DSP0268 Volume, POST to its collection).
func (s *Server) addVolume(r *request) *answer {
	level := str(r.body["RAIDType"])
	if level == "" {
		level = str(r.body["VolumeType"]) // before Volume v1.3.1
	}
	if level == "" {
		return missingParameter("Volume", "RAIDType")
	}
	drives, _ := sub(r.body, "Links")["Drives"].([]any)
	storage := s.doc(path.Dir(r.key))
	offered, _ := storage["Drives"].([]any)
	known := keysIn(offered)
	var bytes float64
	for _, d := range drives {
		k, drive := s.at(d)
		if drive == nil || len(known) > 0 && !slices.Contains(known, k) {
			return refuse(http.StatusBadRequest, "Base.1.8.ResourceNotFound", "The drive "+k+" is not behind this controller.")
		}
		size, _ := drive["CapacityBytes"].(float64)
		bytes += size
	}
	if asked, ok := r.body["CapacityBytes"].(float64); ok {
		bytes = asked
	}
	volume := obj{
		"@odata.type": "#Volume.v1_8_0.Volume", "Name": r.body["Name"], "RAIDType": level, "CapacityBytes": bytes,
		"Encrypted": false, "Links": obj{"Drives": copied(drives), "Drives@odata.count": len(drives)},
		"Status": obj{"State": "Enabled", "Health": "OK"},
	}
	if s.o.TaskReads > 0 {
		return s.begin("make volume", s.o.TaskReads, func() { s.add(r.key, volume) })
	}
	uri := s.add(r.key, volume)
	return (&answer{status: http.StatusCreated, body: volume}).with("Location", uri)
}
