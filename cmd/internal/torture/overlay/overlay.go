// Package overlay changes sources for one build without touching them, by the go command's -overlay.
package overlay

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Edit replaces a text that a file has exactly once.
type Edit struct {
	File     string // in the module
	From, To string
}

// Write puts the changed files and what -overlay takes into a folder, and returns the path for -overlay. module is the module's
// folder. An edit whose text is not there once is an error: the source has changed since it was thought up.
func Write(folder, module string, edits ...Edit) (string, error) {
	replace := map[string]string{}
	for i, edit := range edits {
		original, err := filepath.Abs(filepath.Join(module, edit.File))
		if err != nil {
			return "", fmt.Errorf("find source: %w", err)
		}
		source, err := os.ReadFile(original)
		if err != nil {
			return "", fmt.Errorf("read source: %w", err)
		}
		if n := strings.Count(string(source), edit.From); n != 1 {
			return "", fmt.Errorf("%s has the text to be replaced %d times, not once: bring the edit up to date", edit.File, n)
		}
		changed := filepath.Join(folder, fmt.Sprintf("changed-%d.go", i))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(source), edit.From, edit.To, 1)), 0o600); err != nil {
			return "", fmt.Errorf("write changed source: %w", err)
		}
		replace[original] = changed
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	path := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return path, nil
}
