// Package examples holds the programs that README shows, as runnable examples; a test holds the two together.
package examples
