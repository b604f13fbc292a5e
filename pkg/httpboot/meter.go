package httpboot

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// piece is how much is sent under one deadline.
const piece = 1 << 20

// meter counts what is sent and gives every piece of it a deadline of its own.
type meter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration

	status      int
	bytes, size int64 // size is -1 where it was not told
	err         error
}

// Unwrap is for http.ResponseController.
func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// fail answers an error in plain text.
func (m *meter) fail(status int) {
	text := http.StatusText(status) + "\n"
	m.Header().Set("Content-Type", "text/plain; charset=utf-8")
	m.Header().Set("Content-Length", strconv.Itoa(len(text)))
	m.WriteHeader(status)
	_, _ = io.WriteString(m, text)
}

func (m *meter) WriteHeader(status int) {
	if m.status == 0 {
		m.status = status
		m.size = -1
		if n, err := strconv.ParseInt(m.Header().Get("Content-Length"), 10, 64); err == nil {
			m.size = n
		}
		m.extend()
	}
	m.ResponseWriter.WriteHeader(status)
}

func (m *meter) Write(p []byte) (int, error) {
	if m.status == 0 {
		m.WriteHeader(http.StatusOK)
	}
	m.extend()
	n, err := m.ResponseWriter.Write(p)
	m.count(int64(n), err)
	return n, err
}

// ReadFrom keeps the kernel's sendfile within reach: net/http takes it for an *os.File inside of one io.LimitedReader, which is what http.ServeContent sends, so
// that the reader is taken out of its limit and put into a smaller one for each piece.
func (m *meter) ReadFrom(src io.Reader) (total int64, err error) {
	rf, ok := m.ResponseWriter.(io.ReaderFrom)
	limited, isLimited := src.(*io.LimitedReader)
	if !ok || !isLimited {
		return io.Copy(onlyWriter{m}, src)
	}
	if m.status == 0 {
		m.WriteHeader(http.StatusOK)
	}
	for limited.N > 0 {
		m.extend()
		want := min(limited.N, piece)
		n, err := rf.ReadFrom(&io.LimitedReader{R: limited.R, N: want})
		limited.N -= n
		total += n
		m.count(n, err)
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

// onlyWriter hides ReadFrom, so that io.Copy uses Write.
type onlyWriter struct{ io.Writer }

func (m *meter) extend() {
	err := m.control.SetWriteDeadline(time.Now().Add(m.stall)) // the kernel's clock, whatever a test's is
	if err != nil && !errors.Is(err, http.ErrNotSupported) && m.err == nil {
		m.err = err
	}
}

func (m *meter) count(n int64, err error) {
	m.bytes += n
	if m.err == nil {
		m.err = err
	}
}
