package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/refuse"
	"reseal/internal/table"
)

// migrationFormat is that of migrate.json.
const migrationFormat = 1

// migrationFolder is what a migration has done: the file migrate.json of its folder. Each stage's own state is in a file beside it.
type migrationFolder struct {
	folder string
	lock   *atomicfile.Lock

	migrationState
}

// migrationState is the file.
type migrationState struct {
	Format int            `json:"format"`
	Source table.Identity `json:"source"`
	Target table.Identity `json:"target"`
	Stream string         `json:"stream"` // ARN
	// Seeded tells that the target has all that the source had, if the replication has missed nothing since.
	Seeded bool `json:"seeded"`
	// Anew tells that the replication has missed something: it is to start over, and so is the seed.
	Anew bool `json:"anew"`
}

// openMigration makes the folder if there is none, and locks it. Its errors are *refuse.Error.
func openMigration(folder string) (*migrationFolder, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, refuse.Because(err, "give another --state", "the folder %s can't be made (%s)", folder, err)
	}
	m := &migrationFolder{folder: folder}
	lock, err := atomicfile.Acquire(m.path("migrate.json"))
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		return nil, refuse.New("wait for it, or stop it", "another migration uses the folder %s", folder)
	case err != nil:
		return nil, refuse.Because(err, "give another --state", "the folder %s can't be locked (%s)", folder, err)
	}
	m.lock = lock
	if err := m.load(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *migrationFolder) close() { m.lock.Release() }

func (m *migrationFolder) path(name string) string { return filepath.Join(m.folder, name) }

func (m *migrationFolder) load() error {
	data, err := os.ReadFile(m.path("migrate.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m.migrationState)
	}
	switch {
	case err != nil:
		return refuse.Because(err, "give another --state", "%s can't be read (%s)", m.path("migrate.json"), err)
	case m.Format != migrationFormat:
		return refuse.New("use the release that wrote it, or another --state", "%s is not one of this release's migrations", m.path("migrate.json"))
	}
	return nil
}

func (m *migrationFolder) save() error {
	m.Format = migrationFormat
	data, err := json.MarshalIndent(m.migrationState, "", "  ")
	if err == nil {
		err = atomicfile.Write(m.path("migrate.json"), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// belongs refuses a folder of other tables, and forgets what rests on a stream that is there no more.
func (m *migrationFolder) belongs(pair table.Pair) error {
	source, target, stream := pair.Source.Identity(), pair.Target.Identity(), pair.Source.StreamARN()
	if m.Source.ARN != "" && (m.Source != source || m.Target != target) {
		return refuse.New("give another --state", "the folder %s is of a migration from %s to %s", m.folder, m.Source, m.Target)
	}
	if m.Stream != "" && m.Stream != stream {
		m.Anew = true // what was changed between the two streams, nobody has seen
	}
	m.Source, m.Target, m.Stream = source, target, stream
	if m.Seeded && !m.exists("replicate.json") {
		m.Anew = true // likewise
	}
	return m.save()
}

func (m *migrationFolder) exists(name string) bool {
	_, err := os.Stat(m.path(name))
	return err == nil
}

// followAge is how old the checkpoint of a comparison may be for a migration to go on from it: the stream, from which that goes on, keeps
// twice as long.
const followAge = 12 * time.Hour

// forgetComparison takes away the checkpoint of a comparison that is of no use any more.
func (m *migrationFolder) forgetComparison(whatever bool) error {
	info, err := os.Stat(m.path("follow.json"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !whatever && time.Since(info.ModTime()) < followAge {
		return nil
	}
	if err == nil {
		err = os.Remove(m.path("follow.json"))
	}
	if err != nil {
		return fmt.Errorf("forget comparison: %w", err)
	}
	return nil
}
