//go:build e2e

package kill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/e2e/rig"
)

// Phases of what a REST client does.
const (
	restEnrol    = "create a node"
	restPort     = "create a port"
	restPortGone = "delete a port"
	restManage   = "manage"
	restInspect  = "inspect"
	restPatch    = "patch"
	restTraits   = "set traits"
	restProvide  = "provide"
	restAllocate = "create an allocation"
	restRelease  = "delete an allocation"
	restDeploy   = "deploy"
	restPower    = "power"
	restRebuild  = "rebuild"
	restUndeploy = "undeploy"
	restClean    = "clean"
	restDelete   = "delete a node"
)

var restPhases = []string{
	restEnrol, restPort, restPortGone, restManage, restInspect, restPatch, restTraits, restProvide, restAllocate, restRelease,
	restDeploy, restPower, restRebuild, restUndeploy, restClean, restDelete,
}

// longestChange is about as long as a change of several objects takes to be stored.
const longestChange = 30 * time.Millisecond

// restKiller kills the server while REST clients are at work: two times in three just
// after a change was sent, where those are fewest that lost their answer; else whenever.
type restKiller struct {
	s     *rig.Server
	r     *rand.Rand
	kills int
	done  chan struct{} // closed after the last kill, when the server is up again

	requests chan string // phases of changes, as they are sent

	mu     sync.Mutex
	killed int
	in     map[string]int // machines that were in a phase at a kill
	cut    map[string]int // changes whose answer was lost
	now    map[string]string
}

func newRESTKiller(s *rig.Server, r *rand.Rand, kills int) *restKiller {
	return &restKiller{
		s: s, r: r, kills: kills, done: make(chan struct{}), requests: make(chan string),
		in: map[string]int{}, cut: map[string]int{}, now: map[string]string{},
	}
}

// run kills until all kills are spent. The server is up before, and after.
func (k *restKiller) run(ctx context.Context) error {
	defer close(k.done)
	for k.count() < k.kills {
		if err := k.s.WaitReady(ctx); err != nil {
			return err
		}
		k.aim(ctx)
		if err := k.kill(); err != nil {
			return err
		}
		// One time in eight the next start dies early too.
		if k.r.IntN(8) == 0 && k.count() < k.kills {
			if err := k.s.Start(); err != nil {
				return err
			}
			pause(ctx, time.Duration(k.r.Int64N(int64(time.Second))))
			if err := k.kill(); err != nil {
				return err
			}
		}
		if err := k.s.Start(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return k.s.WaitReady(ctx)
}

func (k *restKiller) kill() error {
	if err := k.s.Ended(); err != nil {
		return err
	}
	k.s.Kill()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.killed++
	for _, phase := range k.now {
		k.in[phase]++
	}
	return nil
}

// aim waits until it is time to kill.
func (k *restKiller) aim(ctx context.Context) {
	if k.r.IntN(3) == 0 {
		pause(ctx, time.Duration(k.r.Int64N(int64(1500*time.Millisecond))))
		return
	}
	// Machines make way in between.
	pause(ctx, time.Duration(k.r.Int64N(int64(800*time.Millisecond))))
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		select {
		case phase := <-k.requests:
			if !k.rare(phase) {
				continue
			}
			pause(ctx, time.Duration(k.r.Int64N(int64(longestChange))))
		case <-ctx.Done():
		}
		return
	}
}

// rare reports whether few changes of a phase were cut so far.
func (k *restKiller) rare(phase string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := 0
	for _, n := range k.cut {
		all += n
	}
	return k.cut[phase] <= all/len(restPhases)
}

// sent is told of a change that is on its way, and lost of one that was not answered.
func (k *restKiller) sent(phase string) {
	select {
	case k.requests <- phase:
	default:
	}
}

func (k *restKiller) lost(phase string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut[phase]++
}

// enters notes what a machine is led through.
func (k *restKiller) enters(machine, phase string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now[machine] = phase
}

func (k *restKiller) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.killed
}

// cuts is how many changes lost their answer.
func (k *restKiller) cuts() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := 0
	for _, n := range k.cut {
		all += n
	}
	return all
}

// report is the table of kills by phase.
func (k *restKiller) report() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d kills; machines in the phase then, and changes that lost their answer:\n", k.killed)
	for _, p := range restPhases {
		fmt.Fprintf(&b, "  %-24s %4d %4d\n", p, k.in[p], k.cut[p])
	}
	return b.String()
}
