package table_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// wantRefusal checks that err is one for which nothing is done, on one line, and says all of the given.
func wantRefusal(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil || !refuse.Is(err) {
		t.Errorf("error %v, want a refusal", err)
		return
	}
	text := err.Error()
	problem, remedy, _ := strings.Cut(text, ": ")
	if strings.Contains(text, "\n") || problem == "" || remedy == "" || len(text) > 400 {
		t.Errorf("not one line of a problem and a remedy: %q", text)
	}
	for _, part := range says {
		if !strings.Contains(text, part) {
			t.Errorf("%q doesn't say %q", text, part)
		}
	}
}

// cleanEnvironment leaves nothing of AWS in the environment but what is given, NAME=value, and no configuration files. It
// returns the path of ~/.aws/config.
func cleanEnvironment(t *testing.T, variables ...string) (configFile string) {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // so that it is restored
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	// HOME wouldn't do: the SDK has looked at it already.
	configFile = filepath.Join(t.TempDir(), "config")
	t.Setenv("AWS_CONFIG_FILE", configFile)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", configFile+"-none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	return configFile
}
