package kesthttp

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/kest-go/kest/propagate"
)

// problem is a problem document (RFC 9457 §3). Its type is about:blank: the class says it all.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
}

// WriteError answers with the problem document of an error's class ([propagate.ClassOf]): 403 when a policy denied a
// guarded call, 503 when its engine could not answer, 500 for errors without a class. It shows nothing of the error's
// text, and must come before anything else is written.
func WriteError(w http.ResponseWriter, err error) { writeProblem(w, propagate.ClassOf(err), "Bearer") }

// ErrorOf is the error of an answer with a status of 400 or more, as whoever relays it sees it, and nil for others. A
// refusal of the other service, 403, and one that could not be decided, 503, keep their classes for [WriteError];
// everything else is [propagate.Fault], because the request was ours. It does not read or close the body.
func ErrorOf(resp *http.Response) error {
	if resp.StatusCode < http.StatusBadRequest {
		return nil
	}
	class := propagate.Fault
	switch resp.StatusCode {
	case http.StatusForbidden:
		class = propagate.Forbidden
	case http.StatusServiceUnavailable:
		class = propagate.Unavailable
	}
	return &propagate.RefusedError{Class: class, Err: fmt.Errorf("the other service answered %d", resp.StatusCode)}
}

func writeProblem(w http.ResponseWriter, class propagate.Class, challenge string) {
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if class == propagate.Unauthenticated {
		h.Set("WWW-Authenticate", challenge) // RFC 9110 §15.5.2
	}
	text, _ := json.Marshal(problem{"about:blank", class.Title(), class.Status()}) // strings and a number
	w.WriteHeader(class.Status())
	w.Write(append(text, '\n'))
}
