package bmc

import (
	"context"
	"testing"
)

func TestPriority(t *testing.T) {
	ctx := context.Background()
	if got := PriorityOf(ctx); got != Interactive {
		t.Errorf("a call that says nothing has priority %d", got)
	}
	poll := WithPriority(ctx, Background)
	if got := PriorityOf(poll); got != Background {
		t.Errorf("a poll has priority %d", got)
	}
	if got := PriorityOf(WithPriority(poll, Interactive)); got != Interactive {
		t.Errorf("raised: priority %d", got)
	}
}
