package agent

// A custom deploy method is a program of the ramdisk that installs a machine in
// its own way. The kind of step and the list of methods came after version 1 of
// the protocol and did not raise it: an agent that does not know them tells no
// methods, and refuses the step.

// Limits of deploy methods.
const (
	MaxMethods    = 64
	MaxMethodName = 63
)

// ValidMethod reports whether s may name a deploy method: letters, digits, dots,
// dashes and underscores, beginning with a letter or digit. It is a file name and
// never a path.
func ValidMethod(s string) bool {
	if s == "" || len(s) > MaxMethodName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '-' || c == '_'):
		default:
			return false
		}
	}
	return true
}

// DeployStep runs a method of the ramdisk for one disk.
type DeployStep struct {
	Method string `json:"method"`
	// Disk is the only one that the method may write. It is checked as for a
	// write.
	Disk  DiskRef      `json:"disk"`
	Image *DeployImage `json:"image,omitempty"` // spec.image as it was given, if it was
	// Files is the digest of a DeployFiles, fetched from PathSecret; empty: none.
	Files     string `json:"files,omitempty"`
	FilesSize int64  `json:"filesSize,omitempty"`
	// Seconds bound the method's time.
	Seconds int `json:"seconds"`
}

// DeployImage is an image that the method may fetch by itself. Nobody has looked
// at it.
type DeployImage struct {
	URL          string `json:"url"`
	Checksum     string `json:"checksum,omitempty"`
	ChecksumType string `json:"checksumType,omitempty"`
	Format       string `json:"format,omitempty"`
}

// DeployFiles are what a config drive would hold: meta_data.json, and
// network_data.json and user_data if they are given.
type DeployFiles map[string][]byte

// DeployResult says that a method ended well.
type DeployResult struct {
	Disk DiskRef `json:"disk"`
}
