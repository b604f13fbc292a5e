package kubeapi

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// RouteLogs sends what Kubernetes' libraries log through klog to log, errors as
// warnings and all else as debug: they report as an error what they then retry.
// klog is one per process, so this is called once, before anything that uses it.
func RouteLogs(log *slog.Logger) {
	klog.SetSlogLogger(slog.New(&quietHandler{log.With("part", "kubernetes").Handler()}))
	// Deprecations that our own loopback clients are told about help nobody.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
}

// harmless holds what is logged as an error in every good start or stop.
func harmless(message string) bool {
	for _, part := range []string{
		// etcd, first start and every stop
		"failed to update storage version",
		"setting up serving from embedded etcd",
		// API server: no pods, so no manifests; it makes the namespace a moment
		// after it misses it
		"The manifest file is empty",
		`namespaces "kube-system" not found`,
		// API server and controllers, stop: work that is cut off says so, and the
		// hook that writes RBAC's roles goes on for its thirty seconds
		"http: Server closed",
		"imeout or abort while handling",
		"context canceled",
		"Handler timeout",
		"ost-timeout activity",
		"Unable to sync caches",
		"dependency graph builder sync",
		"Unable to remove peer endpoint leases",
		"unable to initialize clusterroles",
		"unable to reconcile ",
	} {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

func level(isError bool, message string) slog.Level {
	if isError && !harmless(message) {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// quietHandler lowers levels.
type quietHandler struct{ next slog.Handler }

func (h *quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.next.Enabled(ctx, level(l >= slog.LevelError, ""))
}

func (h *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			text += " " + a.Value.String()
		}
		return true
	})
	r.Level = level(r.Level >= slog.LevelError, text)
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h *quietHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return &quietHandler{h.next.WithAttrs(a)}
}

func (h *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{h.next.WithGroup(name)}
}

// zapToSlog is etcd's logger.
type zapToSlog struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// Enabled reports whether somebody reads that level.
func (z *zapToSlog) Enabled(l zapcore.Level) bool {
	return z.log.Enabled(context.Background(), level(l >= zapcore.ErrorLevel, ""))
}

// With adds fields to each entry.
func (z *zapToSlog) With(fields []zapcore.Field) zapcore.Core {
	return &zapToSlog{log: z.log, fields: append(z.fields[:len(z.fields):len(z.fields)], fields...)}
}

// Check takes every entry that is enabled.
func (z *zapToSlog) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if z.Enabled(e.Level) {
		return ce.AddCore(e, z)
	}
	return ce
}

// Write hands an entry on. A fatal entry ends the process after it, as zap has it.
func (z *zapToSlog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	l := level(e.Level >= zapcore.ErrorLevel, e.Message)
	if e.Level >= zapcore.DPanicLevel {
		l = slog.LevelError // the last words of this process
	}
	if !z.log.Enabled(context.Background(), l) {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range z.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	z.log.LogAttrs(context.Background(), l, e.Message, attrs...)
	return nil
}

// Sync has nothing to do.
func (*zapToSlog) Sync() error { return nil }
