package distribution

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"retinue.dev/retinue/test/e2e/image"
)

// Options say what to get and where to keep it.
type Options struct {
	Cache   string    // folder; made when missing
	Version string    // of Spark, for example 4.1.4
	Out     io.Writer // progress; never nil
}

// Distribution is one version of Spark, ready for use.
type Distribution struct {
	Version string
	Home    string // SPARK_HOME on this machine
	Image   string // the name pods use
	Archive string // OCI archive of the image
}

// Places of the examples inside an image, for `spark-submit`.
const (
	PiJar    = "/opt/spark/examples/jars/sparkpi.jar"
	PiClass  = "SparkPi"
	PiPython = "/opt/spark/examples/src/main/python/pi.py"
)

// JavaEnv is the environment variable for JVMs that live for seconds on few processors: the quick compiler only, and a
// collector without threads. It halves the processor time of a small application.
const JavaEnv = "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

const sparkHome = "/opt/spark"

//go:embed files/entrypoint.sh
var entrypoint []byte

var versionForm = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

// parts are the cached files and folders a distribution is made from.
type parts struct {
	Distribution
	base string // a Debian root file system, tar
	pi   string // the SparkPi jar
}

func locate(cache, version string) (parts, error) {
	if !versionForm.MatchString(version) {
		return parts{}, fmt.Errorf("Spark version %q is not of the form 4.1.4", version)
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return parts{}, fmt.Errorf("cache %q: %w", cache, err)
	}
	name := filepath.Join(cache, "spark-"+version+"-")
	// Where the cache is does not matter: it is the same through a link, and in another place.
	p := parts{base: filepath.Join(cache, "debian-"+key(debianArguments...)+".tar")}
	p.Version = version
	p.Image = "retinue.local/spark:" + version
	p.Home = name + key(homeRevision)
	p.pi = name + key(filepath.Base(p.Home), string(piSource)) + ".pi.jar"
	p.Archive = name + key(filepath.Base(p.base), filepath.Base(p.pi), string(entrypoint), JavaEnv) + ".oci.tar"
	return p, nil
}

// Open returns a distribution that Make has made before.
func Open(cache, version string) (Distribution, error) {
	p, err := locate(cache, version)
	if err != nil {
		return Distribution{}, err
	}
	for _, path := range []string{p.Home, p.Archive} {
		if _, err := os.Stat(path); err != nil {
			return Distribution{}, fmt.Errorf("Spark %s is not in the cache: run `make spark-image SPARK_VERSION=%s` first: %w", version, version, err)
		}
	}
	return p.Distribution, nil
}

// Make makes what the cache lacks. It needs root and, when anything is missing, the network.
func Make(ctx context.Context, options Options) (Distribution, error) {
	p, err := locate(options.Cache, options.Version)
	if err != nil {
		return Distribution{}, err
	}
	if options.Cache, err = filepath.Abs(options.Cache); err != nil {
		return Distribution{}, fmt.Errorf("cache %q: %w", options.Cache, err)
	}
	if err := os.MkdirAll(options.Cache, 0o755); err != nil {
		return Distribution{}, fmt.Errorf("cache: %w", err)
	}
	// Both wait for downloads most of the time.
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return once(p.base, func() error { return makeDebian(groupCtx, options, p.base) }) })
	group.Go(func() error {
		if err := once(p.Home, func() error { return makeHome(groupCtx, options, p.Home) }); err != nil {
			return err
		}
		return once(p.pi, func() error { return compilePi(groupCtx, options, p.Home, p.pi) })
	})
	if err := group.Wait(); err != nil {
		return Distribution{}, err
	}
	if err := once(p.Archive, func() error { return makeArchive(options, p) }); err != nil {
		return Distribution{}, err
	}
	return p.Distribution, p.removeOutdated(options)
}

// removeOutdated removes what was made for the same version of Spark from something that has changed since.
func (p parts) removeOutdated(options Options) error {
	found, err := filepath.Glob(filepath.Join(options.Cache, "spark-"+p.Version+"-*"))
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	for _, path := range found {
		if path == p.Home || path == p.pi || path == p.Archive {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	return nil
}

// key names a cached file by what it was made from.
func key(parts ...string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, "\x00"))))[:12]
}

// once runs do unless path exists.
func once(path string, do func() error) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return do()
}

func makeArchive(options Options, p parts) error {
	fmt.Fprintf(options.Out, "spark image: write %s\n", p.Archive)
	script, err := os.CreateTemp(options.Cache, "entrypoint-*.sh")
	if err != nil {
		return fmt.Errorf("entrypoint: %w", err)
	}
	defer os.Remove(script.Name())
	_, err = script.Write(entrypoint)
	if err := errors.Join(err, script.Chmod(0o755), script.Close()); err != nil {
		return fmt.Errorf("entrypoint: %w", err)
	}
	return image.Write(p.Archive, image.Image{
		Name: p.Image,
		Layers: []image.Layer{
			image.TarFile(p.base),
			image.Tree(
				image.Source{From: p.Home, To: sparkHome},
				image.Source{From: p.pi, To: PiJar},
				image.Source{From: script.Name(), To: "/opt/entrypoint.sh"},
			),
		},
		Config: ocispec.ImageConfig{
			User:       sparkUser,
			WorkingDir: sparkHome + "/work-dir",
			Entrypoint: []string{"/opt/entrypoint.sh"},
			Env: []string{
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"SPARK_HOME=" + sparkHome,
				JavaEnv,
			},
		},
	})
}

// run runs a program and shows its output only when it fails: it is long.
func run(ctx context.Context, folder, program string, arguments ...string) error {
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Dir = folder
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(arguments, " "), err, output)
	}
	return nil
}
