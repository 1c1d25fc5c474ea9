package seed_test

import (
	"context"
	"fmt"
	"log"

	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// The source's stream is on and is being replicated to the target, by reseal's Lambda say. The clients may differ in Region,
// account and credentials.
func ExampleRun() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	client := dynamodb.NewFromConfig(cfg)
	result, err := seed.Run(ctx, seed.Options{
		Source: client, SourceTable: "cities",
		Target: client, TargetTable: "cities-encrypted",
		Segments:   seed.DefaultSegments,
		WriteUnits: 1000,
		Checkpoint: "seed-cities.json",
		Progress: func(p seed.Progress) {
			fmt.Printf("%d of about %d items, %.0f write units\n", p.ItemsWritten, p.ItemsExpected, p.WriteUnits)
		},
	})
	if err != nil {
		log.Fatal(err) // run it again to go on from the checkpoint
	}
	fmt.Printf("%d items copied, %d of them twice since they changed meanwhile\n", result.ItemsWritten, result.ItemsRewritten)
}
