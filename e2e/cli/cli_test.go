package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metal3 "github.com/metal3-io/baremetal-operator/apis/metal3.io/v1alpha1"
	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-metal/ingot/api/v1alpha1"
	"github.com/ingot-metal/ingot/e2e/rig"
	"github.com/ingot-metal/ingot/pkg/cli"
	"github.com/ingot-metal/ingot/pkg/crd"
	"github.com/ingot-metal/ingot/pkg/kubeapi"
)

// server is the API of this package's tests; each has a namespace of its own.
type server struct {
	client.Client
	kubeconfig string
	spaces     atomic.Int32
}

var shared server

// here is this folder: scripts run in folders of their own.
var here string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	kubeapi.RouteLogs(log)
	var err error
	if here, err = os.Getwd(); err != nil {
		log.Error("where am I", "err", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "ingot") // t.TempDir's may be too long for a socket
	if err != nil {
		log.Error("make a directory", "err", err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s, err := kubeapi.Start(ctx, kubeapi.Options{DataDir: dir, Address: "127.0.0.1:0", NoFsync: true, Log: log})
	if err != nil {
		log.Error("start", "err", err)
		return 1
	}
	defer s.Stop(ctx)
	if err := crd.Install(ctx, s.RESTConfig()); err != nil {
		log.Error("install", "err", err)
		return 1
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, metal3.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			log.Error("scheme", "err", err)
			return 1
		}
	}
	if shared.Client, err = client.New(s.RESTConfig(), client.Options{Scheme: scheme}); err != nil {
		log.Error("client", "err", err)
		return 1
	}
	shared.kubeconfig = s.AdminKubeconfigPath
	return m.Run()
}

// namespace makes a new one.
func namespace() (string, error) {
	name := fmt.Sprintf("test-%d", shared.spaces.Add(1))
	return name, shared.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			ns, err := namespace()
			if err != nil {
				return err
			}
			e.Setenv("KUBECONFIG", shared.kubeconfig)
			e.Setenv("NAMESPACE", ns)
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ingot":  ingot,
			"yes":    yes,
			"put":    put,
			"object": object,
			"ironic": ironic,
		},
	})
}

// ingot [! ]ARGS runs a command line in the script's namespace. In the script's
// words, "! ingot" wants code 1 and "! ingot usage: ARGS" code 2.
func ingot(ts *testscript.TestScript, neg bool, args []string) {
	want := 0
	if neg {
		want = 1
		if len(args) > 0 && args[0] == "usage:" {
			want, args = 2, args[1:]
		}
	}
	runCLI(ts, want, cli.Stdio{In: strings.NewReader("")}, args)
}

// yes WORD ARGS types WORD at the question of a terminal.
func yes(ts *testscript.TestScript, _ bool, args []string) {
	runCLI(ts, 0, cli.Stdio{In: strings.NewReader(args[0] + "\n"), Terminal: true}, args[1:])
}

func runCLI(ts *testscript.TestScript, want int, stdio cli.Stdio, args []string) {
	var out, errOut bytes.Buffer
	stdio.Out, stdio.Err = &out, &errOut
	args = append([]string{"--namespace", ts.Getenv("NAMESPACE")}, args...)
	for i, a := range args {
		if strings.HasPrefix(a, "@") {
			args[i] = ts.MkAbs(a[1:]) // a file: the verbs run in this process
		}
	}
	got := cli.Run(context.Background(), args, ts.Getenv, stdio)
	if _, err := io.Copy(ts.Stdout(), &out); err != nil {
		ts.Fatalf("%v", err)
	}
	text := errOut.String()
	if _, err := io.WriteString(ts.Stderr(), text); err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d: %s", got, want, text)
	}
}

func kind(name string) schema.GroupVersionKind {
	switch name {
	case "Secret":
		return corev1.SchemeGroupVersion.WithKind(name)
	case "BareMetalHost", "HardwareData":
		return metal3.GroupVersion.WithKind(name)
	}
	return v1alpha1.GroupVersion.WithKind(name)
}

// put KIND NAME JSON merges into an object, which is made if it is not there; its
// status too.
func put(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(putObject(ts.Getenv("NAMESPACE"), args[0], args[1], args[2]))
}

func putObject(ns, kindName, name, text string) error {
	ctx := context.Background()
	var patch map[string]any
	if err := json.Unmarshal([]byte(text), &patch); err != nil {
		return err
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind(kindName))
	u.SetName(name)
	u.SetNamespace(ns)
	if err := shared.Get(ctx, client.ObjectKeyFromObject(u), u); client.IgnoreNotFound(err) != nil {
		return err
	} else if err != nil {
		if err := shared.Create(ctx, u); err != nil {
			return err
		}
	}
	if err := shared.Patch(ctx, u.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(text))); err != nil {
		return err
	}
	if _, found := patch["status"]; !found {
		return nil
	}
	return shared.Status().Patch(ctx, u, client.RawPatch(types.MergePatchType, []byte(text)))
}

// object KIND NAME prints an object as indented JSON, with its Secret data in
// clear.
func object(ts *testscript.TestScript, neg bool, args []string) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind(args[0]))
	err := shared.Get(context.Background(), client.ObjectKey{Namespace: ts.Getenv("NAMESPACE"), Name: args[1]}, u)
	if neg {
		if client.IgnoreNotFound(err) != nil || err == nil {
			ts.Fatalf("%s %s is there: %v", args[0], args[1], err)
		}
		return
	}
	ts.Check(err)
	if args[0] == "Secret" {
		var s corev1.Secret
		ts.Check(runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s))
		for k, v := range s.Data {
			fmt.Fprintf(ts.Stdout(), "%s=%s\n", k, v)
		}
		return
	}
	u.SetManagedFields(nil)
	text, err := json.MarshalIndent(u, "", " ")
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), string(text))
}

// running is a verb that goes on while the test plays the controller.
type running struct {
	out, err rig.Buffer
	code     chan int
	stop     context.CancelFunc
}

func start(t *testing.T, ns string, stdio cli.Stdio, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	r := &running{code: make(chan int, 1), stop: stop}
	stdio.Out, stdio.Err = &r.out, &r.err
	if stdio.In == nil {
		stdio.In = strings.NewReader("")
	}
	env := func(k string) string {
		return map[string]string{"KUBECONFIG": shared.kubeconfig, "HOME": "/nonexistent"}[k]
	}
	go func() { r.code <- cli.Run(ctx, append([]string{"--namespace", ns}, args...), env, stdio) }()
	return r
}

func (r *running) wait(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-r.code:
		if got != want {
			t.Fatalf("exit code %d, want %d\n%s%s", got, want, r.out.String(), r.err.String())
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("does not end\n%s%s", r.out.String(), r.err.String())
	}
}

func (r *running) until(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(r.out.String()+r.err.String(), text) {
		select {
		case <-deadline:
			t.Fatalf("%q is not printed:\n%s%s", text, r.out.String(), r.err.String())
		case <-tick.C:
		}
	}
}
