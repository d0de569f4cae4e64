// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// warnings is a logger whose records become warnings of the command line: one
// sentence and, in brackets, what it is about.
func (e *env) warnings() *slog.Logger { return slog.New(warnHandler{e: e}) }

type warnHandler struct {
	e     *env
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h warnHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// Handle implements slog.Handler.
func (h warnHandler) Handle(_ context.Context, r slog.Record) error {
	var about []string
	add := func(a slog.Attr) bool {
		about = append(about, a.Key+" "+a.Value.String())
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	text := r.Message
	if len(about) > 0 {
		text += fmt.Sprintf(" (%s)", strings.Join(about, "; "))
	}
	h.e.warn("%s", text)
	return nil
}

// WithAttrs implements slog.Handler.
func (h warnHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnHandler{h.e, append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

// WithGroup implements slog.Handler. Groups have no names of their own here.
func (h warnHandler) WithGroup(string) slog.Handler { return h }
