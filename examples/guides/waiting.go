package guides

import "context"

// Convert is long work that stops when it is told to. Between two steps it looks at its context.
func Convert(steps []func()) func(context.Context, Report) error {
	return func(ctx context.Context, _ Report) error {
		for _, step := range steps {
			if ctx.Err() != nil {
				return context.Cause(ctx) // queue.ErrShutdown or queue.ErrLeaseLost: no failed attempt
			}
			step()
		}
		return nil
	}
}
