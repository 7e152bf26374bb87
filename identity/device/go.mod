module github.com/kest-go/kest/identity/device

go 1.26.0

require github.com/kest-go/kest v0.0.0

replace github.com/kest-go/kest => ../..
