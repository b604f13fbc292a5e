package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/lab"
	"github.com/ingot-metal/ingot/pkg/serve"
)

func labCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Emulated machines to try everything on, without root",
		Example: `  ingot lab up                                # two QEMU machines
  ingot lab up --machines 20 --simulated      # twenty pretended ones
  ingot lab ls
  ingot lab down`,
	}
	cmd.AddCommand(labUpCommand(a), labDownCommand(a), labListCommand(a))
	return cmd
}

// labOptions of lab up.
type labOptions struct {
	lab.Config
	dataDir    string
	bootFiles  string
	provision  string
	noWait     bool
	firstBoot  bool
	kubeconfig string // of the API that the machines are enrolled into
}

func labUpCommand(a *cli.App) *cobra.Command {
	o := &labOptions{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a lab and enrol its machines",
		Long: `Start emulated machines with Redfish and IPMI faces and enrol them. It runs in the
foreground: Ctrl-C is lab down. When no control plane is found, it starts one of its
own. The machines' disks and consoles lie in DATA/lab.

A control plane is used only if it is an embedded one, or if --kubeconfig names it on
the command line: a lab does not enrol into a cluster by accident.`,
		Example: `  ingot lab up --machines 2 --boot-files out
  ingot lab up --machines 20 --simulated --provision pretend`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLab(cmd.Context(), a, cmd, o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Count, "machines", 2, "how many machines")
	f.BoolVar(&o.Simulated, "simulated", false, "pretended machines: real wire protocols, no QEMU")
	f.StringVar(&o.dataDir, "data-dir", a.DataDir(), "data directory; the lab lies in lab below it")
	f.StringVar(&o.bootFiles, "boot-files", "", "directory of kernels and ramdisks, for a control plane that is started here (default: boot in the data directory)")
	f.IntVar(&o.MemoryMiB, "memory", 0, "MiB of a QEMU machine (default 768)")
	f.StringVar(&o.Accel, "accel", "tcg", "QEMU's accelerator; tcg works everywhere")
	f.StringVar(&o.provision, "provision", "", "image file to write to every machine once it is available; with --simulated, `pretend` makes a small one")
	f.BoolVar(&o.firstBoot, "first-boot", false, "with --provision: wait until each installed system reports that it is up (the demo image does)")
	f.BoolVar(&o.noWait, "exit", false, "with --provision: end once every machine is provisioned, instead of at Ctrl-C")
	return cmd
}

// labState is what lab ls and lab down read.
type labState struct {
	PID      int           `json:"pid"`
	Started  time.Time     `json:"started"`
	Machines []lab.Machine `json:"machines"`
}

func statePath(dataDir string) string { return filepath.Join(dataDir, "lab", "lab.json") }

func readState(dataDir string) (labState, error) {
	var st labState
	raw, err := os.ReadFile(statePath(dataDir))
	if errors.Is(err, os.ErrNotExist) {
		return st, fmt.Errorf("no lab runs on %s: start one with ingot lab up", dataDir)
	}
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(raw, &st)
}

func runLab(ctx context.Context, a *cli.App, cmd *cobra.Command, o *labOptions) (err error) {
	dir, err := filepath.Abs(o.dataDir)
	if err != nil {
		return err
	}
	o.dataDir, o.Dir = dir, filepath.Join(dir, "lab")
	if st, err := readState(dir); err == nil && syscall.Kill(st.PID, 0) == nil {
		return fmt.Errorf("a lab runs on %s already (process %d): ingot lab down ends it, --data-dir names another place", dir, st.PID)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer func() {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause // the control plane has ended, whatever else failed by that
		}
	}()
	cfg, stop, err := controlPlane(ctx, a, cmd, o, end)
	if err != nil {
		return err
	}
	defer stop()
	c, err := labClient(cfg)
	if err != nil {
		return err
	}
	if o.BootURL, err = bootDoor(ctx, c); err != nil {
		return err
	}
	l, err := lab.Up(o.Config)
	if err != nil {
		return err
	}
	defer func() {
		if err := errors.Join(l.Close(), os.Remove(statePath(dir))); err != nil {
			fmt.Fprintln(a.Err, "ingot lab:", err)
		}
	}()
	raw, err := json.MarshalIndent(labState{PID: os.Getpid(), Started: a.Now(), Machines: l.Machines}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(statePath(dir), raw, 0o600); err != nil {
		return err
	}
	if err := enrolLab(ctx, c, l); err != nil {
		return err
	}
	if err := showLab(ctx, a, c, o, l); err != nil || o.noWait && o.provision != "" {
		return err
	}
	fmt.Fprintln(a.Err, "the lab runs until Ctrl-C, or ingot lab down")
	<-ctx.Done()
	return nil
}

func labClient(cfg *rest.Config) (client.WithWatch, error) {
	scheme, err := serve.Scheme()
	if err != nil {
		return nil, err
	}
	return client.NewWithWatch(cfg, client.Options{Scheme: scheme})
}

// controlPlane finds an API to enrol into, or starts one as a child; end is called
// if the child ends by itself.
func controlPlane(ctx context.Context, a *cli.App, cmd *cobra.Command, o *labOptions, end context.CancelCauseFunc) (*rest.Config, func(), error) {
	named := cmd.Flags().Changed("kubeconfig")
	cfg, _, err := a.Config()
	if err == nil {
		c, e := labClient(cfg)
		if e != nil {
			return nil, nil, e
		}
		ns := &corev1.Namespace{}
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		e = c.Get(try, client.ObjectKey{Name: "kube-system"}, ns)
		cancel()
		switch {
		case e == nil && (named || ns.Labels["ingot.dev/embedded"] == "true"):
			if o.kubeconfig, e = cmd.Flags().GetString("kubeconfig"); e != nil {
				return nil, nil, e
			}
			return cfg, func() {}, nil
		case named:
			return nil, nil, fmt.Errorf("--kubeconfig: %w", e)
		case e == nil:
			return nil, nil, errors.New("the API that was found is a cluster, not an embedded one: name it with --kubeconfig if the lab's machines shall go there")
		}
	}
	return startServe(ctx, a, o, end)
}

// startServe runs a control plane as a child that ends with the lab.
func startServe(ctx context.Context, a *cli.App, o *labOptions, end context.CancelCauseFunc) (*rest.Config, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	args := []string{
		"serve", "--data-dir", o.dataDir, "--api-address", "127.0.0.1:0", "--rest-address", "127.0.0.1:0",
		"--http-address", "127.0.0.1:0", "--https-address", "127.0.0.1:0", "--metrics-address", "0", "--health-address", "0",
		"--log-level", "warn", "--flavour", "vm",
	}
	if o.Simulated && o.bootFiles == "" {
		if err := pretendBootFiles(o); err != nil {
			return nil, nil, err
		}
	}
	if o.bootFiles != "" {
		args = append(args, "--boot-files", o.bootFiles)
	}
	child := exec.Command(self, args...)
	if err := os.MkdirAll(o.dataDir, 0o700); err != nil {
		return nil, nil, err
	}
	logFile, err := os.Create(filepath.Join(o.dataDir, "serve.log"))
	if err != nil {
		return nil, nil, err
	}
	child.Stderr = logFile
	// A Ctrl-C at the terminal is for the lab, which then stops its child.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, nil, errors.Join(err, logFile.Close())
	}
	fmt.Fprintln(a.Err, "no control plane found: starting one in", o.dataDir)
	if err := child.Start(); err != nil {
		return nil, nil, errors.Join(err, logFile.Close())
	}
	ended := make(chan struct{})
	stop := func() {
		end(nil) // from here on its end is what we want
		_ = child.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(20*time.Second, func() { _ = child.Process.Kill() })
		<-ended
		kill.Stop()
		_ = logFile.Close()
	}
	line, err := readyLine(ctx, out)
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = child.Wait() // how it ended is said below
		end(fmt.Errorf("the control plane ended by itself (%s): its log is %s", child.ProcessState, logFile.Name()))
		close(ended)
	}()
	if err != nil {
		stop()
		tail, _ := os.ReadFile(logFile.Name())
		return nil, nil, fmt.Errorf("the control plane did not start: %w\n%s", err, strings.TrimSpace(string(tail)))
	}
	fmt.Fprintln(a.Err, line)
	o.kubeconfig = filepath.Join(o.dataDir, "kubeconfig")
	cfg, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return cfg, stop, nil
}

// readyTimeout bounds a start; a first one takes a few seconds.
const readyTimeout = 90 * time.Second

func readyLine(ctx context.Context, out io.Reader) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	found := make(chan string, 1)
	go func() {
		defer close(found)
		for s := bufio.NewScanner(out); s.Scan(); {
			if strings.HasPrefix(s.Text(), "ingot is ready") {
				found <- s.Text()
				return
			}
		}
	}()
	select {
	case line, ok := <-found:
		if !ok {
			return "", errors.New("it ended before it was ready")
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("it was not ready in time: %w", ctx.Err())
	}
}

func bootDoor(ctx context.Context, c client.Client) (string, error) {
	cm := &corev1.ConfigMap{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "ingot-doors"}, cm); err != nil {
		return "", fmt.Errorf("finding the boot door in ConfigMap kube-system/ingot-doors: %w", err)
	}
	return cm.Data["http"], nil
}

func labDownCommand(a *cli.App) *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "Stop the lab that lab up started",
		Example: "  ingot lab down",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := readState(dataDir)
			if err != nil {
				return err
			}
			if err := syscall.Kill(st.PID, syscall.SIGINT); err != nil {
				return errors.Join(fmt.Errorf("the lab's process %d is gone", st.PID), os.Remove(statePath(dataDir)))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			for syscall.Kill(st.PID, 0) == nil {
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
					return fmt.Errorf("the lab's process %d does not end: %w", st.PID, ctx.Err())
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", a.DataDir(), "data directory of the lab")
	return cmd
}

func labListCommand(a *cli.App) *cobra.Command {
	var dataDir, output string
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the lab's machines",
		Example: "  ingot lab ls\n  ingot lab ls -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			st, err := readState(dataDir)
			if err != nil {
				return err
			}
			switch output {
			case "json":
				e := json.NewEncoder(a.Out)
				e.SetIndent("", "  ")
				return e.Encode(st)
			case "":
			default:
				return cli.Usage("-o %q: want json", output)
			}
			w := printers.GetNewTabWriter(a.Out)
			fmt.Fprintln(w, "NAME\tKIND\tMAC\tBMC\tCONSOLE")
			for _, m := range st.Machines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.Name, m.Kind, m.MAC, m.Address, m.Serial)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", a.DataDir(), "data directory of the lab")
	cmd.Flags().StringVarP(&output, "output", "o", "", "json")
	return cmd
}
