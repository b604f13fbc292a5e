package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/blob"
	"github.com/ingot-metal/ingot/pkg/host"
	"github.com/ingot-metal/ingot/pkg/userdata"
)

// knowsMethod is the problem of a ramdisk that does not have the deploy method; it
// is found before a disk is touched.
func (e *Engine) knowsMethod(ctx context.Context, in Input) *host.Problem {
	method := in.Host.LastTried.Method
	inv, err := e.inventory(ctx, in)
	if err != nil {
		return NewProblem("inspect-failed", nil, "the inventory of this boot cannot be read: "+err.Error())
	}
	if agent.ValidMethod(method) && slices.Contains(inv.Methods, method) {
		return nil
	}
	there := "the ramdisk has no deploy methods"
	if len(inv.Methods) > 0 {
		there = "the ramdisk has " + strings.Join(inv.Methods, ", ")
	}
	return NewProblem("deploy-unknown-method", map[string]string{"host": in.BMH.Name, "method": method},
		fmt.Sprintf("spec.customDeploy.method is %.80q", method), there)
}

// deploy makes the step that runs a method of the ramdisk. What a config drive
// would hold goes to this agent alone.
func (e *Engine) deploy(ctx context.Context, in Input, a host.Action) (*agent.DeployStep, map[string][]byte, *host.Problem) {
	if p := e.knowsMethod(ctx, in); p != nil {
		return nil, nil, p
	}
	c, p := e.choose(ctx, in)
	if p != nil {
		return nil, nil, p
	}
	if err := e.Agents.WaitCalled(ctx, in.Host.Boot.ID, in.Host.Key); err != nil {
		return nil, nil, NewProblem("agent-lost", nil, err.Error())
	}
	report := &userdata.Report{
		URL:  "https://" + net.JoinHostPort(e.Agents.LocalIP(in.Host.Boot.ID), strconv.Itoa(e.HTTPSPort)) + FirstBootPath,
		Host: in.Host.Key, Token: e.CA.Token(FirstBootPurpose(in.BMH)), CA: string(e.CA.CertPEM()),
	}
	if err := e.noWholeDrive(ctx, in); err != nil {
		return nil, nil, userdataProblem(in, err)
	}
	d, err := e.configInput(ctx, in, 0, report)
	if err != nil {
		return nil, nil, userdataProblem(in, err)
	}
	files, err := userdata.Files(d)
	if err != nil {
		return nil, nil, userdataProblem(in, err)
	}
	raw, err := json.Marshal(agent.DeployFiles(files))
	if err != nil {
		return nil, nil, userdataProblem(in, err)
	}
	if len(raw) > agent.MaxConfDrive {
		return nil, nil, NewProblem("userdata-invalid", map[string]string{"host": in.BMH.Name}, fmt.Sprintf("user data, meta data and network data have %d bytes, at most %d are allowed", len(raw), agent.MaxConfDrive))
	}
	digest := string(blob.DigestOf(raw))
	step := &agent.DeployStep{
		Method: in.Host.LastTried.Method, Disk: ref(c.Disk), Files: digest, FilesSize: int64(len(raw)),
		Seconds: int(time.Until(a.Deadline).Seconds()),
	}
	if a.Deadline.IsZero() {
		step.Seconds = 0
	}
	if i := in.Host.LastTried; i.URL != "" {
		step.Image = &agent.DeployImage{URL: i.URL, Checksum: i.Checksum, ChecksumType: i.ChecksumType, Format: i.Format}
	}
	return step, map[string][]byte{digest: raw}, nil
}

// noWholeDrive is the error of a deploy method that is given a whole config drive.
func (e *Engine) noWholeDrive(ctx context.Context, in Input) error {
	whole, err := e.wholeDrive(ctx, in)
	if whole == nil || err != nil {
		return err
	}
	return &userdata.Error{
		Code: userdata.CodeInvalid, Key: keyDrive,
		Message: "a deploy method is given the files of a config drive, not a whole one: give userData, networkData and metaData",
	}
}

// deployProblem shows the last lines that a method printed.
func deployProblem(in Input, msg string) *host.Problem {
	lines := strings.Split(strings.TrimSpace(msg), "\n")
	if n := len(lines); n > 7 {
		lines = append(lines[:1:1], lines[n-6:]...)
	}
	for i, l := range lines {
		lines[i] = l[:min(len(l), 300)]
	}
	return NewProblem("deploy-failed", map[string]string{"host": in.BMH.Name, "method": in.Host.LastTried.Method}, lines...)
}
