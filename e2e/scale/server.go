package main

import (
	"context"
	"fmt"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// startServer starts the ingot serve that is measured.
func startServer(ctx context.Context, binary, dir, image string) (*rig.Server, error) {
	boot, err := rig.Pretended(dir)
	if err != nil {
		return nil, err
	}
	s, err := rig.NewServer(binary, dir, rig.Ports{}, "--boot-files", boot, "--allow-loopback", image, "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	if err = s.Start(); err == nil {
		err = s.WaitReady(ctx)
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("%s did not start: %w", binary, err)
	}
	return s, nil
}
