package lineage

// Limits bound what is read and written, before any cryptography (SPEC §12). A field that is not
// positive means its default.
type Limits struct {
	EntryBytes      int // of one compact JWS; default 64 KiB
	PassportEntries int // default 1,024
	PassportBytes   int // of the text form; default 4 MiB
	Labels          int // per entry; default 64
	LabelBytes      int // of one label value; default 8 KiB
	Taints          int // in each of an entry's three taint lists; default 256
	PolicyNameBytes int // default 256
	Depth           int // of JSON nesting; an entry itself has up to 4; default 64
}

// withDefaults returns l with every field that is not positive replaced by its default.
func (l Limits) withDefaults() Limits {
	return Limits{
		EntryBytes:      or(l.EntryBytes, 64<<10),
		PassportEntries: or(l.PassportEntries, 1024),
		PassportBytes:   or(l.PassportBytes, 4<<20),
		Labels:          or(l.Labels, 64),
		LabelBytes:      or(l.LabelBytes, 8<<10),
		Taints:          or(l.Taints, 256),
		PolicyNameBytes: or(l.PolicyNameBytes, 256),
		Depth:           or(l.Depth, 64),
	}
}

func or(value, otherwise int) int {
	if value > 0 {
		return value
	}
	return otherwise
}
