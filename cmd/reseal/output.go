package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"reseal/internal/capacity"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// print writes the result to stdout: text, or one JSON object of the command's name and the result's fields.
func (j *job) print(cmd *cobra.Command, result any, text func(io.Writer) error) error {
	var whole bytes.Buffer // written at once: an output that fails is said once
	if j.output != "json" {
		if err := text(&whole); err != nil {
			return err
		}
	} else {
		fields, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("write result: %w", err)
		}
		fmt.Fprintf(&whole, "{\"command\":%q,%s\n", cmd.Name(), fields[1:])
	}
	if _, err := whole.WriteTo(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// heading prints a line of text.
func heading(out io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(out, format+"\n", args...); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// lines prints aligned lines of a name and a value.
func lines(out io.Writer, pairs ...string) error {
	width := 18
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if _, err := fmt.Fprintf(out, "  %-*s %s\n", width, pairs[i], harmless(pairs[i+1])); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	return nil
}

// harmless is text for a terminal: what would steer it, which names of attributes and tags may hold, is replaced.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// notes prints a list.
func notes(out io.Writer, list []string) error {
	for _, note := range list {
		if _, err := fmt.Fprintf(out, "  - %s\n", note); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	return nil
}

// count writes a number with its thousands set apart.
func count(n int64) string { return humanize.Comma(n) }

// many writes a number of things, given in the singular.
func many(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return count(n) + " " + thing
}

func units(u float64) string { return humanize.CommafWithDigits(u, 1) }

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) + " s" }

// taken tells what the requests were held to, by whom, and what became of it.
func taken(t capacity.Taken) string {
	by := map[string]string{
		capacity.ByUser: "as asked for", capacity.ByDefault: "80 % of what is provisioned", capacity.ByTable: "what the table served",
	}[t.By]
	if by == "" {
		return "none"
	}
	text := fmt.Sprintf("%s units/s (%s)", units(t.Limit), by)
	if t.Slowed > 0 {
		text += fmt.Sprintf(", slowed down %s for others who use the table, to %s at the least", many(t.Slowed, "time"), units(t.Lowest))
	}
	return text
}
