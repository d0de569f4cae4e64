// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// Bar is one bar of a plot.
type Bar struct {
	Label string
	Value float64
	Ours  bool // drawn in the other colour
}

// Plot is a group of bars on one scale.
type Plot struct {
	Title, Unit string
	Bars        []Bar
}

const (
	plotWidth = 760
	textWidth = 270
	barHeight = 18
	barStep   = 24
	plotHead  = 34
)

// SVG draws plots below one another, with colours that are legible on light and
// on dark pages.
func SVG(plots []Plot) string {
	var b strings.Builder
	y := 0
	for _, p := range plots {
		most := slices.MaxFunc(append([]Bar{{}}, p.Bars...), func(a, b Bar) int { return int(a.Value - b.Value) }).Value
		fmt.Fprintf(&b, `<text x="0" y="%d" font-weight="bold">%s</text>`+"\n", y+20, html.EscapeString(p.Title))
		y += plotHead
		for _, bar := range p.Bars {
			width := 0.0
			if most > 0 {
				width = bar.Value / most * (plotWidth - textWidth - 110)
			}
			colour := "#8a94a6"
			if bar.Ours {
				colour = "#2f6fdb"
			}
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, textWidth-8, y+14, html.EscapeString(bar.Label))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, textWidth, y, width, barHeight, colour)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s %s</text>`+"\n", textWidth+width+6, y+14, Number(bar.Value), html.EscapeString(p.Unit))
			y += barStep
		}
		y += barStep / 2
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" fill="#778">`+"\n%s</svg>\n", plotWidth, y, b.String())
}
