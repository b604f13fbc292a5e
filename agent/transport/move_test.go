package transport

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"testing"

	api "github.com/ingot-metal/ingot/api/agent"
)

// Chunks of a step that another replica has taken over come from there.
func TestMove(t *testing.T) {
	body := []byte("chunk")
	sum := sha256.Sum256(body)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) }))
	defer srv.Close()
	tr, err := New("https://127.0.0.1:1,https://127.0.0.1:2", "pin", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	const gone = "http://127.0.0.1:1/"
	buf := make([]byte, len(body))
	if err := tr.Chunk(t.Context(), gone, hex.EncodeToString(sum[:]), buf); err == nil {
		t.Fatal("a chunk came from nowhere")
	}
	tr.Move(api.WriteStep{ChunkBase: gone}, api.WriteStep{ChunkBase: srv.URL + "/"})
	if err := tr.Chunk(t.Context(), gone, hex.EncodeToString(sum[:]), buf); err != nil {
		t.Error(err)
	}
}

func TestDoors(t *testing.T) {
	tr, err := New("https://a:1/,https://b:2", "pin", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := func(want string) {
		t.Helper()
		if got := tr.door().base; got != want {
			t.Errorf("at %s, want %s", got, want)
		}
	}
	at("https://a:1")
	tr.Turn()
	at("https://b:2")
	if err := tr.Follow("https://c:3"); err != nil {
		t.Fatal(err)
	}
	at("https://c:3")
	tr.Turn()
	at("https://b:2")
	for _, bad := range []string{"", "http://a", "https://", "a b"} {
		if err := tr.Follow(bad); err == nil {
			t.Errorf("%q is followed", bad)
		}
		if _, err := New(bad, "pin", nil); err == nil {
			t.Errorf("%q is a server's URL", bad)
		}
	}
	at("https://b:2")
	for range 3 * maxDoors {
		_ = tr.Follow("https://c:" + hex.EncodeToString([]byte{byte(len(tr.doors))}))
	}
	if len(tr.doors) > maxDoors {
		t.Errorf("%d doors are remembered", len(tr.doors))
	}
}
