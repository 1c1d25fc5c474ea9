package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/verify"

	"github.com/spf13/cobra"
)

func fingerprintCommand() *cobra.Command {
	j := job{}
	side := table.Side{Name: table.OnlyTable}
	var o verify.FingerprintOptions
	var readUnits unitsFlag
	var expiredBy listFlag
	var secret, asOf string
	var ignoreExpired bool
	cmd := &cobra.Command{
		Use:   "fingerprint --table T",
		Short: "Print the item count and the fingerprint of one table, to compare with another's",
		Long: `fingerprint reads one table and prints how many items it has and a fingerprint of them, which does not depend on their
order: the same that verify prints of each table. So tables can be compared across accounts that can't see each other.
Compare when nobody writes, and hasn't for some seconds: the table is read while it changes.

Without a secret, who knows a fingerprint can test guesses of the items against it, and who may write items could
choose others with the same fingerprint. With --key-secret, the same on both sides, it is an HMAC, and neither can be
done.

Items whose time to live has passed are left out, as in verify: by the table's own attribute. Only the source's rule is
right for both tables of a copy, since what the target alone deletes is lost. So where they differ, name the source's
attribute with --expired-by for the target, or if the source has TTL off, give --ignore-expired=false. Give both runs
the same --as-of.`,
		Example: `  reseal fingerprint --table cities
  reseal fingerprint --table cities --key-secret @secret.txt --output json
  reseal fingerprint --table cities-encrypted --key-secret env:SECRET --expired-by at --as-of 2026-03-01T12:00:00Z`,
		Args: noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.Secret, err = secretOf(secret, cmd.Flags().Changed("key-secret")); err != nil {
			return err
		}
		if o.AsOf, err = momentOf(asOf); err != nil {
			return err
		}
		handle, err := side.Open(cmd.Context())
		if err != nil {
			return err
		}
		o.API, o.Table = handle.DB, handle.Table
		o.ReadUnits, o.ReadShare = readUnits.units, readUnits.share
		o.KeepExpired, o.ExpiredBy = !ignoreExpired, expiredBy
		progress := j.progress(cmd, "")
		o.Progress = progress.fingerprint
		result, err := verify.Fingerprint(cmd.Context(), o)
		progress.finish()
		if err != nil {
			return err
		}
		result.Table = handle.Given
		return j.print(cmd, result, func(out io.Writer) error { return printFingerprint(out, result) })
	}
	f := cmd.Flags()
	f.SortFlags = false
	text(f, &side.Table, "table", "table", "name or ARN of the table (required)")
	text(f, &secret, "key-secret", "secret", "key the fingerprint with it: @FILE for a file's text, env:NAME for a variable's, or\nthe secret itself, which others may see in the list of processes")
	f.IntVar(&o.Segments, "segments", 16, "segments of the parallel Scan, 1 to 1,000,000")
	f.Var(&readUnits, "read-units", "most read units a second (default: 80 % of what is provisioned)")
	f.BoolVar(&ignoreExpired, "ignore-expired", true, "leave out items whose time to live has passed (only where TTL is enabled, or by\n--expired-by)")
	f.Var(&expiredBy, "expired-by", "attribute by which items expire, instead of the table's own: that of the source")
	text(f, &asOf, "as-of", "time", "when items must have expired to be left out, such as 2026-03-01T12:00:00Z (default:\nnow, by the service's clock)")
	j.addOutput(f)
	text(f, &side.Region, "region", "region", "AWS Region of the table (default: as for every AWS tool)")
	text(f, &side.Profile, "profile", "name", "profile of the shared AWS configuration")
	text(f, &side.RoleARN, "role-arn", "arn", "role to assume")
	text(f, &side.EndpointURL, "endpoint-url", "url", "DynamoDB endpoint, for a local engine or a VPC endpoint")
	return cmd
}

// secretOf is the secret that the flag names; nil if it isn't given. A line's end at the end of a file is none of it. The secret is in
// no error.
func secretOf(flag string, given bool) ([]byte, error) {
	if !given {
		return nil, nil
	}
	secret := flag
	if path, is := strings.CutPrefix(flag, "@"); is {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, refuse.Because(err, "give a file that can be read", "the file of --key-secret can't be read (%s)", err)
		}
		secret = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	} else if name, is := strings.CutPrefix(flag, "env:"); is {
		secret = os.Getenv(name)
	}
	if secret == "" {
		return nil, refuse.New("give one, or leave --key-secret out for a fingerprint without", "the secret is empty")
	}
	return []byte(secret), nil
}

func momentOf(flag string) (time.Time, error) {
	if flag == "" {
		return time.Time{}, nil
	}
	moment, err := time.Parse(time.RFC3339, flag)
	if err != nil {
		return time.Time{}, refuse.Because(err, "give a time such as 2026-03-01T12:00:00Z", "--as-of %q is not understood", flag)
	}
	return moment, nil
}

func printFingerprint(out io.Writer, r verify.TableFingerprint) error {
	keyed := ""
	if r.Keyed {
		keyed = " (keyed: it says something to those who have the secret)"
	}
	by := "by no attribute"
	if len(r.ExpiredBy) > 0 {
		by = "by " + strings.Join(r.ExpiredBy, ", ")
	}
	return lines(
		out,
		"table", r.Table,
		"items", count(r.Items),
		"fingerprint", r.Fingerprint+keyed,
		"expired", fmt.Sprintf("%s (left out, %s as of %s; time to live: %s)", count(r.Expired), by, r.AsOf, r.TimeToLive),
		"scans began", r.BeganAt,
		"read units", units(r.ReadUnits),
		"read limit", taken(r.ReadLimit),
		"time", seconds(r.ElapsedSeconds),
	)
}
