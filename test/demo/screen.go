package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Sequences that move on a terminal.
const (
	clearBelow = "\x1b[J"
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
)

// screen is where the demo shows things: a terminal, on which a picture is drawn again and again in the same place, or
// anything else, which gets lines.
type screen struct {
	out   io.Writer
	file  *os.File
	live  bool // a picture can be drawn
	style style
	drawn int // lines of the picture that stand on the terminal and may be overwritten
	last  string
}

func newScreen(file *os.File, plain bool) *screen {
	s := &screen{out: file, file: file}
	terminal := term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
	s.live = terminal && !plain
	s.style.colour = terminal && os.Getenv("NO_COLOR") == ""
	if s.live {
		fmt.Fprint(s.out, hideCursor)
	}
	return s
}

// close leaves the terminal as it was.
func (s *screen) close() {
	if s.live {
		fmt.Fprint(s.out, showCursor)
	}
}

func (s *screen) title(text string) {
	fmt.Fprintf(s.out, "\n%s  %s\n", s.style.bold("RETINUE"), text)
}

func (s *screen) note(text string) {
	s.wipe()
	fmt.Fprintf(s.out, "  %s\n", s.style.dim(text))
}

func (s *screen) heading(text string) {
	s.wipe()
	fmt.Fprintf(s.out, "\n%s\n", s.style.bold(text))
}

func (s *screen) lines(lines []string) {
	for _, line := range lines {
		fmt.Fprintln(s.out, line)
	}
}

// progress is where steps are reported that matter only while they last.
func (s *screen) progress() io.Writer { return progress{s} }

type progress struct{ screen *screen }

// Write takes whole lines.
func (p progress) Write(text []byte) (int, error) {
	line := "    " + strings.TrimRight(string(text), "\n")
	if p.screen.live {
		p.screen.draw([]string{p.screen.style.dim(line)}, nil)
	} else {
		fmt.Fprintln(p.screen.out, line)
	}
	return len(text), nil
}

// draw replaces the picture. Where none can be drawn, the news are printed instead.
func (s *screen) draw(picture, news []string) {
	width, height := 100, 24
	if s.live {
		if w, h, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 && h > 0 {
			width, height = w, h
		}
	}
	if !s.live || len(picture) >= height {
		s.lines(news)
		return
	}
	var text strings.Builder
	for _, line := range picture {
		text.WriteString(cut(line, width-1))
		text.WriteString("\x1b[K\n")
	}
	if text.String() == s.last {
		return
	}
	s.last = text.String()
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA", s.drawn)
	}
	fmt.Fprint(s.out, s.last+clearBelow)
	s.drawn = len(picture)
}

// keep lets the picture stand.
func (s *screen) keep() { s.drawn, s.last = 0, "" }

// wipe removes the picture.
func (s *screen) wipe() {
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA%s", s.drawn, clearBelow)
	}
	s.keep()
}

// cut shortens a line to so many characters; sequences that colour do not count and stay whole.
func cut(line string, width int) string {
	var out strings.Builder
	shown := 0
	for i := 0; i < len(line); {
		if line[i] == '\x1b' {
			end := strings.IndexByte(line[i:], 'm')
			if end < 0 {
				break
			}
			out.WriteString(line[i : i+end+1])
			i += end + 1
			continue
		}
		r, size := utf8.DecodeRuneInString(line[i:])
		i += size
		switch {
		case shown < width-1 || shown == width-1 && !more(line[i:]):
			out.WriteRune(r)
		case shown == width-1:
			out.WriteRune('…')
		}
		shown++
	}
	return out.String()
}

// more tells whether anything that shows is left of a line.
func more(rest string) bool {
	for strings.HasPrefix(rest, "\x1b") {
		end := strings.IndexByte(rest, 'm')
		if end < 0 {
			return false
		}
		rest = rest[end+1:]
	}
	return rest != ""
}
