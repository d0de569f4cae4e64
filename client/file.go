// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"io"

	"claviger/envelope"
)

// EncryptFile seals src into an object at the start of
// dst, on all processors, and returns the object's size. src and dst must not be
// the same file; after an error dst holds nothing of use.
func (c *Client) EncryptFile(ctx context.Context, key string, dst io.WriterAt, src *io.SectionReader, o EncryptOptions) (int64, error) {
	w := &watch{client: c}
	return envelope.EncryptFile(ctx, wrapper{c, sealAsk(key, o), w}, dst, w.readerAt(src), src.Size(), o.envelope())
}

// DecryptFile opens the object in src into the start of dst, on all processors,
// and returns the plaintext's size. After an error dst may hold a part: write to a
// new file and rename it.
func (c *Client) DecryptFile(ctx context.Context, dst io.WriterAt, src *io.SectionReader, o DecryptOptions) (int64, Opened, error) {
	opening := c.Opening(o)
	n, err := envelope.DecryptFile(ctx, opening, dst, opening.watch.readerAt(src), src.Size(), o.envelope())
	return n, opening.opened, err
}
