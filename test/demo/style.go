package main

import "fmt"

// style colours text, or leaves it as it is.
type style struct{ colour bool }

// Codes of a terminal's colours and looks.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s style) with(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string { return s.with(bold, text) }
func (s style) dim(text string) string  { return s.with(faint, text) }

// of colours by how an application is doing.
func (s style) of(f fate, text string) string {
	switch f {
	case whole:
		return s.with(green, text)
	case starting:
		return s.with(cyan, text)
	case halfStarted, failed:
		return s.with(red+";"+bold, text)
	case refused:
		return s.with(yellow, text)
	case done:
		return s.with(green+";"+faint, text)
	default:
		return text
	}
}

// palette is a colour of its own for each application, from the 256 of a terminal.
var palette = []int{39, 208, 40, 201, 226, 51, 196, 141, 118, 214, 45, 213, 154, 99, 220, 81}

// app colours what belongs to an application.
func (s style) app(index int, text string) string {
	return s.with(fmt.Sprintf("38;5;%d", palette[index%len(palette)]), text)
}
