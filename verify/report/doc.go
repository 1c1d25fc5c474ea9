// Package report presents the differences that a verification found: as lines of JSON, by [WriteDifference], or as one HTML page that
// needs nothing else, a [Page].
package report
