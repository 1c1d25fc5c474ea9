package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is which program this is.
type version struct {
	Module   string `json:"module"`
	Version  string `json:"version"`  // "(devel)": it was not built from a release
	Commit   string `json:"commit"`   // "": not known
	Date     string `json:"date"`     // of the commit, RFC 3339, UTC
	Modified bool   `json:"modified"` // the source had changes that were not committed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// built is what the build has noted (runtime/debug, BuildInfo).
func built() version {
	v := version{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, is := debug.ReadBuildInfo()
	if !is {
		return v
	}
	v.Module = info.Main.Path
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = setting.Value
		case "vcs.time":
			v.Date = setting.Value
		case "vcs.modified":
			v.Modified = setting.Value == "true"
		}
	}
	return v
}

func (v version) String() string {
	text := "reseal " + v.Version
	if v.Commit != "" {
		text += ", commit " + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			text += " and changes"
		}
		text += " of " + v.Date
	}
	return text + ", " + v.Go + ", " + v.Platform
}

func versionCommand() *cobra.Command {
	var j job
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which reseal this is",
		Long:    `version says which release and commit this program was built from. "reseal --version" says the same.`,
		Example: "  reseal version\n  reseal version --output json",
		Args:    noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := built()
		return j.print(cmd, v, func(out io.Writer) error { return heading(out, "%s", v) })
	}
	choice(cmd.Flags(), &j.output, "output", "format of the result on stdout", "text", "json")
	return cmd
}

// exitStatusTopic is for "reseal help exit-status".
func exitStatusTopic() *cobra.Command {
	rows := []struct {
		status int
		means  string
	}{
		{exitDone, "done; of verify: both tables match; of cutover and migrate: the writers are on the target"},
		{exitDifferent, "verify and demo: the tables don't match, or are not known to; cutover and migrate: the writers stay on the source"},
		{exitRefused, "refused: bad flags, or a check before the start failed; nothing was written"},
		{exitFailed, "failed on the way; where there is a checkpoint, run the same command again. Of cutover and migrate also: somebody has to\n     decide, or a write came to the source after the fence"},
		{exitSample, "verify --sample: nothing differs in the sample, which is no match"},
		{exitInterrupted, "interrupted by SIGINT or SIGTERM; the checkpoint is saved, and a fence lifted"},
	}
	var text strings.Builder
	text.WriteString("The exit status of each command. Scripts may rely on it.\n")
	for _, row := range rows {
		fmt.Fprintf(&text, "\n%3d  %s", row.status, row.means)
	}
	return &cobra.Command{Use: "exit-status", Short: "What the exit statuses mean", Long: text.String()}
}
