package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"reseal/internal/cutover"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The exit statuses. Scripts rely on them.
const (
	exitDone        = 0
	exitDifferent   = 1   // verify and demo: the tables do not match
	exitRefused     = 2   // bad flags or a failed preflight check: nothing was written
	exitFailed      = 3   // failed on the way
	exitSample      = 4   // verify --sample: nothing differs in the sample
	exitInterrupted = 130 // SIGINT or SIGTERM, checkpoint saved
)

// errDifferent says that the tables do not match; the report says how.
var errDifferent = errors.New("the tables do not match")

// errSampleMatched says that nothing differs in a sample, which is not a match.
var errSampleMatched = errors.New("the sample matched; only a verification without --sample tells whether the tables match")

// run executes one command line and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr)
	root.SetArgs(args)
	misplaced := refuseArgumentsOfHelp(root)
	err := unknownCommand(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		err = *misplaced
	}
	if err != nil && strings.HasPrefix(err.Error(), "unknown command ") { // of a command of cobra's own
		err = refuse.Because(err, seeHelp(root), "%s", err)
	}
	status := exitStatus(ctx, err)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "reseal: "+message(status, err))
	}
	return status
}

func exitStatus(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && onlyCanceled(err):
		return exitInterrupted
	case errors.Is(err, errDifferent), errors.Is(err, cutover.ErrBack):
		return exitDifferent
	case errors.Is(err, errSampleMatched):
		return exitSample
	case refuse.Is(err):
		return exitRefused
	default:
		return exitFailed
	}
}

// onlyCanceled tells whether the error says nothing but that the context ended. An error that was joined to it, such as that of
// a checkpoint that couldn't be saved, must not pass for a clean stop.
func onlyCanceled(err error) bool {
	switch wrapper := err.(type) { //nolint:errorlint // it goes down the tree itself
	case interface{ Unwrap() []error }:
		for _, one := range wrapper.Unwrap() {
			if !onlyCanceled(one) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		if inner := wrapper.Unwrap(); inner != nil {
			return onlyCanceled(inner)
		}
	}
	return errors.Is(err, context.Canceled)
}

// message is the error on one line.
func message(status int, err error) string {
	text := err.Error()
	if status == exitInterrupted {
		text = "interrupted"
		if s := (*stopped)(nil); errors.As(err, &s) {
			text += " after " + s.done + s.next
		}
	}
	return harmless(strings.Join(strings.Fields(text), " "))
}

// stopped is an error that struck on the way, with what to do next.
type stopped struct {
	err  error
	done string // how much was done in this run
	next string // begins with "; ", or is empty
}

func (s *stopped) Error() string { return s.err.Error() + s.next }

func (s *stopped) Unwrap() error { return s.err }

func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "reseal",
		Short: "Move a live DynamoDB table into another, KMS-encrypted one without losing an update",
		Long: `reseal moves a live Amazon DynamoDB table into another one, first of all into one that is encrypted with a KMS key,
without stopping the application that writes to it, and proves that nothing was lost.

  1. Enable the source's stream ("reseal prepare --stage 1" tells how).
  2. reseal prepare  prints a stack with the target and the replicator, to be deployed; or, with --apply, makes the
                     target: then run "reseal replicate".
     reseal seed     copies the table beside it, and re-checks every item against the live source.
     reseal verify   compares both tables and exits with 0 only if they hold the same items.
  3. reseal cutover  has the writers go over within seconds, with proof, or lets them go on.
  4. reseal retire   says what speaks against deleting the source, backs it up, and deletes it.

reseal migrate does stages 1 to 3 in one command.

Exit status: 0 done (verify: match); 1 differences found; 2 refused, nothing written; 3 failed on the way; 4 a sample
matched (verify --sample); 130 interrupted. AWS configuration is read as by every AWS tool: environment, shared config,
AWS_ENDPOINT_URL_DYNAMODB.`,
		Example: `  reseal demo
  reseal migrate   --source cities --target cities-encrypted --state ./move --on-ready ./switch.sh
  reseal prepare   --source cities --target cities-encrypted > stack.yaml
  reseal seed      --source cities --target cities-encrypted --segments 16
  reseal verify    --source cities --target cities-encrypted --output json`,
		SilenceUsage:          true,
		SilenceErrors:         true,
		DisableFlagsInUseLine: true,
		Args:                  noArguments,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun:      func(cmd *cobra.Command, _ []string) { cmd.SetContext(asking(tellWaiting(cmd))) },
	}
	root.Version = built().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.AddCommand(prepareCommand(), seedCommand(), replicateCommand(), verifyCommand(), cutoverCommand(), migrateCommand(), retireCommand(), fingerprintCommand(), demoCommand(), versionCommand(), exitStatusTopic())
	return root
}

// helpCommand is cobra's, but refuses what it doesn't know; cobra's own ends well then.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Show a command's help and flags",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noCommand(cmd.Root(), strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// tellWaiting returns the command's context, with a line on stderr when a table is waited for, unless --no-progress is given.
func tellWaiting(cmd *cobra.Command) context.Context {
	if quiet, err := cmd.Flags().GetBool("no-progress"); err == nil && quiet {
		return cmd.Context()
	}
	return table.OnWaiting(cmd.Context(), func(w table.Waiting) {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", cmd.Name(), w)
	})
}

// asking returns a context with which a code is asked for on the terminal, if there is one.
func asking(ctx context.Context) context.Context {
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stderr.Fd())) {
		return ctx
	}
	return table.OnAsking(ctx, func(ctx context.Context, question string) (string, error) {
		return ask(ctx, os.Stdin, os.Stderr, question)
	})
}

// ask puts a question and reads a line. A read of a terminal can't be cancelled: if the context ends first, it is left to itself, and the
// process is about to end.
func ask(ctx context.Context, in io.Reader, out io.Writer, question string) (string, error) {
	if _, err := io.WriteString(out, question); err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		answered <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-answered:
		if a.err != nil {
			return "", fmt.Errorf("read from the terminal: %w", a.err)
		}
		return strings.TrimSpace(a.line), nil
	}
}

// unknownCommand refuses a command line whose command there isn't. cobra would look at its flags first, and find --help.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return nil // the shell asks what could be typed
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	if found, _, err := root.Find(args); err != nil || found != root {
		return nil
	}
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			return noCommand(root, arg)
		}
	}
	return nil
}

// refuseArgumentsOfHelp has arguments looked at beside --help, too; cobra doesn't, and ends well. The error is set while a command line is
// executed.
func refuseArgumentsOfHelp(root *cobra.Command) *error {
	var misplaced error
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if misplaced = cmd.ValidateArgs(cmd.Flags().Args()); misplaced == nil {
			help(cmd, args)
		}
	})
	return &misplaced
}

// noCommand refuses what should be a command, and names the one that was meant, if there is one like it.
func noCommand(root *cobra.Command, name string) error {
	var names []string
	for _, cmd := range root.Commands() {
		names = append(names, cmd.Name())
	}
	meant := ""
	if like := nearest(name, names); like != "" {
		meant = fmt.Sprintf("did you mean %q? ", like)
	}
	return refuse.New(meant+seeHelp(root), "%q is not understood, there is no such command", name)
}

// noArguments refuses what is not a flag.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return notUnderstood(cmd, args[0])
}

func notUnderstood(cmd *cobra.Command, what string) error {
	return refuse.New(seeHelp(cmd), "%q is not understood", what)
}

func seeHelp(cmd *cobra.Command) string { return fmt.Sprintf("see %q", cmd.CommandPath()+" --help") }
