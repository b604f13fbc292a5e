package httpboot

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer wraps a handler in a server whose limits suit this door: small headers, no bodies, and no limit on the time of a whole answer, since the handler
// gives each piece of one its own.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second,
		IdleTimeout:       time.Minute, // the agent's chunk connections are kept between chunks
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// OPTIONS * is answered by the handler's own rule, not with 200.
		DisableGeneralOptionsHandler: true,
	}
}
