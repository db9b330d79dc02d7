// Package storetest is the conformance suite of the store contract: what the
// prose of package store promises, as scenarios that every implementation
// passes.
//
// An implementation joins with a [Harness] and one call:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness { return newHarness(t) })
//	}
//
// No scenario sleeps. Where time has to pass, the harness makes it pass
// ([Harness.Advance]), in steps so large that the time that really flows
// meanwhile does not matter.
package storetest
