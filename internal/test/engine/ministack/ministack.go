// Package ministack installs and runs MiniStack, another local engine that speaks DynamoDB's API, Streams included, and shares nothing
// with the first one. The tests run against it too: what holds on both is no oddity of one. It is a Python package (MIT License).
package ministack

import (
	"context"
	_ "embed"
	"io"

	"reseal/internal/test/engine"
	"reseal/internal/test/install"
)

//go:embed requirements.txt
var requirements []byte

// Installation is an installed engine.
type Installation struct {
	interpreter string // path of the Python that has it
}

// Install returns the engine in the user's cache folder, and puts it there first if need be. Its needs and errors are those of
// install.Python.
func Install(ctx context.Context, log io.Writer) (Installation, error) {
	interpreter, err := install.Python{
		What: "the engine MiniStack", Requirements: requirements, Remedy: "run the tests with the other engine (make test)",
	}.Install(ctx, log)
	return Installation{interpreter}, err
}

// Start runs the engine until Stop is called or ctx ends. Its errors are those of engine.Program.
func (i Installation) Start(ctx context.Context) (*engine.Engine, error) {
	return engine.Program{
		Path: i.interpreter,
		Args: func(port string) []string {
			// Its own command would leave a file behind when it is killed, and hypercorn's workers a process.
			return []string{"-m", "hypercorn", "ministack.app:app", "--bind", "127.0.0.1:" + port, "--workers", "0", "--keep-alive", "75"}
		},
		Env:   []string{"SERVICES=dynamodb,dynamodbstreams", "LOG_LEVEL=ERROR"},
		Ready: "Running on ",
	}.Start(ctx)
}
