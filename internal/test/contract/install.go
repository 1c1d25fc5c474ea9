package contract

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"reseal/internal/test/install"
)

//go:embed requirements.txt
var requirements []byte

// Install returns the models of the botocore that requirements.txt names, and puts it into the user's cache folder first if need be.
// Its needs and errors are those of install.Python.
func Install(ctx context.Context, log io.Writer) (*Models, error) {
	interpreter, err := install.Python{
		What: "botocore's service models", Requirements: requirements, Remedy: "run the tests without CI=true, which leaves out the check against the models",
	}.Install(ctx, log)
	if err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(interpreter)), "lib", "python3.*", "site-packages", "botocore", "data"))
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("load service models: found %d folders of them beside %s", len(found), interpreter)
	}
	return Load(os.DirFS(found[0]))
}
