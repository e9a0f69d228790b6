package distribution

import (
	"context"
	"fmt"
	"os"
)

// sparkUser is the numeric id that Spark's own images run as.
const sparkUser = "185"

// debianArguments make the lower half of the image: the newest Debian that has the Java version every Spark from 3.3
// on runs with, and what Spark's scripts and Python programs need.
var debianArguments = []string{
	"--variant=minbase",
	"--include=openjdk-17-jre-headless,procps,python3,tini",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
	// The Java package installs links to manual pages and fails without their folder.
	`--essential-hook=mkdir -p "$1/usr/share/man/man1"`,
	`--customize-hook=chroot "$1" useradd --uid ` + sparkUser + ` --gid 0 --home-dir /opt/spark --no-create-home spark`,
	`--customize-hook=install -d -o ` + sparkUser + ` -g 0 -m 775 "$1/opt/spark" "$1/opt/spark/work-dir"`,
	"bookworm",
}

// makeDebian writes a root file system as a tar file.
func makeDebian(ctx context.Context, options Options, path string) error {
	fmt.Fprintln(options.Out, "spark image: install Debian with a Java runtime")
	partial := path + ".partial"
	defer os.Remove(partial)
	arguments := append([]string{"--format=tar"}, debianArguments...)
	if err := run(ctx, "", "mmdebstrap", append(arguments, partial)...); err != nil {
		return err
	}
	return os.Rename(partial, path)
}
