package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/agent/fault"
	"github.com/ingot-metal/ingot/agent/transport"
	api "github.com/ingot-metal/ingot/api/agent"
)

// Progress is told how far a step is. It is cheap to call: the loop sends at
// most one report a second.
type Progress func(done, total int64, unit, detail string)

// Source hands out what a write step names: each is verified before it is
// returned.
type Source interface {
	// Chunk fills buf with the chunk at base + digest.
	Chunk(ctx context.Context, base, digest string, buf []byte) error
	// Secret fetches what is meant for this host and boot alone.
	Secret(ctx context.Context, digest string, size int64) ([]byte, error)
}

// Devices is the machine. A method stops soon after its context ends. An error
// carries its code by package fault; without one it gets that of the step.
type Devices interface {
	Inspect(ctx context.Context, p Progress) (api.Inventory, error)
	Clean(ctx context.Context, s api.CleanStep, p Progress) (api.CleanResult, error)
	Write(ctx context.Context, s api.WriteStep, src Source, p Progress) (api.WriteResult, error)
	RAID(ctx context.Context, s api.RAIDStep, p Progress) (api.RAIDResult, error)
}

// Deployer is a machine whose ramdisk has deploy methods. Which, Inspect tells.
type Deployer interface {
	Deploy(ctx context.Context, s api.DeployStep, src Source, p Progress) (api.DeployResult, error)
}

// Identity is what the machine says of itself in hello.
type Identity struct {
	MACs      []string
	SMBIOS    string // UUID of SMBIOS type 1
	MemoryMiB int
	Firmware  string // api.FirmwareBIOS or api.FirmwareUEFI
}

// Config of Run. Args, Identity, Devices and Log are required.
type Config struct {
	Args     Args
	Identity Identity
	Devices  Devices
	Log      *slog.Logger
	Build    string                                           // version, for people
	Dial     transport.DialFunc                               // nil: the kernel's
	SetClock func(time.Time)                                  // told the server's time at hello; nil: nobody
	Sleep    func(ctx context.Context, d time.Duration) error // nil: real time
}

// End says how the machine is to end.
type End struct {
	Reboot bool // otherwise: power off
	Reason string
}

// Ending a conversation, and how often a call may be called bad before the agent
// gives up.
const (
	maxBadRequests = 5
	goodbyeTries   = 5
	firstPause     = 250 * time.Millisecond
	longestPause   = 15 * time.Second
	// longestRefused is for a server that answers "not now": the host is on its way
	// from one replica to another.
	longestRefused = 3 * time.Second
)

// Run holds the whole conversation. It returns how the machine is to end, or an
// error when ctx ended or the agent cannot work at all (then the machine is best
// powered off, after a person could read why). Servers that do not answer are
// asked for ever: their restart is normal.
func Run(ctx context.Context, c Config) (End, error) {
	if err := c.Args.check(); err != nil {
		return End{}, fmt.Errorf("kernel arguments: %w", err)
	}
	t, err := transport.New(c.Args.URL, c.Args.CAPin, c.Dial)
	if err != nil {
		return End{}, err
	}
	defer t.Close()
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	l := &loop{Config: c, t: t, results: map[string]api.Result{}}
	defer l.abandon()
	for {
		end, err := l.turn(ctx)
		if end != nil {
			return *end, nil
		}
		if ctx.Err() != nil {
			return End{}, ctx.Err()
		}
		if err == nil {
			l.failures = 0
			continue
		}
		if end := l.refused(err); end != nil {
			return *end, nil
		}
		if err := l.pause(ctx, err); err != nil {
			return End{}, err
		}
	}
}

// loop is the state of a conversation. Only Run's goroutine touches it.
type loop struct {
	Config
	t        *transport.Transport
	welcomed bool
	renew    time.Time             // when to say hello again, by our own clock
	epoch    int64                 // highest seen
	running  *task                 // nil: nothing runs
	last     *api.Result           // not acknowledged yet
	results  map[string]api.Result // of every step of this boot
	failures int
	bad      int
}

// turn makes one call and acts on the answer.
func (l *loop) turn(ctx context.Context) (*End, error) {
	if !l.welcomed || time.Now().After(l.renew) {
		return nil, l.hello(ctx)
	}
	if l.running != nil && l.running.finished.Err() != nil {
		l.finish(l.running.result)
	}
	req := api.NextRequest{Last: l.last}
	pollCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.running != nil {
		req.Running = l.running.step.ID
		// A poll may wait half a minute: the result of the step shall not.
		defer context.AfterFunc(l.running.finished, cancel)()
	}
	began := time.Now()
	step, err := l.t.Next(pollCtx, req)
	if err != nil {
		if l.running != nil && l.running.finished.Err() != nil && ctx.Err() == nil {
			return nil, nil
		}
		return nil, err
	}
	l.last, l.bad = nil, 0
	again := l.known(step)
	end := l.take(ctx, step)
	if end == nil && again && time.Since(began) < time.Second {
		// A server that repeats itself at once is not to be spun on.
		return nil, l.Sleep(ctx, time.Second)
	}
	return end, nil
}

// known tells whether an answer brings nothing new.
func (l *loop) known(s api.Step) bool {
	_, done := l.results[s.ID]
	return s.Kind == api.StepWait || done || l.running != nil && l.running.step.ID == s.ID
}

func (l *loop) hello(ctx context.Context) error {
	w, err := l.t.Hello(ctx, api.Hello{
		Version: api.Version, BootID: l.Args.BootID, MACs: l.Identity.MACs, SMBIOS: l.Identity.SMBIOS,
		MemoryMiB: l.Identity.MemoryMiB, Firmware: l.Identity.Firmware, Build: l.Build,
	})
	if err != nil {
		return err
	}
	if w.Version != api.Version {
		return &transport.Refusal{Code: api.ErrVersion, Message: fmt.Sprintf("the server speaks version %d, this agent version %d", w.Version, api.Version)}
	}
	if l.SetClock != nil {
		l.SetClock(w.Now)
	}
	// Half a life from now. Agents' certificates live for a day.
	l.renew = time.Now().Add(l.t.Life(w.Now) / 2)
	l.welcomed, l.epoch = true, max(l.epoch, w.Epoch)
	l.Log.Info("the server knows this machine", "host", w.Host)
	return nil
}

// take acts on a step.
func (l *loop) take(ctx context.Context, s api.Step) *End {
	if s.Kind == api.StepWait {
		return nil
	}
	if r, done := l.results[s.ID]; done {
		l.last = &r
		return nil
	}
	if l.running != nil && l.running.step.ID == s.ID {
		l.epoch = max(l.epoch, s.Epoch)
		if from := l.running.step.Write; from != nil && s.Write != nil {
			l.t.Move(*from, *s.Write) // by another replica, which serves it itself
		}
		return nil
	}
	if s.Epoch < l.epoch {
		l.refuse(s, "epoch %d is over: %d was seen", s.Epoch, l.epoch)
		return nil
	}
	l.epoch = s.Epoch
	if l.running != nil {
		// The server has changed its mind; it is the one that decides.
		l.Log.Info("step replaced", "step", l.running.step.ID, "kind", l.running.step.Kind, "by", s.Kind)
		l.abandon()
	}
	l.Log.Info("step begins", "step", s.ID, "kind", s.Kind)
	switch s.Kind {
	case api.StepReboot, api.StepPowerOff:
		l.goodbye(ctx, s)
		return &End{Reboot: s.Kind == api.StepReboot, Reason: "the server asked for it"}
	case api.StepInspect:
		l.start(ctx, s, fault.InspectFailed, func(ctx context.Context, p Progress, r *api.Result) error {
			inv, err := l.Devices.Inspect(ctx, p)
			r.Inventory = &inv
			return err
		})
	case api.StepClean:
		if s.Clean == nil {
			l.refuse(s, "a clean step without its disks")
			return nil
		}
		l.start(ctx, s, fault.CleanFailed, func(ctx context.Context, p Progress, r *api.Result) error {
			res, err := l.Devices.Clean(ctx, *s.Clean, p)
			r.Clean = &res
			return err
		})
	case api.StepWrite:
		if s.Write == nil {
			l.refuse(s, "a write step without its image")
			return nil
		}
		l.start(ctx, s, fault.DiskIO, func(ctx context.Context, p Progress, r *api.Result) error {
			res, err := l.Devices.Write(ctx, *s.Write, l.t, p)
			r.Write = &res
			return err
		})
	case api.StepDeploy:
		d, ok := l.Devices.(Deployer)
		if !ok || s.Deploy == nil {
			l.refuse(s, "a deploy step without its method, or a ramdisk without any")
			return nil
		}
		l.start(ctx, s, fault.DeployFailed, func(ctx context.Context, p Progress, r *api.Result) error {
			res, err := d.Deploy(ctx, *s.Deploy, l.t, p)
			r.Deploy = &res
			return err
		})
	case api.StepRAID:
		if s.RAID == nil {
			l.refuse(s, "a raid step without its volumes")
			return nil
		}
		l.start(ctx, s, fault.RAIDFailed, func(ctx context.Context, p Progress, r *api.Result) error {
			res, err := l.Devices.RAID(ctx, *s.RAID, p)
			r.RAID = &res
			return err
		})
	default:
		l.refuse(s, "unknown kind of step %.40q", s.Kind)
	}
	return nil
}

// task is a running step.
type task struct {
	step     api.Step
	cancel   context.CancelFunc
	finished context.Context // ends when result is set
	result   api.Result
}

func (l *loop) start(ctx context.Context, s api.Step, code string, do func(context.Context, Progress, *api.Result) error) {
	ctx, cancel := context.WithCancel(ctx)
	finished, done := context.WithCancel(context.Background())
	k := &task{step: s, cancel: cancel, finished: finished}
	l.running = k
	rep := newReporter(l.t, l.Log, s.ID)
	go func() {
		defer done()
		stop := rep.start(ctx)
		k.result = guard(s.ID, code, func(r *api.Result) error { return do(ctx, rep.set, r) })
		stop()
	}()
}

// guard runs a step's work. A panic fails the step: as PID 1 it would take the
// machine down, and with it the reason.
func guard(id, code string, do func(*api.Result) error) (r api.Result) {
	r.StepID = id
	defer func() {
		if p := recover(); p != nil {
			r = api.Result{StepID: id, Error: &api.StepError{Code: code, Message: clip(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()), 2000)}}
		}
	}()
	if err := do(&r); err != nil {
		return api.Result{StepID: id, Error: &api.StepError{Code: fault.Code(err, code), Message: clip(err.Error(), 2000)}}
	}
	return r
}

func (l *loop) finish(r api.Result) {
	l.running.cancel()
	l.running = nil
	l.results[r.StepID] = r
	l.last = &r
	if r.Error != nil {
		l.Log.Error("step failed", "step", r.StepID, "code", r.Error.Code, "err", r.Error.Message)
		return
	}
	l.Log.Info("step done", "step", r.StepID)
}

func (l *loop) refuse(s api.Step, format string, args ...any) {
	r := api.Result{StepID: s.ID, Error: &api.StepError{Code: fault.StepRefused, Message: fmt.Sprintf(format, args...)}}
	l.Log.Error("step refused", "step", s.ID, "err", r.Error.Message)
	l.results[s.ID] = r
	l.last = &r
}

// abandon stops the running step and waits until it has let go of the devices.
func (l *loop) abandon() {
	if l.running == nil {
		return
	}
	l.running.cancel()
	<-l.running.finished.Done()
	r := api.Result{StepID: l.running.step.ID, Error: &api.StepError{Code: fault.StepRefused, Message: "replaced by another step"}}
	l.results[r.StepID] = r
	l.running = nil
}

// goodbye says that an ending step is done, a few times: the machine ends
// whether or not the server hears of it.
func (l *loop) goodbye(ctx context.Context, s api.Step) {
	for i := range goodbyeTries {
		err := l.t.Result(ctx, api.Result{StepID: s.ID})
		if _, refused := errors.AsType[*transport.Refusal](err); err == nil || refused {
			return
		}
		if l.Sleep(ctx, firstPause<<i) != nil {
			return
		}
	}
}

// refused turns a refusal into the end it stands for; nil: try again.
func (l *loop) refused(err error) *End {
	r, ok := errors.AsType[*transport.Refusal](err)
	if !ok {
		l.t.Turn() // perhaps another replica answers
		return nil
	}
	switch r.Code {
	case api.ErrElsewhere:
		if err := l.t.Follow(r.URL); err != nil {
			l.Log.Warn("the server names no other door", "err", err)
		}
	case api.ErrVersion:
		return &End{Reboot: true, Reason: r.Error()}
	case api.ErrNotArmed, api.ErrGone:
		return &End{Reason: r.Error()}
	case api.ErrBadRequest:
		// Perhaps our certificate is too old or its CA was replaced.
		l.welcomed = false
		if l.bad++; l.bad >= maxBadRequests {
			return &End{Reason: r.Error()}
		}
	}
	return nil
}

// pause waits between failures: exponential, with jitter so that the agents of
// a rack do not all come back at once.
func (l *loop) pause(ctx context.Context, cause error) error {
	longest := longestPause
	if _, refused := errors.AsType[*transport.Refusal](cause); refused {
		longest = longestRefused
	}
	d := min(firstPause<<min(l.failures, 10), longest)
	l.failures++
	// A server restart takes a second or two and is no news.
	if l.failures == 4 || l.failures%40 == 0 {
		l.Log.Warn("no answer from the server; asking on", "url", l.Args.URL, "tries", l.failures, "err", cause)
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	return errors.Join(l.Sleep(wait, d/2+rand.N(d/2)), ctx.Err())
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// reporter sends the latest progress once a second, if it changed.
type reporter struct {
	t   *transport.Transport
	log *slog.Logger
	mu  sync.Mutex
	now api.Progress
	new bool
}

func newReporter(t *transport.Transport, log *slog.Logger, stepID string) *reporter {
	return &reporter{t: t, log: log, now: api.Progress{StepID: stepID}}
}

func (r *reporter) set(done, total int64, unit, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Done, r.now.Total, r.now.Unit, r.now.Detail = done, total, unit, clip(detail, api.MaxDetail)
	r.new = true
}

// start sends until the returned function is called.
func (r *reporter) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r.mu.Lock()
			p, send := r.now, r.new
			r.new = false
			r.mu.Unlock()
			if !send {
				continue
			}
			// Progress that is lost is replaced by the next.
			if err := r.t.Progress(ctx, p); err != nil {
				r.log.Debug("progress not sent", "err", err)
			}
		}
	}()
	return func() { cancel(); <-done }
}
