package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ingot-metal/ingot/pkg/lab/simbmc"
)

const mediaTimeout = 10 * time.Minute

// InsertMedia fetches the image whole and puts it into the drive.
func (m *Machine) InsertMedia(ctx context.Context, url string) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	path := filepath.Join(m.cfg.Dir, mediaFile)
	fresh := path + ".new"
	if err := m.fetch(ctx, url, fresh); err != nil {
		return errors.Join(fmt.Errorf("insert media: %w", err), removeIfThere(fresh))
	}
	if err := m.eject(ctx); err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("insert media: %w", err)
	}
	if p := m.process(); p != nil {
		if err := insertCD(ctx, p.qmp, path); err != nil {
			return errors.Join(err, removeIfThere(path))
		}
	}
	m.mu.Lock()
	m.media = url
	m.mu.Unlock()
	return nil
}

// EjectMedia empties the drive.
func (m *Machine) EjectMedia(ctx context.Context) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	return m.eject(ctx)
}

// Media says what is in the drive.
func (m *Machine) Media(context.Context) (url string, inserted bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.media, m.media != "", nil
}

func (m *Machine) eject(ctx context.Context) error {
	if _, inserted, _ := m.Media(ctx); !inserted {
		return nil
	}
	if p := m.process(); p != nil {
		// By force: the guest may have locked the tray.
		if err := p.qmp.run(ctx, "eject", object{"id": cdID, "force": true}); err != nil {
			return fmt.Errorf("eject media: %w", err)
		}
	}
	m.mu.Lock()
	m.media = ""
	m.mu.Unlock()
	return removeIfThere(filepath.Join(m.cfg.Dir, mediaFile))
}

func insertCD(ctx context.Context, qmp *qmpClient, path string) error {
	return qmp.run(ctx, "blockdev-change-medium", object{
		"id": cdID, "filename": path, "format": "raw", "read-only-mode": "read-only",
	})
}

// fetch keeps the body of url at path. The URL may hold a secret, so no error
// shows it.
func (m *Machine) fetch(ctx context.Context, url, path string) error {
	ctx, cancel := context.WithTimeout(ctx, mediaTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("the image's URL is malformed")
	}
	resp, err := m.cfg.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("fetch image: %w", errors.Unwrap(err)) // http.Client wraps in url.Error
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch image: %s", resp.Status)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, m.cfg.MaxMediaBytes+1))
	if err == nil && n > m.cfg.MaxMediaBytes {
		err = fmt.Errorf("the image is larger than %d bytes", m.cfg.MaxMediaBytes)
	}
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	return errors.Join(err, f.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

var _ simbmc.Body = (*Machine)(nil)
