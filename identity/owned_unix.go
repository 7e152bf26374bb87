//go:build unix

package identity

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// owned walks down to path. Below a directory where anybody may create things, everything must belong to root or to this
// user: whoever made the rest could put a socket of their own there, and so say who this workload is and whom it believes.
func owned(path string) error {
	open := false // a directory so far that anybody may write to
	at := "/"
	for _, element := range append([]string{""}, strings.Split(strings.TrimPrefix(filepath.Clean(path), "/"), "/")...) {
		at = filepath.Join(at, element)
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: its owner is not known", at)
		}
		if open && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to another user (%d), below a directory where anybody may put things", at, stat.Uid)
		}
		open = open || info.Mode()&fs.ModeSymlink == 0 && info.IsDir() && info.Mode().Perm()&0o002 != 0
	}
	return nil
}
