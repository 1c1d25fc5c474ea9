package seed

// Sealed is a checkpoint file without a sum, with it.
var Sealed = appendSum
