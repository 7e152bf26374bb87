package main

// Run is the program without the process.
var Run = run
