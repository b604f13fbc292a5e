package agent

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/ingot-metal/ingot/api/agent"
)

// An agent goes where its host is: to the door that it is sent to, and from one
// that does not answer to the next. What it has finished it tells there.
func TestFollowsItsHost(t *testing.T) {
	var second []string
	caKey, ca := certificate(t, nil, nil, true)
	both := &server{ca: ca, caKey: caKey}
	other := newReplica(t, both, func(path string, body []byte) (int, any) {
		if path != api.PathNext {
			return 200, nil
		}
		var req api.NextRequest
		if err := json.Unmarshal(body, &req); err != nil {
			t.Error(err)
		}
		if req.Last != nil {
			second = append(second, req.Last.StepID)
		}
		return 200, api.Step{ID: "2", Epoch: 6, Kind: api.StepPowerOff}
	})
	calls := 0
	first := newReplica(t, both, func(path string, _ []byte) (int, any) {
		if path != api.PathNext {
			return 200, nil
		}
		if calls++; calls == 1 {
			return 200, api.Step{ID: "1", Epoch: 5, Kind: api.StepInspect}
		}
		return 421, api.Error{Code: api.ErrElsewhere, URL: other.url}
	})
	dead, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "https://" + dead.Addr().String()
	_ = dead.Close()

	c := first.config(&devices{})
	c.Args.URL = gone + "," + first.url
	end, err := run(t, c)
	if err != nil || end.Reboot {
		t.Fatalf("end %+v, %v", end, err)
	}
	if diff := cmp.Diff([]string{"1"}, second); diff != "" {
		t.Error("told to the second replica:", diff)
	}
}

// A door that it is sent to must prove itself as the first has.
func TestElsewhereIsPinned(t *testing.T) {
	stranger := newServer(t, func(string, []byte) (int, any) { t.Error("a stranger is talked to"); return 200, nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	calls := 0
	s := newServer(t, func(path string, _ []byte) (int, any) {
		if path == api.PathHello {
			return 200, nil
		}
		if calls++; calls < 4 {
			return 421, api.Error{Code: api.ErrElsewhere, URL: stranger.url}
		}
		return 200, api.Step{ID: "2", Epoch: 6, Kind: api.StepPowerOff}
	})
	if _, err := Run(ctx, s.config(&devices{})); err != nil {
		t.Error(err)
	}
}

// A step that is handed out again while it runs, by the next owner of the host, goes
// on with what the next owner has.
func TestMoved(t *testing.T) {
	n := 0
	s := newServer(t, func(path string, _ []byte) (int, any) {
		if path != api.PathNext {
			return 200, nil
		}
		switch n++; n {
		case 1:
			return 200, api.Step{ID: "1", Epoch: 5, Kind: api.StepWrite, Write: &api.WriteStep{ChunkBase: "http://127.0.0.1:1/", ConfigDrive: "old"}}
		case 2:
			return 200, api.Step{ID: "1", Epoch: 6, Kind: api.StepWrite, Write: &api.WriteStep{ChunkBase: "http://127.0.0.1:2/", ConfigDrive: "new"}}
		case 3:
			return 200, api.Step{ID: "9", Epoch: 5, Kind: api.StepInspect} // of the owner before
		}
		return 200, api.Step{ID: "2", Epoch: 6, Kind: api.StepPowerOff}
	})
	d := &writer{}
	if _, err := run(t, s.config(d)); err != nil {
		t.Fatal(err)
	}
	if len(d.asked) != 0 {
		t.Errorf("steps of the owner before were run: %v", d.asked)
	}
}

// writer waits until it is told to stop.
type writer struct{ devices }

func (w *writer) Write(ctx context.Context, _ api.WriteStep, _ Source, _ Progress) (api.WriteResult, error) {
	<-ctx.Done()
	return api.WriteResult{}, ctx.Err()
}
