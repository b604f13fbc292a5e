package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// uploaded is where a file is after its upload.
type uploaded struct {
	Digest string `json:"digest"` // sha256:HEX or HEX, of the bytes as they were sent
	Size   int64  `json:"size"`
	URL    string `json:"url"`
}

// upload sends bytes to the blob store: POST /blobs/v1.
func (d *doors) upload(ctx context.Context, body io.Reader, size int64) (uploaded, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.https+"/blobs/v1", body)
	if err != nil {
		return uploaded{}, err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := d.http.Do(req)
	if err != nil {
		return uploaded{}, err
	}
	defer resp.Body.Close()
	const limit = 64 << 10
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return uploaded{}, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return uploaded{}, fmt.Errorf("%s: %s", resp.Status, oneLine(strings.TrimSpace(string(answer))))
	}
	var u uploaded
	if err := json.Unmarshal(answer, &u); err != nil {
		return uploaded{}, fmt.Errorf("answer: %w", err)
	}
	u.Digest = strings.TrimPrefix(u.Digest, "sha256:")
	return u, nil
}

// uploadFile sends a local image, with a bar on a terminal, and makes sure that
// what arrived is what was read.
func (a *App) uploadFile(ctx context.Context, d *doors, path string) (uploaded, error) {
	f, err := os.Open(path)
	if err != nil {
		return uploaded{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return uploaded{}, err
	}
	if !info.Mode().IsRegular() {
		return uploaded{}, fmt.Errorf("%s is not a file", path)
	}
	sum := sha256.New()
	body := io.TeeReader(f, sum)
	if a.Terminal {
		p := mpb.NewWithContext(ctx, mpb.WithOutput(a.Err), mpb.WithWidth(100), mpb.WithAutoRefresh())
		bar := p.AddBar(info.Size(),
			mpb.PrependDecorators(decor.Name("upload "+info.Name()+" ")),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
		defer func() { bar.Abort(false); p.Wait() }()
		body = bar.ProxyReader(body)
	}
	u, err := d.upload(ctx, body, info.Size())
	if err != nil {
		return uploaded{}, fmt.Errorf("upload %s: %w", path, err)
	}
	if own := hex.EncodeToString(sum.Sum(nil)); u.Digest != own || u.Size != info.Size() {
		return uploaded{}, fmt.Errorf("upload %s: the server has %d bytes with digest %s, but the file has %d with %s: was it changed meanwhile? Try again",
			path, u.Size, u.Digest, info.Size(), own)
	}
	return u, nil
}

// imageFormat tells qcow2 from everything else by its first bytes.
func imageFormat(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil {
		return "", fmt.Errorf("%s is too short to be an image: %w", path, err)
	}
	switch {
	case bytes.Equal(head, []byte("QFI\xfb")):
		return "qcow2", nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}), bytes.HasPrefix(head, []byte("\xfd7zX")), bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "", nil // compressed: the server looks inside
	}
	return "raw", nil
}
