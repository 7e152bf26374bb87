# Nothing that holds data leaves without a decision of its own.
package acme["data-classification"]

default allow := false

allow if not holds_data

holds_data if startswith(input.environment.operation, "reports.")

holds_data if startswith(input.environment.operation, "payments.")
