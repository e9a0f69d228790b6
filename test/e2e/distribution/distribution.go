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
	Out     io.Writer // progress and the output of the programs that run; never nil
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

const sparkHome = "/opt/spark"

//go:embed files/entrypoint.sh
var entrypoint []byte

var versionForm = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

// Get returns the distribution, from the cache when it is there.
func Get(ctx context.Context, options Options) (Distribution, error) {
	if !versionForm.MatchString(options.Version) {
		return Distribution{}, fmt.Errorf("Spark version %q is not of the form 4.1.4", options.Version)
	}
	cache, err := filepath.Abs(options.Cache)
	if err != nil {
		return Distribution{}, fmt.Errorf("cache %q: %w", options.Cache, err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Distribution{}, fmt.Errorf("cache: %w", err)
	}
	options.Cache = cache
	d := Distribution{
		Version: options.Version,
		Home:    filepath.Join(cache, "spark-"+options.Version+"-"+key(homeRevision, string(piSource))),
		Image:   "retinue.local/spark:" + options.Version,
	}
	base := filepath.Join(cache, "debian-"+key(debianArguments...)+".tar")
	d.Archive = filepath.Join(cache, "spark-"+options.Version+"-"+key(d.Home, base, string(entrypoint))+".oci.tar")

	// Both wait for downloads most of the time.
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return once(base, func() error { return makeDebian(groupCtx, options, base) }) })
	group.Go(func() error { return once(d.Home, func() error { return makeHome(groupCtx, options, d.Home) }) })
	if err := group.Wait(); err != nil {
		return Distribution{}, err
	}
	return d, once(d.Archive, func() error { return makeArchive(options, d, base) })
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

func makeArchive(options Options, d Distribution, base string) error {
	fmt.Fprintf(options.Out, "spark image: write %s\n", d.Archive)
	script, err := os.CreateTemp(options.Cache, "entrypoint-*.sh")
	if err != nil {
		return fmt.Errorf("entrypoint: %w", err)
	}
	defer os.Remove(script.Name())
	_, err = script.Write(entrypoint)
	if err := errors.Join(err, script.Chmod(0o755), script.Close()); err != nil {
		return fmt.Errorf("entrypoint: %w", err)
	}
	return image.Write(d.Archive, image.Image{
		Name: d.Image,
		Layers: []image.Layer{
			image.TarFile(base),
			image.Tree(
				image.Source{From: d.Home, To: sparkHome},
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
