package main

import (
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestTable_AlignsWhatIsNotASCII(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	tab := table{head: []string{"what", "n"}, right: []bool{false, true}}
	tab.row("naïve", "1")
	tab.row("short row")
	var b strings.Builder
	is.NoErr(tab.write(&b))
	is.Equal(b.String(), ""+
		"| what      |   n |\n"+
		"| --------- | --: |\n"+
		"| naïve     |   1 |\n"+
		"| short row |     |\n")
}

// compared is a comparison of three rounds: the library at 0.9 of the floor, though the machine slowed down.
func compared() comparison {
	c := comparison{Scenario: "drain", What: "messages", Systems: []string{"letterbox", "floor", "river"}, Rounds: 3, Charted: []string{"drain"}}
	for round, floor := range []float64{60_000, 30_000, 50_000} {
		c.take(result{Scenario: "drain", System: "letterbox", Round: round + 1, N: 1000, Metrics: []metric{rate("drain", 0.9*floor)}})
		c.take(result{Scenario: "drain", System: "floor", Round: round + 1, N: 1000, Metrics: []metric{rate("drain", floor)}})
		c.take(result{Scenario: "drain", System: "river", Round: round + 1, N: 1000, Metrics: []metric{rate("drain", 10_000)}})
	}
	return c
}

func TestWriteComparison(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var b strings.Builder
	is.NoErr(writeComparison(&b, compared()))
	is.Equal(b.String(), `
### drain

1000 messages; 3 rounds, in turn

|           | system    | median |     min - max | spread | letterbox / it |   min - max |                       |
| --------- | --------- | -----: | ------------: | -----: | -------------: | ----------: | --------------------- |
| drain, /s | letterbox |  45.0k | 27.0k - 54.0k |   60 % |                |             | too noisy to conclude |
|           | floor     |  50.0k | 30.0k - 60.0k |   60 % |           0.90 | 0.90 - 0.90 |                       |
|           | river     |  10.0k | 10.0k - 10.0k |    0 % |           4.50 | 2.70 - 5.40 | too noisy to conclude |

| goal                                 |  got |   min - max | reached          |
| ------------------------------------ | ---: | ----------: | ---------------- |
| drain, drain: at least 0.85 of floor | 0.90 | 0.90 - 0.90 | yes              |
| drain, drain: at least 4.00 of river | 4.50 | 2.70 - 5.40 | too noisy to say |
`)
}

func TestNumber(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	is.Equal(number(0), "0.00")
	is.Equal(number(0.00263), "0.0026")
	is.Equal(number(0.5), "0.50")
	is.Equal(number(9.994), "9.99")
	is.Equal(number(12.34), "12.3")
	is.Equal(number(1234), "1234")
	is.Equal(number(12_345), "12.3k")
	is.Equal(number(123_456), "123k")
	is.Equal(number(-12.34), "-12.3")
	is.Equal(number(median(nil)), "-")
}
