package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/console"
)

const (
	// consoleProtocol is what a connection is upgraded to for typing: bytes of the
	// machine one way, bytes for it the other.
	consoleProtocol = "ingot-console"
	// consoleConnect is how long somebody waits for a console to open; SSH's login
	// takes some BMCs half a minute.
	consoleConnect = 45 * time.Second
	// consoleWrite bounds a write to somebody who watches.
	consoleWrite = 30 * time.Second
	// linesBefore are what somebody who comes sees of what was printed before: the
	// prompt that waits.
	linesBefore = 10
	// maxLast lines are answered.
	maxLast = 2000
)

// console streams what a machine prints, or answers with what it printed last.
//
//	GET /console/v1/NAMESPACE/NAME              the stream, until somebody leaves
//	GET /console/v1/NAMESPACE/NAME?last=200     recorded lines, as JSON
//	GET …?last=200&of=failure                   those of the last failed operation
//
// With Upgrade: ingot-console it is the keyboard too, which one may have.
func (o *operators) console(w http.ResponseWriter, r *http.Request) {
	k := types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	typing := strings.EqualFold(r.Header.Get("Upgrade"), consoleProtocol)
	verb := "get"
	if typing {
		verb = "create"
	}
	if !o.allowedOne(w, r, verb, "consoles", k.Namespace, k.Name) {
		return
	}
	if last := r.URL.Query().Get("last"); last != "" {
		o.consoleLast(w, r, k, last)
		return
	}
	if o.owner != nil {
		// A BMC has one console, and the replica that has the host records it.
		if door := o.owner(k); door != "" {
			http.Error(w, "another replica has this host: its console is at "+door+r.URL.Path, http.StatusMisdirectedRequest)
			return
		}
	}
	rec, leave, err := o.consoles.watch(r.Context(), k)
	if err != nil {
		refuseConsole(w, k, err)
		return
	}
	defer leave()
	if err := connected(r.Context(), rec); err != nil {
		refuseConsole(w, k, err)
		return
	}
	if typing {
		o.consoleTyped(w, k, rec)
		return
	}
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/octet-stream")
	_ = show(r.Context(), rec, func(b []byte) error {
		if err := rc.SetWriteDeadline(time.Now().Add(consoleWrite)); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return rc.Flush()
	})
}

// lastLines is the answer to ?last=.
type lastLines struct {
	Host string `json:"host"`
	// Of is "recording", or "failure" with the time and the problem's code.
	Of     string    `json:"of"`
	At     time.Time `json:"at,omitzero"`
	Code   string    `json:"code,omitempty"`
	Status string    `json:"status,omitempty"` // of a recording that goes on
	Lines  []string  `json:"lines"`
}

func (o *operators) consoleLast(w http.ResponseWriter, r *http.Request, k types.NamespacedName, last string) {
	n, err := strconv.Atoi(last)
	if err != nil || n < 1 || n > maxLast {
		http.Error(w, "last: want 1 to "+strconv.Itoa(maxLast)+" lines", http.StatusBadRequest)
		return
	}
	out := lastLines{Host: k.String(), Of: "recording"}
	if r.URL.Query().Get("of") != "failure" {
		var raw []byte
		raw, out.Status = o.consoles.keeper.Tail(k.String(), n)
		out.Lines = console.Lines(raw)
	}
	if len(out.Lines) == 0 {
		p, err := o.consoles.failure(r.Context(), k)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if p != nil {
			out.Of, out.At, out.Code, out.Lines = "failure", p.At, p.Code, p.Lines
		}
	}
	if len(out.Lines) == 0 {
		why := "nothing of its console was recorded"
		if out.Status != "" {
			why += "; the recording is " + out.Status
		}
		http.Error(w, why+": ingot console "+k.Name+" opens it, and the annotation "+console.AnnotationMode+": always has it recorded", http.StatusNotFound)
		return
	}
	out.Lines = out.Lines[max(0, len(out.Lines)-n):]
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// consoleTyped hands out the keyboard. The connection is no longer HTTP's then.
func (o *operators) consoleTyped(w http.ResponseWriter, k types.NamespacedName, rec *console.Recorder) {
	keyboard, err := rec.Writer()
	if err != nil {
		refuseConsole(w, k, err)
		return
	}
	defer keyboard.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	write := func(b []byte) error {
		if err := conn.SetWriteDeadline(time.Now().Add(consoleWrite)); err != nil {
			return err
		}
		_, err := conn.Write(b)
		return err
	}
	if write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+consoleProtocol+"\r\n\r\n")) != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		typed(buffered.Reader, keyboard)
	}()
	_ = show(ctx, rec, write)
	_ = conn.Close() // ends the reading
	_ = keyboard.Close()
	<-done
}

// typed carries characters to the machine until the connection ends. What is typed
// while the console is not connected is lost; that it is not is said on the screen.
func typed(from *bufio.Reader, to io.Writer) {
	b := make([]byte, 1024)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); errors.Is(err, io.ErrClosedPipe) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// connected waits until a console is open, or for the reason why it is not.
func connected(ctx context.Context, rec *console.Recorder) error {
	before := rec.Status()
	ctx, cancel := context.WithTimeout(ctx, consoleConnect)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		switch s := rec.Status(); {
		case s.Connected:
			return nil
		case s.Err != nil && s.Tries != before.Tries:
			return s.Err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if s := rec.Status(); s.Err != nil {
				return s.Err
			}
			return &bmc.Error{Class: bmc.Busy, Op: "open the console", Detail: "the BMC did not open it in " + consoleConnect.String()}
		}
	}
}

// show sends what a machine prints until the context ends, the recording does or
// nobody takes it any more. A console that breaks is said in between.
func show(ctx context.Context, rec *console.Recorder, write func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader := rec.Follow(ctx, linesBefore)
	chunks := make(chan []byte)
	go func() {
		defer close(chunks)
		for {
			b := make([]byte, 8<<10)
			n, err := reader.Read(b)
			if err != nil {
				return
			}
			select {
			case chunks <- b[:n]:
			case <-ctx.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	was, missed := rec.Status().Connected, int64(0)
	if err := write(nil); err != nil { // the headers
		return err
	}
	for {
		select {
		case b, more := <-chunks:
			if !more {
				return write(note("the recording has ended"))
			}
			if m := reader.Missed(); m != missed {
				if err := write(note("%d bytes went by unseen", m-missed)); err != nil {
					return err
				}
				missed = m
			}
			if err := write(b); err != nil {
				return err
			}
		case <-tick.C:
			s := rec.Status()
			if s.Connected == was {
				continue
			}
			was = s.Connected
			if err := write(note("the console is %s", s)); err != nil {
				return err
			}
		}
	}
}

// refuseConsole says why there is no console, and what to do.
func refuseConsole(w http.ResponseWriter, k types.NamespacedName, err error) {
	status, do := http.StatusBadGateway, ""
	var e *bmc.Error
	var dial *net.OpError
	switch {
	case apierrors.IsNotFound(err):
		http.Error(w, "there is no host "+k.String(), http.StatusNotFound)
		return
	case errors.Is(err, console.ErrTaken):
		status, do = http.StatusConflict, "watch it with ingot console "+k.Name+" --read-only"
	case errors.Is(err, console.ErrFull):
		status = http.StatusTooManyRequests
	case errors.As(err, &e):
		switch e.Class {
		case bmc.Unsupported:
			status = http.StatusNotImplemented
			do = "see whether the BMC has a serial console switched on: over IPMI Serial over LAN, over Redfish SSH to the serial console; a Redfish BMC that offers SOL only can be enrolled by its ipmi:// address"
		case bmc.Busy:
			status, do = http.StatusConflict, "end the other session, or try again in a while"
		case bmc.Auth, bmc.Forbidden:
			do = "correct the BMC's Secret, or give its account the right to open the console"
		case bmc.TLSIdentity:
			do = "see who answers at the BMC's address before its key is trusted"
		default:
			do = "ingot explain " + k.Name
		}
	case errors.As(err, &dial):
		do = "ingot explain " + k.Name
	}
	text := err.Error()
	if do != "" {
		text += "; " + do
	}
	http.Error(w, text, status)
}
