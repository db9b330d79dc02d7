package main

// pageSize is how many are read at once.
const pageSize = 500

// walk reads a list page by page and shows each of it, up to limit of them; 0: all. It says where there are more, and how
// many it has shown.
func walk[T interface{ Cursor() string }](t *tool, limit int, list func(after string) ([]T, error), show func(T) error) (found int, err error) {
	for after := ""; ; {
		page, err := list(after)
		if err != nil {
			return found, err
		}
		for _, v := range page {
			if limit > 0 && found == limit {
				t.note("there are more: see --limit")
				return found, nil
			}
			found++
			if err := show(v); err != nil {
				return found, err
			}
		}
		if len(page) < pageSize {
			return found, nil
		}
		after = page[len(page)-1].Cursor()
	}
}
