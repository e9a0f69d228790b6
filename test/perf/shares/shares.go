// Package shares is whose work the samples of a profile are, in a process that holds a scheduler and an API server.
package shares

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Owner is whose work a sample is. A stack belongs to the first owner, in the order below, that any of its frames names:
// what a filter allocates is the scheduler's, and a call that a binding makes is as far as it runs on the binding's goroutine.
type Owner string

// Owners in order. What runs on goroutines of nobody, such as the garbage collector's or a connection's, is not attributed to
// whoever made it necessary.
const (
	Ours        Owner = "ours"
	Upstream    Owner = "upstream scheduler"
	Server      Owner = "API server"
	Test        Owner = "test"
	Controllers Owner = "controllers"
	Clients     Owner = "clients and connections"
	Runtime     Owner = "runtime"
)

// Owners is every owner, in order.
var Owners = []Owner{Ours, Upstream, Server, Test, Controllers, Clients, Runtime}

// prefixes of function names, by owner; Runtime has none, because it is what is left.
var prefixes = map[Owner][]string{
	Ours:        {"retinue.dev/retinue/pkg/"},
	Upstream:    {"k8s.io/kubernetes/pkg/scheduler", "k8s.io/kube-scheduler/", "k8s.io/client-go/tools/events"},
	Server:      {"k8s.io/apiserver/", "k8s.io/kubernetes/pkg/registry/", "k8s.io/kubernetes/pkg/controlplane", "k8s.io/kube-aggregator/", "k8s.io/apiextensions-apiserver/", "go.etcd.io/", "google.golang.org/grpc"},
	Test:        {"retinue.dev/retinue/test/", "k8s.io/kubernetes/test/"},
	Controllers: {"k8s.io/kubernetes/pkg/controller/"},
	Clients:     {"k8s.io/client-go/", "net/http", "golang.org/x/net/", "internal/poll", "k8s.io/apimachinery/"},
}

// Shares is how much of a profile's measure belongs to whom: owner -> nanoseconds or bytes.
type Shares map[Owner]int64

// Scheduler is the share of the scheduler with all its plugins.
func (s Shares) Scheduler() int64 { return s[Ours] + s[Upstream] }

// Total is the sum of all shares.
func (s Shares) Total() int64 {
	var total int64
	for _, share := range s {
		total += share
	}
	return total
}

// Sub is what has been added since an earlier profile.
func (s Shares) Sub(earlier Shares) Shares {
	difference := Shares{}
	for _, owner := range Owners {
		difference[owner] = s[owner] - earlier[owner]
	}
	return difference
}

// Of reads a profile as package runtime/pprof writes it. Counted is the second value of its samples: nanoseconds of a CPU
// profile, bytes of an allocation profile, nanoseconds of waiting of a mutex profile.
func Of(profile []byte) (Shares, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(profile))
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	raw, err := io.ReadAll(unzipped)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	p := parsed{locations: map[uint64][]uint64{}, functions: map[uint64]uint64{}}
	if err := p.read(raw); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	owners := map[uint64]int{} // function -> index into Owners
	for id, name := range p.functions {
		if name >= uint64(len(p.names)) {
			return nil, fmt.Errorf("profile: function %d has name %d of %d", id, name, len(p.names))
		}
		owners[id] = ownerOf(p.names[name])
	}
	shares := Shares{}
	for _, sample := range p.samples {
		owner := len(Owners) - 1
		for _, location := range sample.locations {
			for _, function := range p.locations[location] {
				owner = min(owner, owners[function])
			}
		}
		shares[Owners[owner]] += sample.value
	}
	return shares, nil
}

func ownerOf(function string) int {
	for i, owner := range Owners {
		for _, prefix := range prefixes[owner] {
			if strings.HasPrefix(function, prefix) {
				return i
			}
		}
	}
	return len(Owners) - 1
}

// parsed is what of a profile matters here.
type parsed struct {
	samples   []sample
	locations map[uint64][]uint64 // location -> functions, inlined ones too
	functions map[uint64]uint64   // function -> index of its name
	names     []string
}

type sample struct {
	locations []uint64
	value     int64
}

// read takes a message Profile; the numbers are those of profile.proto.
func (p *parsed) read(message []byte) error {
	return eachField(message, func(number int, _ uint64, body []byte) error {
		switch number {
		case 2:
			var s sample
			var values []uint64
			err := eachField(body, func(number int, value uint64, body []byte) error {
				switch number {
				case 1:
					return eachNumber(value, body, func(v uint64) { s.locations = append(s.locations, v) })
				case 2:
					return eachNumber(value, body, func(v uint64) { values = append(values, v) })
				}
				return nil
			})
			if err == nil && len(values) < 2 {
				err = fmt.Errorf("sample with %d values, want at least 2", len(values))
			}
			if err != nil {
				return err
			}
			s.value = int64(values[1])
			p.samples = append(p.samples, s)
		case 4:
			var id uint64
			var functions []uint64
			err := eachField(body, func(number int, value uint64, body []byte) error {
				switch number {
				case 1:
					id = value
				case 4:
					return eachField(body, func(number int, value uint64, _ []byte) error {
						if number == 1 {
							functions = append(functions, value)
						}
						return nil
					})
				}
				return nil
			})
			p.locations[id] = functions
			return err
		case 5:
			var id, name uint64
			err := eachField(body, func(number int, value uint64, _ []byte) error {
				switch number {
				case 1:
					id = value
				case 2:
					name = value
				}
				return nil
			})
			p.functions[id] = name
			return err
		case 6:
			p.names = append(p.names, string(body))
		}
		return nil
	})
}

var errShort = errors.New("message ends too early")

// eachField goes through the fields of a protobuf message: value of a number, body of everything that has a length.
func eachField(message []byte, f func(number int, value uint64, body []byte) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errShort
		}
		message = message[n:]
		var value uint64
		var body []byte
		switch tag & 7 {
		case 0:
			if value, n = binary.Uvarint(message); n <= 0 {
				return errShort
			}
			message = message[n:]
		case 2:
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)-n) {
				return errShort
			}
			body, message = message[n:n+int(length)], message[n+int(length):]
		default:
			return fmt.Errorf("field of wire type %d, want 0 or 2", tag&7)
		}
		if err := f(int(tag>>3), value, body); err != nil {
			return err
		}
	}
	return nil
}

// eachNumber goes through a repeated number, packed or not.
func eachNumber(value uint64, packed []byte, f func(uint64)) error {
	if packed == nil {
		f(value)
		return nil
	}
	for len(packed) > 0 {
		number, n := binary.Uvarint(packed)
		if n <= 0 {
			return errShort
		}
		f(number)
		packed = packed[n:]
	}
	return nil
}
