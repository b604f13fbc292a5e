package ironic

// HistoryEntry is one event of a node (1.78).
type HistoryEntry struct {
	UUID      string `json:"uuid"`
	NodeUUID  string `json:"node_uuid"`
	CreatedAt string `json:"created_at"`
	Conductor string `json:"conductor"`
	Severity  string `json:"severity"`
	Event     string `json:"event"`
	EventType string `json:"event_type"`

	User     *string  `json:"user"`
	Project  *string  `json:"project"`         // 1.113
	State    *string  `json:"provision_state"` // 1.115, and those that follow
	Target   *string  `json:"target_provision_state"`
	Duration *float64 `json:"duration"` // in seconds
}
