package main

import (
	"fmt"
	"slices"
	"sync"
)

// mailbox stands for a mail server, and stops the worker after the last mail. It sorts, because timers that are due together
// are handled together.
type mailbox struct {
	mu   sync.Mutex
	sent []string
	left int    // timers that are still to come
	done func() // called after the last
}

func (m *mailbox) put(mail string, err error) error {
	if err != nil {
		return err // the timer is tried again, as any message
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if mail != "" {
		m.sent = append(m.sent, mail)
	}
	if m.left--; m.left == 0 {
		m.done()
	}
	return nil
}

func (m *mailbox) show() {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.Sort(m.sent)
	for _, mail := range m.sent {
		fmt.Println("  ", mail)
	}
}
