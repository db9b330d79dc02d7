package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
)

// The test binary is the example too: started with this variable it runs main, as a user does.
const asExample = "LETTERBOX_RUN_REMINDERS"

func TestMain(m *testing.M) {
	if os.Getenv(asExample) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const told = `1. messages to ann, to ben and to ben
   message 1: reminder scheduled, digest of ann scheduled
   message 2: reminder scheduled, digest of ben scheduled
   message 3: reminder scheduled, digest of ben rescheduled
   5 timers wait
      ann of chat.digests
      ben of chat.digests
      message-1 of chat.reminders
      message-2 of chat.reminders
      message-3 of chat.reminders
2. ann reads message 1
   reminder of message 1 cancelled
3. a message to ben, who is being written to: his digest waits on
   digest of ben rescheduled to a later time: true
4. a worker mails what is due, and stops when nothing is left
   ben, message 2 is waiting for you
   ben, message 3 is waiting for you
   ben, message 4 is waiting for you
   ben, you have 3 unread messages
   0 timers wait
done
`

func TestReminders_TellsItsStory(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	self, err := os.Executable()
	is.NoErr(err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), asExample+"=yes")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	is.NoErr(err)
	using, story, _ := strings.Cut(string(out), "\n")
	is.True(strings.HasPrefix(using, "using PostgreSQL "))
	is.Equal(story, told)
}
