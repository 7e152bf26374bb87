// Package tree reads the files of the engines that decide inside the process, and keeps what was last good of them.
package tree
