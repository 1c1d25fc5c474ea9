package testkit

import (
	"net/http/httptest"
	"testing"

	"reseal/internal/test/canned"
)

// Canned is a server of package canned.
type Canned struct {
	// URL is what the client takes as its base endpoint.
	URL string
	*canned.Server
}

// NewCanned starts a server with so many items. It ends with the test.
func NewCanned(t testing.TB, items int) *Canned {
	t.Helper()
	server := &canned.Server{Items: items}
	http := httptest.NewServer(server)
	t.Cleanup(http.Close)
	return &Canned{URL: http.URL, Server: server}
}
