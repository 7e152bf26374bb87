// Package rest asks one HTTP server for answers that decide whether a call may run, so it trusts the server with
// nothing but its answer: everything is bounded in size and time, nothing is retried, no redirect is followed, no
// proxy is taken from the environment, and errors repeat neither the token nor the server's words. It is the
// transport of policy/opa and policy/cedaragent, which know what to send and how to read the answer.
package rest
