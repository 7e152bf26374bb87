// Kest-verify checks a passport with nothing but the standard library behind it: for auditors, for build systems,
// and for whoever wants to read all of the code that says "verified".
//
//	kest-verify FILE --keys KEYS [--observed] [--tip HASHES] [--linear] [--legacy PRINCIPAL]... [--json]
//	kest-verify inspect FILE [--json]
//
// FILE is a passport, a JSON array of compact JWS strings, and "-" is standard input. KEYS is a JSON object from
// principal to JWKS, or an archive of key bindings. It exits 0 when the passport is verified, 1 when it is not, and 2 when the command line or
// the input could not be read (SPEC §14).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/kest-go/kest/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], &report.Env{
		Name: "kest-verify", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Color: report.Color(os.Stdout),
	}))
}

const usage = `usage: kest-verify FILE --keys KEYS [--observed] [--tip HASHES] [--linear]
                   [--legacy PRINCIPAL]... [--json]
       kest-verify inspect FILE [--json]

Checks a passport, a JSON array of compact JWS strings; "-" is standard input.
inspect shows what it claims without checking anything.

  --keys KEYS          JSON object from principal to JWKS, or an archive of key
                       bindings; required
  --observed           demand that the archive saw every entry while its key was
                       valid
  --tip HASHES         hashes announced as the ends of the lineage, comma-separated;
                       "" announces an empty passport
  --linear             demand that the only parent of an entry is the one before it
  --legacy PRINCIPAL   principal whose entries may lack newer labels; may be repeated
  --json               print one JSON document

exit codes: 0 verified, 1 not verified, 2 wrong usage or unreadable input
`

// run is the whole program. It returns the exit code.
func run(ctx context.Context, args []string, env *report.Env) int {
	inspect := len(args) > 0 && args[0] == "inspect"
	if inspect {
		args = args[1:]
	}
	var o report.VerifyOptions
	flags := flag.NewFlagSet(env.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is reported once, below
	flags.BoolVar(&env.JSON, "json", false, "")
	if !inspect {
		flags.StringVar(&o.Keys, "keys", "", "")
		flags.BoolVar(&o.Observed, "observed", false, "")
		flags.BoolVar(&o.Linear, "linear", false, "")
		flags.Func("tip", "", appendTo(&o.Tips))
		flags.Func("legacy", "", appendTo(&o.Legacy))
	}
	files, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return env.Exit(env.Write([]byte(usage)))
	case err == nil && len(files) != 1:
		err = fmt.Errorf("%d files given; want one passport, or - for standard input", len(files))
	}
	if err != nil {
		return env.Exit(report.Hint("kest-verify --help shows the usage", "%w", err))
	}
	if o.File = files[0]; inspect {
		return env.Exit(env.Inspect(ctx, o.File))
	}
	return env.Exit(env.Verify(ctx, o))
}

func appendTo(list *[]string) func(string) error {
	return func(value string) error {
		*list = append(*list, value)
		return nil
	}
}

// parse allows flags before and after the file, which package flag does not: it stops at the first argument that
// is not a flag.
func parse(flags *flag.FlagSet, args []string) (files []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if len(rest) == 0 {
			return files, nil
		}
		if read := args[:len(args)-len(rest)]; len(read) > 0 && read[len(read)-1] == "--" {
			return append(files, rest...), nil // everything after "--" is a file
		}
		files, args = append(files, rest[0]), rest[1:]
	}
}
