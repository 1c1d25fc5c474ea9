package seed

// Prices are what DynamoDB charges, in US dollars.
type Prices struct {
	ReadMillion   float64 // a million read request units, on demand
	WriteMillion  float64 // a million write request units, on demand
	ReadUnitHour  float64 // one read capacity unit for an hour, provisioned
	WriteUnitHour float64 // one write capacity unit for an hour, provisioned
}

// DefaultPrices are those of US East (N. Virginia) for the Standard table class: AWS's pricing pages for DynamoDB, on demand as
// lowered on 1 November 2024, provisioned without reservations; looked up in November 2026. Other Regions cost more.
var DefaultPrices = Prices{ReadMillion: 0.125, WriteMillion: 0.625, ReadUnitHour: 0.00013, WriteUnitHour: 0.00065}

// onDemand is the price of units on demand, in dollars.
func (p Prices) onDemand(reads, writes float64) float64 {
	return (reads*p.ReadMillion + writes*p.WriteMillion) / 1e6
}

// provisioned is the price of the capacity that serves so many units when it is used to the full, in dollars: a unit of capacity
// serves 3,600 in an hour.
func (p Prices) provisioned(reads, writes float64) float64 {
	return (reads*p.ReadUnitHour + writes*p.WriteUnitHour) / 3600
}
