package simbmc

import (
	"context"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/types"
)

// locator is the light that helps to find the machine.
type locator struct {
	now func() time.Time

	mu     sync.Mutex
	forced bool
	until  time.Time
}

// state is Get Chassis Status's: off, for a while, for good.
func (l *locator) state() byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.forced:
		return 2
	case l.now().Before(l.until):
		return 1
	}
	return 0
}

// identify is IPMI 2.0 §28.5.
func (l *locator) identify(_ context.Context, _ *handlers.HandlerContext, data []byte) ([]byte, types.CompletionCode, error) {
	seconds := byte(15)
	if len(data) > 0 {
		seconds = data[0]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forced = len(data) > 1 && data[1]&1 != 0
	l.until = l.now().Add(time.Duration(seconds) * time.Second)
	return nil, types.CodeOK, nil
}

// chassisStatus is §28.2. The library's knows nothing of the locator.
func (f *ipmiFace) chassisStatus(ctx context.Context, _ *handlers.HandlerContext, _ []byte) ([]byte, types.CompletionCode, error) {
	on, err := f.b.body.Power(ctx)
	if err != nil {
		return nil, completion(err), nil
	}
	const policyUnknown, locatorKnown = 0x60, 0x40
	power := byte(policyUnknown)
	if on {
		power |= 1
	}
	return []byte{power, 0, locatorKnown | f.locator.state()<<4}, types.CodeOK, nil
}
