package main

import (
	"github.com/schollz/progressbar/v3"
)

// bar shows how far long work is, on a terminal; elsewhere it is nil, and shows nothing.
type bar struct{ on *progressbar.ProgressBar }

// progress begins a bar on standard error.
func (t *tool) progress(total int64, what string) *bar { return t.newBar(total, what, false) }

// progressBytes is progress through a file. A total below zero is not known: then it only counts.
func (t *tool) progressBytes(total int64, what string) *bar { return t.newBar(total, what, true) }

func (t *tool) newBar(total int64, what string, bytes bool) *bar {
	if !terminal(t.errs) {
		return nil
	}
	return &bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(t.errs),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(false),
	)}
}

// to says how much is done.
func (b *bar) to(done int64) {
	if b != nil {
		_ = b.on.Set64(done) // a terminal that is gone is no reason to stop
	}
}

// end takes the bar off the screen.
func (b *bar) end() {
	if b != nil {
		_ = b.on.Clear()
		_ = b.on.Exit()
	}
}
