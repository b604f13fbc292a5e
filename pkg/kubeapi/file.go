package kubeapi

import (
	"fmt"
	"os"
	"path/filepath"
)

const tempMark = ".tmp-"

// writeFile replaces a file whole: after a crash there is the old content or the
// new, never a part.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+tempMark+"*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already if all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// syncDir makes a rename in dir outlive a power cut (fsync(2)).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// removeTemps clears what a killed writeFile left.
func removeTemps(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, ".*"+tempMark+"*"))
	for _, name := range left {
		_ = os.Remove(name)
	}
}
