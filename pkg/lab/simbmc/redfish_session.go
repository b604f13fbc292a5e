package simbmc

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"sort"
	"strconv"
	"time"
)

const sessionsPath = "/redfish/v1/SessionService/Sessions"

// session is one Redfish login (DSP0266 §13.3.4).
type session struct {
	id   string
	used time.Time
}

// authorize accepts a session's token or Basic credentials.
func (b *BMC) authorize(r *http.Request) *redfishError {
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		if b.touch(token) {
			return nil
		}
		b.authFailed("token")
		return errUnauthorized()
	}
	username, password, given := r.BasicAuth()
	if !given {
		return errUnauthorized()
	}
	if !b.authentic(username, password) {
		b.authFailed("basic")
		return errUnauthorized()
	}
	return nil
}

// touch says whether the token is of a live session, and keeps it alive.
func (b *BMC) touch(token string) bool {
	if b.faults.get().WrongPassword {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	s := b.sessions[token]
	if s == nil {
		return false
	}
	s.used = b.cfg.Now()
	return true
}

// expire drops idle sessions; b.mu is held.
func (b *BMC) expire() {
	for token, s := range b.sessions {
		if b.cfg.Now().Sub(s.used) > sessionIdle {
			delete(b.sessions, token)
		}
	}
}

// DropSessions ends every Redfish session, as a BMC does when it restarts.
func (b *BMC) DropSessions() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.sessions)
}

// login opens a session. The password is never part of an answer.
func (b *BMC) login(_ context.Context, body obj) reply {
	username, ok := body["UserName"].(string)
	if !ok {
		return reply{err: errMissing("UserName")}
	}
	password, ok := body["Password"].(string)
	if !ok {
		return reply{err: errMissing("Password")}
	}
	if !b.authentic(username, password) {
		b.authFailed("session")
		return reply{err: errUnauthorized()}
	}
	raw := make([]byte, 16)
	if _, err := io.ReadFull(b.cfg.Random, raw); err != nil {
		return reply{err: errInternal(err)}
	}
	token := hex.EncodeToString(raw)

	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	if b.faults.get().SessionsFull || len(b.sessions) >= b.cfg.SessionLimit {
		return reply{err: errSessionsFull()}
	}
	b.logins.Add(1)
	b.nextID++
	s := &session{id: strconv.Itoa(b.nextID), used: b.cfg.Now()}
	b.sessions[token] = s
	return reply{status: http.StatusCreated, body: b.sessionBody(s.id), location: sessionsPath + "/" + s.id, token: token}
}

func (b *BMC) sessionBody(id string) obj {
	return obj{
		"@odata.type": "#Session.v1_7_0.Session",
		"@odata.id":   sessionsPath + "/" + id,
		"Id":          id,
		"Name":        "User Session",
		"UserName":    b.cfg.Username,
		"Password":    nil,
	}
}

// sessionToken finds a session by its id.
func (b *BMC) sessionToken(id string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	for token, s := range b.sessions {
		if s.id == id {
			return token, true
		}
	}
	return "", false
}

func (b *BMC) session(id string) resource {
	return resource{
		get: func(context.Context) reply { return reply{body: b.sessionBody(id)} },
		del: func(context.Context) reply {
			token, ok := b.sessionToken(id)
			if !ok {
				return reply{err: errNotFound(sessionsPath + "/" + id)}
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.sessions, token)
			return reply{}
		},
	}
}

func (b *BMC) sessionList(context.Context) reply {
	b.mu.Lock()
	b.expire()
	var paths []string
	for _, s := range b.sessions {
		paths = append(paths, sessionsPath+"/"+s.id)
	}
	b.mu.Unlock()
	sort.Strings(paths)
	return reply{body: collection(sessionsPath, "#SessionCollection.SessionCollection", "Session Collection", paths...)}
}

func (b *BMC) sessionService(context.Context) reply {
	return reply{body: obj{
		"@odata.type":    "#SessionService.v1_1_9.SessionService",
		"@odata.id":      "/redfish/v1/SessionService",
		"Id":             "SessionService",
		"Name":           "Session Service",
		"ServiceEnabled": true,
		"SessionTimeout": int(sessionIdle / time.Second),
		"Status":         health(),
		"Sessions":       link(sessionsPath),
	}}
}
