package ironic

// Step is one entry of clean_steps, deploy_steps or service_steps, and of a runbook.
type Step struct {
	Interface string `json:"interface"`
	Step      string `json:"step"`
	Args      Object `json:"args,omitempty"`
	// Priority orders deploy steps, the highest first; Order those of a runbook, the
	// lowest first.
	Priority *int `json:"priority,omitempty"`
	Order    *int `json:"order,omitempty"`
}
