package storetest

import "testing"

// scenario is one sentence of the contract, and its proof.
type scenario struct {
	name string
	run  func(s *scene)
}

// Run puts the store behind the harness through every scenario. newHarness is
// called once for each, with the test that the harness belongs to; the
// scenarios run in parallel.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	groups := []struct {
		name      string
		scenarios []scenario
	}{
		{"claim", claimScenarios()},
		{"next due", nextDueScenarios()},
		{"expired", expiredScenarios()},
		{"settle", settleScenarios()},
		{"stale", staleScenarios()},
		{"exchange", exchangeScenarios()},
		{"bury", buryScenarios()},
		{"extend", extendScenarios()},
		{"return", returnScenarios()},
		{"look", lookScenarios()},
		{"message", messageScenarios()},
		{"paused", pausedScenarios()},
		{"locked", lockedScenarios()},
		{"held", heldScenarios()},
		{"concurrent", concurrentScenarios()},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, sc := range group.scenarios {
				t.Run(sc.name, func(t *testing.T) {
					t.Parallel()
					sc.run(newScene(t, newHarness(t)))
				})
			}
		})
	}
}
