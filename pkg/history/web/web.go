// Package web is what people and programs read of the history: an API and pages that need no script.
package web

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/history/price"
	"retinue.dev/retinue/pkg/history/store"
)

// Viewer is who asks, and what he may see.
type Viewer struct {
	Name string
	// May tells whether he may list the pods of a namespace; "" means of all.
	May func(ctx context.Context, namespace string) (bool, error)
}

// Outside is what the site uses.
type Outside struct {
	Store *store.Store
	Clock clock.PassiveClock
	// Viewer says who asks. ErrStranger means that nobody knows.
	Viewer func(*http.Request) (Viewer, error)
	Prices price.List
}

// ErrStranger is returned when a request does not say credibly whose it is.
var ErrStranger = errors.New("who are you? A bearer token says it, or a password that is one")

// Site answers requests.
type Site struct {
	outside Outside
	mux     *http.ServeMux
	pages   map[string]*template.Template

	mu sync.Mutex // guards everything below
	// standings are remembered for standingsAge: to count what all pods hold takes a second where there are many.
	standings []store.Standing
	counted   time.Time
}

// standingsAge is how old standings may be.
const standingsAge = 10 * time.Second

//go:embed pages
var files embed.FS

// New makes a site.
func New(outside Outside) (*Site, error) {
	s := &Site{outside: outside, mux: http.NewServeMux(), pages: map[string]*template.Template{}}
	for _, page := range []string{"overview", "apps", "app", "usage"} {
		parsed, err := template.New("frame.html").Funcs(functions).ParseFS(files, "pages/frame.html", "pages/"+page+".html")
		if err != nil {
			return nil, err
		}
		s.pages[page] = parsed
	}
	s.mux.HandleFunc("GET /v1/apps", s.api(s.apps))
	s.mux.HandleFunc("GET /v1/apps/{namespace}/{name}", s.api(s.app))
	s.mux.HandleFunc("GET /v1/queues", s.api(s.queues))
	s.mux.HandleFunc("GET /v1/usage", s.usageAPI)
	s.mux.HandleFunc("GET /openapi.json", func(out http.ResponseWriter, _ *http.Request) { s.file(out, "openapi.json", "application/json") })
	s.mux.HandleFunc("GET /style.css", func(out http.ResponseWriter, _ *http.Request) { s.file(out, "style.css", "text/css; charset=utf-8") })
	s.mux.HandleFunc("GET /{$}", s.page("overview", s.queues))
	s.mux.HandleFunc("GET /apps", s.page("apps", s.apps))
	s.mux.HandleFunc("GET /apps/{namespace}/{name}", s.page("app", s.app))
	s.mux.HandleFunc("GET /usage", s.page("usage", s.usage))
	return s, nil
}

// ServeHTTP answers one request. What pages show was written by anybody: nothing but the site's own style is loaded or run.
func (s *Site) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	for name, value := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
		"Cache-Control":           "no-store",
	} {
		out.Header().Set(name, value)
	}
	s.mux.ServeHTTP(out, in)
}

func (s *Site) file(out http.ResponseWriter, name, kind string) {
	content, err := files.ReadFile("pages/" + name)
	if err != nil {
		http.Error(out, "not here", http.StatusNotFound)
		return
	}
	out.Header().Set("Content-Type", kind)
	_, _ = out.Write(content)
}

// refusal is an error with what to answer.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func refused(status int, text string) error { return refusal{status, text} }

// answer is what a question has for an answer, by who asks.
type answer func(in *http.Request, viewer Viewer) (any, error)

// ask finds out who asks, and asks.
func (s *Site) ask(in *http.Request, of answer) (Viewer, any, error) {
	viewer, err := s.outside.Viewer(in)
	if err != nil {
		return Viewer{}, nil, err
	}
	found, err := of(in, viewer)
	return viewer, found, err
}

// fail answers with an error. What is not the asker's business is logged.
func fail(out http.ResponseWriter, in *http.Request, err error) {
	var refusal refusal
	switch {
	case errors.As(err, &refusal):
		http.Error(out, refusal.text, refusal.status)
	case errors.Is(err, ErrStranger):
		out.Header().Set("WWW-Authenticate", `Basic realm="retinue: any name, and a token for a password", charset="UTF-8"`)
		http.Error(out, ErrStranger.Error(), http.StatusUnauthorized)
	case errors.Is(err, store.ErrNone):
		http.Error(out, "no such application", http.StatusNotFound)
	case errors.Is(err, store.ErrField), errors.Is(err, store.ErrMany):
		http.Error(out, err.Error(), http.StatusBadRequest)
	default:
		klog.FromContext(in.Context()).Error(err, "Request failed", "path", in.URL.Path)
		http.Error(out, "the history cannot answer now", http.StatusServiceUnavailable)
	}
}

func (s *Site) api(of answer) http.HandlerFunc {
	return func(out http.ResponseWriter, in *http.Request) {
		_, found, err := s.ask(in, of)
		if err != nil {
			fail(out, in, err)
			return
		}
		out.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", " ")
		_ = encoder.Encode(found)
	}
}

// frame is what every page shows.
type frame struct {
	Viewer string
	Title  string
	Query  map[string][]string // what was asked for
	Now    int64
	Found  any
}

func (s *Site) page(name string, of answer) http.HandlerFunc {
	titles := map[string]string{"overview": "Overview", "apps": "Applications", "app": "Application", "usage": "Usage"}
	return func(out http.ResponseWriter, in *http.Request) {
		viewer, found, err := s.ask(in, of)
		if refusal := (refusal{}); errors.As(err, &refusal) && refusal.status == http.StatusForbidden {
			found, err = refusal, nil // the page asks for a namespace
		}
		if err != nil {
			fail(out, in, err)
			return
		}
		var text writer
		if err := s.pages[name].Execute(&text, frame{Viewer: viewer.Name, Title: titles[name], Query: in.URL.Query(), Now: s.now(), Found: found}); err != nil {
			fail(out, in, err)
			return
		}
		out.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = out.Write(text)
	}
}

// writer keeps a page until it is whole.
type writer []byte

func (w *writer) Write(text []byte) (int, error) {
	*w = append(*w, text...)
	return len(text), nil
}

func (s *Site) now() int64 { return s.outside.Clock.Now().UnixMilli() }

// maxNamespaces is how many namespaces one request may name.
const maxNamespaces = 50

// namespaces that a request is about: those it names, if the viewer may see each; nil, which means all, if he may see all.
func namespaces(in *http.Request, viewer Viewer) ([]string, error) {
	named := slices.DeleteFunc(slices.Clone(in.URL.Query()["namespace"]), func(name string) bool { return name == "" })
	if len(named) > maxNamespaces {
		return nil, refused(http.StatusBadRequest, "more namespaces than 50: ask for fewer at a time")
	}
	all, err := viewer.May(in.Context(), "")
	if err != nil {
		return nil, err
	}
	if len(named) == 0 && !all {
		return nil, refused(http.StatusForbidden, "you may not list the pods of all namespaces: name yours")
	}
	for _, name := range named {
		if all {
			break
		}
		switch may, err := viewer.May(in.Context(), name); {
		case err != nil:
			return nil, err
		case !may:
			return nil, refused(http.StatusForbidden, "you may not list the pods of this namespace")
		}
	}
	if len(named) == 0 {
		return nil, nil
	}
	return named, nil
}
