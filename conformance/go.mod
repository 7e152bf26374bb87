module github.com/kest-go/kest/conformance

go 1.26.0

require (
	github.com/c2sp/wycheproof v0.0.0-20260105152342-fca0d3ba9f12
	github.com/kest-go/kest v0.0.0
	github.com/kest-go/kest/fastverify v0.0.0
	pgregory.net/rapid v1.3.0
)

require filippo.io/edwards25519 v1.2.0 // indirect

replace github.com/kest-go/kest => ../

replace github.com/kest-go/kest/fastverify => ../fastverify
