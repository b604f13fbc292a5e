package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// LoadOption is the value of a Boot#### variable (UEFI 2.10, §3.1.3).
type LoadOption struct {
	Attributes uint32
	Label      string
	Path       []byte // packed device path
	Data       []byte // for the loader
}

const active = 1 // LOAD_OPTION_ACTIVE

// Parse reads an option.
func Parse(b []byte) (LoadOption, error) {
	if len(b) < 8 {
		return LoadOption{}, fmt.Errorf("load option of %d bytes", len(b))
	}
	o := LoadOption{Attributes: binary.LittleEndian.Uint32(b)}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	b = b[6:]
	var label []uint16
	for {
		if len(b) < 2 {
			return LoadOption{}, errors.New("load option: the description does not end")
		}
		c := binary.LittleEndian.Uint16(b)
		b = b[2:]
		if c == 0 {
			break
		}
		label = append(label, c)
	}
	if n > len(b) {
		return LoadOption{}, fmt.Errorf("load option: device path of %d bytes in %d", n, len(b))
	}
	o.Label = string(utf16.Decode(label))
	o.Path, o.Data = b[:n:n], b[n:]
	return o, nil
}

// Bytes is the variable's value.
func (o LoadOption) Bytes() []byte {
	b := binary.LittleEndian.AppendUint32(nil, o.Attributes)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(o.Path)))
	b = append(b, wide(o.Label)...)
	return append(append(b, o.Path...), o.Data...)
}

// File is the option that starts a file on a partition of a GPT. Start and size
// are in sectors; guid is as it lies on disk. The short form, which begins at the
// partition, holds wherever the disk is plugged in (UEFI 2.10, §3.1.2).
func File(label string, partition int, start, size int64, guid [16]byte, path string) LoadOption {
	hd := binary.LittleEndian.AppendUint32([]byte{4, 1, 42, 0}, uint32(partition))
	hd = binary.LittleEndian.AppendUint64(hd, uint64(start))
	hd = binary.LittleEndian.AppendUint64(hd, uint64(size))
	hd = append(hd, guid[:]...)
	hd = append(hd, 2, 2) // GPT, signature is a GUID
	name := wide(path)
	file := append(binary.LittleEndian.AppendUint16([]byte{4, 4}, uint16(len(name)+4)), name...)
	return LoadOption{Attributes: active, Label: label, Path: append(append(hd, file...), 0x7f, 0xff, 4, 0)}
}

// wide is s in UTF-16 with a closing zero.
func wide(s string) (b []byte) {
	for _, c := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return append(b, 0, 0)
}
