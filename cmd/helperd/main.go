// Helperd is a helper node for installing OpenShift in one process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"helperd/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, version, os.Args[1:], os.Stdout, os.Stderr))
}
