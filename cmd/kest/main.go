// Kest checks, inspects and draws execution lineage, evaluates its policies, and shows what it is for: kest demo.
package main

import (
	"os"

	"github.com/kest-go/kest/cmd/kest/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
