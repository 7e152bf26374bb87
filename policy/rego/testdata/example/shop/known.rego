package shop.known

default allow := false

allow if input.subject.workload in data.shop.workloads
