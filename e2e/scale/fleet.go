package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/lab/fleet"
)

// fleetArg makes this program hold the machines, for another that measures:
//
//	scale fleet BOOT-URL COUNT
//
// The machines are its first line of output, as JSON. After that it answers each
// line of input with one that sums up what was asked of the BMCs so far, and ends
// with its input.
const fleetArg = "fleet"

// machine is what a rack's list would say.
type machine struct{ Name, Address, Username, Password, MAC string }

// asked is what BMCs were asked.
type asked struct {
	First  int64 // of the machines that warm up
	Others int64
	Logins int64 // of all
}

func runFleet(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: scale fleet BOOT-URL COUNT")
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	f, err := fleet.New(fleet.Config{
		Count: count, Seed: 1, BootURL: args[0],
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	defer f.Close()
	enc := json.NewEncoder(out)
	list := make([]machine, 0, count)
	for _, m := range f.Machines() {
		list = append(list, machine{m.Name, m.Address, m.Username, m.Password, m.MAC})
	}
	if err := enc.Encode(list); err != nil {
		return err
	}
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- struct{}{}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, more := <-lines:
			if !more {
				return nil
			}
		}
		var sum asked
		for i, m := range f.Machines() {
			st := m.BMC().Stats()
			sum.Logins += st.Logins
			if i < warmUp {
				sum.First += st.Requests
			} else {
				sum.Others += st.Requests
			}
		}
		if err := enc.Encode(sum); err != nil {
			return err
		}
	}
}

// fleetChild is the other side of runFleet.
type fleetChild struct {
	process  *rig.Process
	machines []machine
	ask      io.WriteCloser
	answers  *json.Decoder
}

func startFleet(ctx context.Context, bootURL string, count int) (*fleetChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, fleetArg, bootURL, strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	c := &fleetChild{}
	if c.ask, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if c.process, err = rig.Start(cmd); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, c.process.Kill)() // which ends what is read
	c.answers = json.NewDecoder(out)
	if err := c.answers.Decode(&c.machines); err != nil {
		c.stop()
		return nil, fmt.Errorf("the fleet of %d machines did not start: %w", count, err)
	}
	return c, nil
}

func (c *fleetChild) stop() { c.process.Stop(20 * time.Second) }

// asked returns what the BMCs were asked so far.
func (c *fleetChild) asked() (asked, error) {
	var a asked
	if _, err := io.WriteString(c.ask, "\n"); err != nil {
		return a, fmt.Errorf("the fleet is gone: %w", err)
	}
	return a, c.answers.Decode(&a)
}
