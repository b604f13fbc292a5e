package agentapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ingot-metal/ingot/api/agent"
	"github.com/ingot-metal/ingot/pkg/auth"
)

// Claim is an agent's wish to be believed.
type Claim struct {
	Hello   agent.Hello
	KeyHash string
	Remote  netip.Addr
}

// Grant says for whom an agent speaks.
type Grant struct {
	Host  string // namespace/name
	Epoch int64
}

// Boots knows which boots were ordered. Its errors are *Refusal or mean "not
// now".
type Boots interface {
	// Redeem believes a claim, once: it returns after that is recorded. The same
	// key may redeem again, since an answer may be lost.
	Redeem(ctx context.Context, c Claim) (Grant, error)
	// Redeemed finds the host of a boot that this key has redeemed.
	Redeemed(bootID, keyHash string) (Grant, error)
}

// BootFinder is a Boots that finds the boot of an agent which does not name it: it
// came in an ISO that somebody else made.
type BootFinder interface {
	// BootFor finds it by the machine's MACs; empty: there is none.
	BootFor(macs []string) string
}

// Refusal is an answer that an agent acts on: see the codes of agent.Error.
type Refusal struct {
	Code    string
	Message string
	URL     string // of agent.ErrElsewhere
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// Server answers agents. Its fields are set before the first request.
type Server struct {
	CA      *auth.CA
	Boots   Boots
	Now     func() time.Time
	Log     *slog.Logger
	Silence time.Duration // after which an agent counts as lost
	// OnProgress is told of the running step's progress, as often as the agent
	// sends it: ours at most once a second. It must not block.
	OnProgress func(host string, p agent.Progress)
	// Elsewhere is why an agent of a host, known by its certificate, is not served
	// here; nil: it is. May be nil itself.
	Elsewhere func(host string) *Refusal

	mu       sync.Mutex
	sessions map[string]*session
}

// New makes a server that believes what boots says.
func New(ca *auth.CA, boots Boots, now func() time.Time, log *slog.Logger) *Server {
	return &Server{
		CA: ca, Boots: boots, Now: now, Log: log, Silence: 90 * time.Second,
		OnProgress: func(string, agent.Progress) {},
		sessions:   map[string]*session{},
	}
}

// Register adds the agent door to a mux.
func (s *Server) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+agent.PathHello, s.hello)
	mux.HandleFunc("POST "+agent.PathNext, s.next)
	mux.HandleFunc("POST "+agent.PathProgress, s.progress)
	mux.HandleFunc("POST "+agent.PathResult, s.result)
	mux.HandleFunc("GET "+agent.PathSecret+"{digest}", s.secret)
}

func (s *Server) hello(w http.ResponseWriter, r *http.Request) {
	var h agent.Hello
	if !s.read(w, r, &h) {
		return
	}
	if h.Version != agent.Version {
		s.refuse(w, r, &Refusal{Code: agent.ErrVersion, Message: fmt.Sprintf("this server speaks version %d, the agent version %d: reboot to fetch another", agent.Version, h.Version)})
		return
	}
	if finder, ok := s.Boots.(BootFinder); ok && h.BootID == "" && len(h.MACs) <= maxMACs {
		if h.BootID = finder.BootFor(h.MACs); h.BootID == "" {
			s.refuse(w, r, &Refusal{Code: agent.ErrNotArmed, Message: "no boot from an ISO is ordered for a machine with these MAC addresses"})
			return
		}
	}
	if err := checkHello(h); err != nil {
		s.refuse(w, r, &Refusal{Code: agent.ErrBadRequest, Message: err.Error()})
		return
	}
	keyHash, err := auth.KeyHash(h.CSR)
	if err != nil {
		s.refuse(w, r, &Refusal{Code: agent.ErrBadRequest, Message: err.Error()})
		return
	}
	grant, err := s.Boots.Redeem(r.Context(), Claim{Hello: h, KeyHash: keyHash, Remote: remote(r)})
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	der, _, err := s.CA.Agent(h.CSR, grant.Host, h.BootID)
	if err != nil {
		s.refuse(w, r, &Refusal{Code: agent.ErrBadRequest, Message: err.Error()})
		return
	}
	s.session(h.BootID, grant.Host).seen(s.Now(), localIP(r))
	s.answer(w, agent.Welcome{Version: agent.Version, Certificate: der, Now: s.Now(), Host: grant.Host, Epoch: grant.Epoch})
}

// Bounds of a hello; a machine has no more than this.
const (
	maxMACs = 256
	maxCSR  = 4 << 10
	maxID   = 128
)

func checkHello(h agent.Hello) error {
	switch {
	case h.BootID == "" || len(h.BootID) > maxID:
		return fmt.Errorf("bootID has %d bytes: want 1 to %d", len(h.BootID), maxID)
	case len(h.CSR) > maxCSR:
		return fmt.Errorf("csr has %d bytes: want at most %d", len(h.CSR), maxCSR)
	case len(h.MACs) > maxMACs:
		return fmt.Errorf("macs lists %d: want at most %d", len(h.MACs), maxMACs)
	}
	for _, m := range h.MACs {
		if _, err := net.ParseMAC(m); err != nil {
			return fmt.Errorf("macs: %q is no MAC address", m[:min(len(m), 40)])
		}
	}
	return nil
}

// known lets in an agent by its certificate, or answers itself.
func (s *Server) known(w http.ResponseWriter, r *http.Request) (bootID string, g Grant, ses *session, ok bool) {
	bootID, keyHash, ok := s.CA.AgentOf(r.TLS)
	if !ok {
		s.refuse(w, r, &Refusal{Code: agent.ErrBadRequest, Message: "no agent certificate: say hello first"})
		return "", Grant{}, nil, false
	}
	host := s.CA.AgentHost(r.TLS)
	elsewhere := func() error {
		if s.Elsewhere != nil && host != "" {
			if ref := s.Elsewhere(host); ref != nil {
				return ref
			}
		}
		return nil
	}
	if err := elsewhere(); err != nil {
		s.refuse(w, r, err)
		return "", Grant{}, nil, false
	}
	g, err := s.Boots.Redeemed(bootID, keyHash)
	if err != nil {
		// A host that has just gone to another replica is no longer known here as
		// well as there: an agent is sent away by its host's owner alone.
		if lost := elsewhere(); lost != nil {
			err = lost
		}
		s.refuse(w, r, err)
		return "", Grant{}, nil, false
	}
	ses = s.session(bootID, g.Host)
	ses.seen(s.Now(), localIP(r))
	return bootID, g, ses, true
}

func (s *Server) next(w http.ResponseWriter, r *http.Request) {
	_, g, ses, ok := s.known(w, r)
	if !ok {
		return
	}
	var req agent.NextRequest
	if !s.read(w, r, &req) {
		return
	}
	if req.Last != nil {
		ses.deliver(*req.Last)
	}
	ctx, cancel := context.WithTimeout(r.Context(), agent.PollTimeout)
	defer cancel()
	step := ses.next(ctx, req.Running)
	if step == nil {
		step = &agent.Step{Kind: agent.StepWait, Epoch: g.Epoch}
	}
	ses.seen(s.Now(), "")
	s.answer(w, step)
}

func (s *Server) progress(w http.ResponseWriter, r *http.Request) {
	_, g, ses, ok := s.known(w, r)
	if !ok {
		return
	}
	var p agent.Progress
	if !s.read(w, r, &p) {
		return
	}
	p.Detail = strings.ToValidUTF8(p.Detail[:min(len(p.Detail), agent.MaxDetail)], "")
	ses.mu.Lock()
	current := ses.step != nil && ses.step.ID == p.StepID
	ses.mu.Unlock()
	if current {
		s.OnProgress(g.Host, p)
	}
	s.answer(w, struct{}{})
}

func (s *Server) result(w http.ResponseWriter, r *http.Request) {
	_, _, ses, ok := s.known(w, r)
	if !ok {
		return
	}
	var res agent.Result
	if !s.read(w, r, &res) {
		return
	}
	ses.deliver(res)
	s.answer(w, struct{}{})
}

func (s *Server) secret(w http.ResponseWriter, r *http.Request) {
	_, _, ses, ok := s.known(w, r)
	if !ok {
		return
	}
	b, ok := ses.secret(r.PathValue("digest"))
	if !ok {
		s.refuse(w, r, &Refusal{Code: agent.ErrBadRequest, Message: "no such secret in the running step"})
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	// A failed write is the agent's to notice: it knows the length and digest.
	_, _ = w.Write(b)
}

// read decodes a bounded body, or answers itself.
func (s *Server) read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, agent.MaxMessage))
	if err := d.Decode(v); err != nil {
		s.refuse(w, r, &Refusal{Code: agent.ErrBadRequest, Message: "body: " + err.Error()})
		return false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		s.refuse(w, r, &Refusal{Code: agent.ErrBadRequest, Message: "body: more than one value"})
		return false
	}
	return true
}

func (s *Server) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.Log.Debug("answering an agent", "err", err)
	}
}

// statusOf a code is for people with curl; agents read the code.
func statusOf(code string) int {
	switch code {
	case agent.ErrVersion:
		return http.StatusUpgradeRequired
	case agent.ErrNotArmed:
		return http.StatusForbidden
	case agent.ErrGone:
		return http.StatusGone
	case agent.ErrBadRequest:
		return http.StatusBadRequest
	case agent.ErrElsewhere:
		return http.StatusMisdirectedRequest
	}
	return http.StatusServiceUnavailable
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var ref *Refusal
	if !errors.As(err, &ref) {
		ref = &Refusal{Code: agent.ErrRetry, Message: "not now"}
	}
	s.Log.Info("agent refused", "path", r.URL.Path, "remote", r.RemoteAddr, "code", ref.Code, "err", err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf(ref.Code))
	_ = json.NewEncoder(w).Encode(agent.Error{Code: ref.Code, Message: ref.Message, URL: ref.URL})
}

func remote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func localIP(r *http.Request) string {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return host
}
