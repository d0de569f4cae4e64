// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Configuration files are TOML 1.0, of which this reads a part: tables of one
// level and, in them, strings, whole decimal numbers and true or false, each on
// one line. What it reads means the same to every TOML reader; what it doesn't
// know it refuses with the line, as it refuses keys that nobody asks for, and
// keys that are set twice.

// maxConfig bounds a configuration file.
const maxConfig = 64 << 10

// bare matches a table's or setting's name.
const bare = `[A-Za-z0-9_-]+`

// The forms of a line.
var (
	tableLine   = regexp.MustCompile(`^\[[ \t]*(` + bare + `)[ \t]*\](.*)$`)
	settingLine = regexp.MustCompile(`^(` + bare + `)[ \t]*=[ \t]*(.*)$`)
	basicString = regexp.MustCompile(`^"(?:[^"\\]|\\[btnfr"\\]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})*"`)
	wholeNumber = regexp.MustCompile(`^(?:0|-?[1-9][0-9]{0,17})`)
)

// setting is one "key = value" of a configuration file.
type setting struct {
	line  int    // from 1
	name  string // "key" or "table.key"
	value any    // string, bool or int
}

// lineError says what is wrong on which line. It never repeats a value.
func lineError(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...))
}

// parseSettings reads the text of a configuration file.
func parseSettings(text string) ([]setting, error) {
	if !utf8.ValidString(text) || len(text) > maxConfig {
		return nil, fmt.Errorf("it is not UTF-8 text of at most %d bytes", maxConfig)
	}
	var out []setting
	table, seen := "", map[string]int{}
	for i, raw := range strings.Split(text, "\n") {
		line, content := i+1, strings.Trim(strings.TrimSuffix(raw, "\r"), " \t")
		if content == "" || content[0] == '#' {
			continue
		}
		form := tableLine.FindStringSubmatch(content)
		isTable := form != nil
		if !isTable {
			form = settingLine.FindStringSubmatch(content)
		}
		if form == nil {
			return nil, lineError(line, "neither a table nor a setting")
		}
		name, rest := table+form[1], form[2]
		if isTable {
			name = form[1]
		}
		if first := seen[name]; first != 0 {
			return nil, lineError(line, "%s is on line %d already", name, first)
		}
		seen[name] = line
		if isTable {
			table = name + "."
		} else {
			value, after, err := parseValue(rest)
			if err != nil {
				return nil, lineError(line, "%s: %v", name, err)
			}
			out, rest = append(out, setting{line, name, value}), after
		}
		if rest = strings.TrimLeft(rest, " \t"); rest != "" && rest[0] != '#' {
			return nil, lineError(line, "something follows the end of %s", name)
		}
	}
	return out, nil
}

// parseValue reads the value at the front of text and returns what follows it.
func parseValue(text string) (value any, rest string, err error) {
	switch {
	case strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0:
		return nil, "", errors.New("a control character")
	case strings.HasPrefix(text, `"""`) || strings.HasPrefix(text, "'''"):
		return nil, "", errors.New("a string is written on one line")
	case strings.HasPrefix(text, `"`):
		quoted := basicString.FindString(text)
		plain, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, "", errors.New("malformed string")
		}
		return plain, text[len(quoted):], nil
	case strings.HasPrefix(text, "'"):
		plain, rest, closed := strings.Cut(text[1:], "'")
		if !closed {
			return nil, "", errors.New("malformed string")
		}
		return plain, rest, nil
	}
	for word, value := range map[string]bool{"true": true, "false": false} {
		if rest, ok := strings.CutPrefix(text, word); ok {
			return value, rest, nil
		}
	}
	if digits := wholeNumber.FindString(text); digits != "" {
		n, err := strconv.Atoi(digits)
		return n, text[len(digits):], err
	}
	return nil, "", errors.New("a string, a whole number, true or false is wanted")
}

// decodeSettings stores settings by name in what fields point to: *string,
// *bool or *int. A name that is not among them is refused.
func decodeSettings(settings []setting, fields map[string]any) error {
	for _, s := range settings {
		ok := true
		switch to := fields[s.name].(type) {
		case *string:
			*to, ok = s.value.(string)
		case *bool:
			*to, ok = s.value.(bool)
		case *int:
			*to, ok = s.value.(int)
		default:
			return lineError(s.line, "unknown key %q", s.name)
		}
		if !ok {
			return lineError(s.line, "%s is a %T here; another type is wanted", s.name, s.value)
		}
	}
	return nil
}
