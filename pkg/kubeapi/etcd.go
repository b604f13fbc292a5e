package kubeapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// maxSocketPath is sun_path without its final zero (unix(7)).
const maxSocketPath = 107

// startEtcd returns once etcd answers on its Unix socket. It listens on no TCP
// port.
func startEtcd(ctx context.Context, data string, o Options, log *slog.Logger) (e *embed.Etcd, socketDir, client string, err error) {
	dir := filepath.Join(data, "etcd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", "", fmt.Errorf("make etcd's directory: %w", err)
	}
	if err := dropUnborn(dir, log); err != nil {
		return nil, "", "", err
	}
	socketDir, err = makeSocketDir(data, o.RuntimeDir)
	if err != nil {
		return nil, "", "", err
	}
	client = filepath.Join(socketDir, "client")
	peer := url.URL{Scheme: "unix", Path: filepath.Join(socketDir, "peer")}
	clientURL := url.URL{Scheme: "unix", Path: client}

	cfg := embed.NewConfig()
	cfg.Name = "ingot"
	cfg.Dir = dir
	cfg.ListenClientUrls = []url.URL{clientURL}
	cfg.AdvertiseClientUrls = []url.URL{clientURL}
	cfg.ListenPeerUrls = []url.URL{peer}
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.EnableGRPCGateway = false
	cfg.QuotaBackendBytes = 8 << 30
	// A single member elects itself: it need not wait for others to speak first.
	cfg.TickMs = 10
	cfg.ElectionMs = 100
	cfg.UnsafeNoFsync = o.NoFsync
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&zapToSlog{log: log.With("part", "etcd")}))

	e, err = embed.StartEtcd(cfg)
	if err != nil {
		_ = os.RemoveAll(socketDir)
		return nil, "", "", fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, socketDir, client, nil
	case err = <-e.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	// One that never was ready may not end either: the process does.
	closed := make(chan struct{})
	go func() { e.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
	}
	_ = os.RemoveAll(socketDir)
	return nil, "", "", fmt.Errorf("wait for etcd: %w", err)
}

// makeSocketDir gives a fresh directory that only we may enter, with a path
// short enough for a socket. We hold the lock on data, so whatever is there is
// stale.
func makeSocketDir(data, runtimeDir string) (string, error) {
	dir := filepath.Join(data, "run")
	if len(filepath.Join(dir, "client")) > maxSocketPath {
		if runtimeDir == "" {
			runtimeDir = os.TempDir()
		}
		// The same name for the same data directory, so that what a killed
		// process left is found again.
		dir = filepath.Join(runtimeDir, fmt.Sprintf("ingot-%d-%x", os.Getuid(), sha256.Sum256([]byte(data)))[:32])
	}
	info, err := os.Lstat(dir)
	if err == nil {
		// In a directory that others may write to, the name may be a trap.
		if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Getuid() {
			return "", fmt.Errorf("%s is not ours: remove it, or choose another runtime directory", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("remove stale sockets: %w", err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("look for stale sockets: %w", err)
	}
	// Mkdir, not MkdirAll: it fails if somebody was quicker.
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the socket directory: %w", err)
	}
	return dir, nil
}
