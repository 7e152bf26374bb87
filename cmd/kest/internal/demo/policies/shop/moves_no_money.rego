# Steps that anybody may start, whatever their trust, because they move no money.
package shop.moves_no_money

default allow := false

allow if input.environment.operation in {
	"gateway.takeOrder",
	"gateway.askAgent",
	"gateway.checkProposal",
	"gateway.requestRefund",
	"gateway.askRails",
	"agent.readMessage",
	"ledger.quote",
}
