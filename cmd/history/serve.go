package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/component-base/metrics/legacyregistry"

	"retinue.dev/retinue/pkg/history/price"
	"retinue.dev/retinue/pkg/history/store"
	"retinue.dev/retinue/pkg/history/web"
)

// handler of all requests. What site answers depends on who asks; health and metrics name nobody.
func handler(w *watch, site http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(out http.ResponseWriter, _ *http.Request) { fmt.Fprintln(out, "ok") })
	mux.HandleFunc("GET /readyz", func(out http.ResponseWriter, _ *http.Request) {
		if !w.known.Load() {
			http.Error(out, "not all pods have been seen yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(out, "ok")
	})
	mux.Handle("GET /metrics", legacyregistry.Handler())
	mux.Handle("/", site)
	return mux
}

// newSite is the API and the pages.
func newSite(o *options, c *clients, s *store.Store) (http.Handler, error) {
	outside := web.Outside{Store: s, Clock: o.clock, Viewer: everybody}
	if !o.public {
		access, err := newAccess(c.typed)
		if err != nil {
			return nil, err
		}
		outside.Viewer = access.viewer
	}
	if o.prices != "" {
		text, err := os.ReadFile(o.prices)
		if err != nil {
			return nil, err
		}
		if outside.Prices, err = price.Read(text); err != nil {
			return nil, fmt.Errorf("%s: %w", o.prices, err)
		}
	}
	return web.New(outside)
}

// serveHTTP serves until the context ends, with TLS if there is a certificate, which may be replaced while it is in use.
func (o *options) serveHTTP(ctx context.Context, w *watch, site http.Handler) error {
	server := &http.Server{Addr: o.listen, Handler: handler(w, site), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}()
	serve := server.ListenAndServe
	if o.certificate != "" {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.certificate, o.key)
			return &pair, err
		}}
		serve = func() error { return server.ListenAndServeTLS("", "") }
	}
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
