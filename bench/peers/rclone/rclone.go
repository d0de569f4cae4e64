// SPDX-License-Identifier: Apache-2.0

// Package rclone is rclone's crypt backend as a peer.
package rclone

import (
	"io"

	"claviger/bench/peers"

	"github.com/rclone/rclone/backend/crypt"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
)

// Peer encrypts and decrypts what files hold; their names stay.
var Peer = peers.Peer{Name: "rclone", Shown: "rclone crypt", Encrypt: encrypt, Decrypt: decrypt}

// passphrase is fixed, like the other peers' keys.
const passphrase = "0123456789abcdef0123456789abcdef"

func open() (*crypt.Cipher, error) {
	password, err := obscure.Obscure(passphrase)
	if err != nil {
		return nil, err
	}
	return crypt.NewCipher(configmap.Simple{"password": password, "filename_encryption": "off", "filename_encoding": "base32", "suffix": ".bin"})
}

func encrypt(dst io.Writer, src io.Reader) error {
	c, err := open()
	if err != nil {
		return err
	}
	r, err := c.EncryptData(src)
	if err != nil {
		return err
	}
	return peers.Feed(dst, r)
}

func decrypt(dst io.Writer, src io.Reader) error {
	c, err := open()
	if err != nil {
		return err
	}
	r, err := c.DecryptData(io.NopCloser(src))
	if err != nil {
		return err
	}
	defer r.Close()
	return peers.Feed(dst, r)
}
