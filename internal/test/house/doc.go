// Package house checks which package may import which.
package house
