// Command demo-os is the init of ingot's demo image: the smallest operating
// system that reads its config drive. It takes the host name and SSH keys it was
// given, says them on the serial console, reports home if its meta data says
// where, then idles until the power button.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/ingot-metal/ingot/agent/bare"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "demo-os is the init of the demo image; it is not run by hand")
		os.Exit(2)
	}
	log := slog.New(bare.NewConsole("ingot-demo", os.Stdout))
	if err := run(context.Background(), log); err != nil {
		log.Error("first boot failed", "err", err)
	}
	// Idle. The power button's goroutine ends it; PID 1 must not.
	for {
		time.Sleep(time.Hour)
	}
}

func run(ctx context.Context, log *slog.Logger) error {
	if err := bare.Mount(log); err != nil {
		return err
	}
	bare.QuietKernel()
	go bare.PowerButton(ctx, log, func() { bare.Halt(false) })
	if _, err := bare.LoadModules("/modules", "/sys", log); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// Disks may still be appearing: what counts is the drive, not the disk.
	found := bare.WaitFor(wait, func() []string { return configDrives("/dev", "/sys") })
	if len(found) == 0 {
		return errors.New("no config drive: no partition or disk is labelled config-2")
	}
	m, err := read(found[0])
	if err != nil {
		return fmt.Errorf("config drive on %s: %w", found[0], err)
	}
	name := m.Hostname
	if name == "" {
		name = m.Name
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	keys := m.keys()
	if err := writeKeys("/root/.ssh", keys); err != nil {
		return err
	}
	got, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Printf("ingot-demo: hostname=%s uuid=%s ssh-key=%s\r\n", got, m.UUID, describe(keys))
	return report(ctx, log, m.Ingot, got, describe(keys))
}

// metaData is openstack/latest/meta_data.json as far as it is used here.
type metaData struct {
	UUID       string            `json:"uuid"`
	Name       string            `json:"name"`
	Hostname   string            `json:"hostname"`
	PublicKeys map[string]string `json:"public_keys"`
	Ingot      *home             `json:"ingot"`

	authorized []string // of the user data
}

// home is where the system says that it is up (pkg/userdata.Report).
type home struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	Host  string `json:"host"`
	CA    string `json:"ca"`
}

func (m metaData) keys() (out []string) {
	for _, k := range m.PublicKeys {
		out = append(out, strings.TrimSpace(k))
	}
	sort.Strings(out)
	return append(out, m.authorized...)
}

// authorizedKeys are those that a cloud-config lists for the default user.
func authorizedKeys(user []byte) []string {
	var cfg struct {
		Keys []string `yaml:"ssh_authorized_keys"`
	}
	// Other user data than a cloud-config is not for this system.
	if !bytes.HasPrefix(user, []byte("#cloud-config")) || yaml.Unmarshal(user, &cfg) != nil {
		return nil
	}
	return cfg.Keys
}

// maxFile bounds what is read from the drive.
const maxFile = 8 << 20

// read mounts the drive and takes what is on it.
func read(dev string) (m metaData, err error) {
	const dir = "/run/config"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, err
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	err = unix.Mount(dev, dir, "iso9660", flags, "")
	if err != nil {
		err = unix.Mount(dev, dir, "vfat", flags, "")
	}
	if err != nil {
		return m, fmt.Errorf("mounting: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(dir, 0)) }()
	b, err := small(filepath.Join(dir, "openstack/latest/meta_data.json"))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("meta_data.json: %w", err)
	}
	user, err := small(filepath.Join(dir, "openstack/latest/user_data"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	m.authorized = authorizedKeys(user)
	return m, err
}

func small(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes: want at most %d", path, st.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// configDrives are the block devices with that label, partitions before disks.
func configDrives(dev, sys string) (out []string) {
	var all []string
	for _, pattern := range []string{"block/*/*/partition", "block/*/dev"} {
		m, err := filepath.Glob(filepath.Join(sys, pattern))
		if err != nil {
			continue
		}
		all = append(all, m...)
	}
	for _, f := range all {
		path := filepath.Join(dev, filepath.Base(filepath.Dir(f)))
		if label(path) == "config-2" {
			out = append(out, path)
		}
	}
	return out
}

// label reads the volume name of ISO 9660 (ECMA-119 8.4.7) or FAT (its
// specification, 3.1 to 3.3).
func label(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 40<<10)
	n, err := f.ReadAt(b, 0)
	if err != nil && n < 512 {
		return ""
	}
	b = b[:n]
	if len(b) >= 0x8048 && string(b[0x8001:0x8006]) == "CD001" {
		return strings.ToLower(strings.TrimRight(string(b[0x8028:0x8048]), " \x00"))
	}
	for _, at := range []int{43, 71} { // FAT12 and FAT16, FAT32
		if string(b[at+11:at+14]) == "FAT" {
			return strings.ToLower(strings.TrimRight(string(b[at:at+11]), " \x00"))
		}
	}
	return ""
}

func writeKeys(dir string, keys []string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "authorized_keys"), []byte(strings.Join(keys, "\n")+"\n"), 0o600)
}

// describe is the fingerprint of the first key, as ssh-keygen -l prints it.
func describe(keys []string) string {
	if len(keys) == 0 {
		return "none"
	}
	f := strings.Fields(keys[0])
	if len(f) < 2 {
		return "unreadable"
	}
	blob, err := base64.StdEncoding.DecodeString(f[1])
	if err != nil {
		return "unreadable"
	}
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// report tells home that the system is up, over TLS that its config drive tells
// how to trust.
func report(ctx context.Context, log *slog.Logger, to *home, name, key string) error {
	if to == nil || to.URL == "" {
		return nil
	}
	if err := bare.Network(ctx, "", log); err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(to.CA)) {
		return errors.New("reporting home: the config drive's ca is no certificate")
	}
	body, err := json.Marshal(map[string]any{"host": to.Host, "token": to.Token, "hostname": name, "sshKeys": []string{key}})
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		status, err := post(ctx, client, to.URL, body)
		// A server that restarts is asked again; any answer of its own is final.
		if err == nil && status < http.StatusInternalServerError {
			log.Info("reported home", "status", status)
			return nil
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return fmt.Errorf("reporting home: %w", errors.Join(err, ctx.Err()))
		}
	}
}

func post(ctx context.Context, c *http.Client, url string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
