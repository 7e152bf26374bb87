package aws_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kest-go/kest/aws"
	"github.com/kest-go/kest/lineage"
)

// The role that the process runs as, certified by a KMS key.
func ExampleNew() { //nolint:testableexamples // it needs AWS
	ctx := context.Background()
	provider, err := aws.New(ctx, aws.Config{KeyID: "alias/kest-payments"})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	fmt.Println(provider) // arn:aws:iam::123456789012:role/payments (key …) certified by arn:aws:kms:…
}

// A Bedrock agent, named by AWS_BEDROCK_AGENT_ID.
func ExampleNewBedrock() { //nolint:testableexamples // it needs AWS
	ctx := context.Background()
	provider, err := aws.NewBedrock(ctx, aws.Config{KeyID: "alias/kest-agent"})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	fmt.Println(provider) // arn:aws:bedrock:eu-central-1:123456789012:agent/AGENT12345 (key …) certified by arn:aws:kms:…
}

// A verifier learns the KMS key once, and whom it may certify.
func ExampleRoot() { //nolint:testableexamples // it needs AWS
	root, err := aws.Root(context.Background(), aws.Config{KeyID: "alias/kest-payments"}, "arn:aws:iam::123456789012:role/payments")
	if err != nil {
		log.Fatal(err)
	}
	roots, err := lineage.NewRoots(lineage.RootsConfig{KMS: []lineage.KMSRoot{root}})
	if err != nil {
		log.Fatal(err)
	}
	_ = roots // for binding.New, which makes the key source of a verifier
}
