// Package policy judges requests by a resource-based policy, as IAM does (IAM User Guide, "IAM JSON policy elements reference"), for the
// engines that know no policies. Only Deny statements count: who calls is taken to be allowed everything by policies of their own.
//
// What the package doesn't know, such as an operator of a condition, is an error (Unsupported) and never passed over, since a policy that
// is half understood would let a test pass that must fail.
package policy
