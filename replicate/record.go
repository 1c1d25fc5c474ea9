package replicate

import "reseal/internal/stream"

// Record is one change of one item, as a stream record tells it.
type Record = stream.Record
