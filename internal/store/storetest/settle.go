package storetest

import "time"

func settleScenarios() []scenario {
	return []scenario{
		{"ack deletes the row", ackDeletes},
		{"retry counts an attempt and is due after the delay", retryDelays},
		{"retry keeps the first attempt and moves the last", retryAttemptTimes},
		{"release takes back the delivery", releaseTakesBack},
		{"release with a delay is due after it", releaseDelays},
		{"release keeps the attempts", releaseKeepsAttempts},
		{"a released row is claimed again", releasedIsClaimed},
		{"a timer id is free once its row has gone", timerIDIsFree},
	}
}

func ackDeletes(s *scene) {
	ids := s.publishN("orders", 2)
	m := s.claimOne("orders")

	s.Equal(s.settle(ack(m)), []int64{m.ID})

	rows := s.rows()
	s.Equal(len(rows), 1) // the other row stays
	s.True(rows[0].ID != m.ID)
	s.Equal(sorted([]int64{rows[0].ID, m.ID}), sorted(ids))
	s.Equal(len(s.deadLetters()), 0)
}

func retryDelays(s *scene) {
	s.publishN("orders", 1)
	m := s.claimOne("orders")

	s.Equal(s.settle(retry(m, time.Hour, time.Minute)), []int64{m.ID})

	row := s.row(m.ID)
	s.True(!row.held())
	s.Equal(row.Attempts, int64(1))
	s.Equal(row.Deliveries, int64(1))
	s.dueIn(row, time.Hour)
	s.Equal(len(s.claimUpTo("orders", 10)), 0) // not yet

	s.advance(2 * time.Hour)
	again := s.claimOne("orders")
	s.Equal(again.ID, m.ID)
	s.Equal(again.Attempts, int64(1))
	s.Equal(again.Deliveries, int64(2))
	s.Equal(string(again.Payload), string(m.Payload))
}

func retryAttemptTimes(s *scene) {
	s.publishN("orders", 1)

	m := s.claimOne("orders")
	s.Equal(s.settle(retry(m, 0, 5*time.Minute)), []int64{m.ID})
	row := s.row(m.ID)
	s.about(row.Now.Sub(row.FirstAttemptAt), 5*time.Minute)
	s.True(row.LastAttemptAt.Equal(row.FirstAttemptAt)) // the first is the last so far
	s.dueIn(row, 0)

	s.advance(2 * time.Hour)
	m = s.claimOne("orders")
	s.about(m.ClaimedAt.Sub(m.FirstAttemptAt), 2*time.Hour+5*time.Minute)
	s.True(m.LastAttemptAt.Equal(m.FirstAttemptAt))

	s.Equal(s.settle(retry(m, time.Hour, 10*time.Minute)), []int64{m.ID})
	row = s.row(m.ID)
	s.Equal(row.Attempts, int64(2))
	s.about(row.Now.Sub(row.FirstAttemptAt), 2*time.Hour+5*time.Minute)
	s.about(row.Now.Sub(row.LastAttemptAt), 10*time.Minute)
}

func releaseTakesBack(s *scene) {
	s.publishN("orders", 1)
	s.advance(time.Hour)
	m := s.claimOne("orders")

	s.Equal(s.settle(release(m, 0)), []int64{m.ID})

	row := s.row(m.ID)
	s.True(!row.held())
	s.Equal(row.Deliveries, int64(0))
	s.Equal(row.Attempts, int64(0))
	s.True(row.FirstAttemptAt.IsZero())
	s.True(row.LastAttemptAt.IsZero())
	s.dueIn(row, 0) // from now on, and not from when it was due before
}

func releaseDelays(s *scene) {
	s.publishN("orders", 1)
	m := s.claimOne("orders")

	s.Equal(s.settle(release(m, time.Hour)), []int64{m.ID})

	row := s.row(m.ID)
	s.True(!row.held())
	s.Equal(row.Deliveries, int64(0))
	s.dueIn(row, time.Hour)
	s.Equal(len(s.claimUpTo("orders", 10)), 0)

	s.advance(2 * time.Hour)
	s.Equal(s.claimOne("orders").Deliveries, int64(1))
}

func releaseKeepsAttempts(s *scene) {
	s.publishN("orders", 1)
	s.settle(retry(s.claimOne("orders"), 0, 5*time.Minute))
	m := s.claimOne("orders")
	before := s.row(m.ID)

	s.Equal(s.settle(release(m, 0)), []int64{m.ID})

	row := s.row(m.ID)
	s.Equal(row.Attempts, int64(1))
	s.Equal(row.Deliveries, int64(1)) // the failed attempt's remains
	s.True(row.FirstAttemptAt.Equal(before.FirstAttemptAt))
	s.True(row.LastAttemptAt.Equal(before.LastAttemptAt))
}

func releasedIsClaimed(s *scene) {
	s.publishN("orders", 1)
	m := s.claimOne("orders")
	s.settle(release(m, 0))

	again := s.claimOne("orders")

	s.Equal(again.ID, m.ID)
	s.Equal(again.Deliveries, int64(1)) // as if it had not been claimed
	s.True(again.Token != m.Token)
}

func timerIDIsFree(s *scene) {
	reminder := draft("reminders", 0)
	reminder.TimerID = "order-1"

	s.publish(reminder)
	s.settle(ack(s.claimOne("reminders")))
	s.publish(reminder)
	m := s.claimOne("reminders")
	s.bury(bury(m, "rejected", ""))
	s.publish(reminder)

	s.Equal(s.claimOne("reminders").TimerID, "order-1")
}
