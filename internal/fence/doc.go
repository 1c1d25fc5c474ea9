// Package fence refuses writes to a table for everybody, or for some, by one statement in the table's resource-based policy: and takes
// that statement out again alone, whatever else others changed in the policy meanwhile.
//
// A [Statement] denies. Unless it is for good it has a time after which AWS no longer applies it, so that a process that dies leaves
// nothing behind that has to be put back. [Policy] puts it into the policy and takes it out, each time on the condition that the policy is
// still the one that was read. A policy takes effect some time after it was put ("the policy application is eventually consistent": API
// reference, PutResourcePolicy). [Probe] finds out when: by a write that can't change anything and that the same statement denies.
package fence
