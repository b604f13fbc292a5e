package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ingot-metal/ingot/agent/deploy"
	api "github.com/ingot-metal/ingot/api/agent"
)

// archive makes a cpio of a tree that is added to a ramdisk: directories, regular
// files and symbolic links, root's. What would never be found, or would replace our
// own, is refused.
func archive(dir string) ([]byte, error) {
	methods := strings.TrimPrefix(deploy.Dir, "/") + "/"
	var c cpio
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		name = filepath.ToSlash(name)
		if top, _, _ := strings.Cut(name, "/"); top == "init" || top == "modules" {
			return fmt.Errorf("%s would replace the ramdisk's own /%s", path, top)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if method, ok := strings.CutPrefix(name, methods); ok {
			switch {
			case !api.ValidMethod(method):
				return fmt.Errorf("%s: a deploy method's name has letters, digits, dots, dashes and underscores, and there are no directories beside it", path)
			case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
				return fmt.Errorf("%s: a deploy method is a file that can be executed (chmod +x)", path)
			}
			found++
		}
		switch {
		case info.IsDir():
			c.dir(name)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			c.file(name, int(info.Mode().Perm()), data)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			c.entry(name, 0o120777, 0, 0, []byte(to))
		default:
			return fmt.Errorf("%s is neither a file nor a directory nor a link", path)
		}
		return nil
	})
	if err == nil && found > api.MaxMethods {
		err = fmt.Errorf("%d deploy methods, at most %d are allowed", found, api.MaxMethods)
	}
	if err != nil {
		return nil, errors.Join(errors.New("-add "+dir), err)
	}
	return c.bytes(), nil
}
