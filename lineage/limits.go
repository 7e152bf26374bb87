package lineage

// Limits bound what is read and written, before any cryptography (SPEC §12). A zero field means its default.
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

// withDefaults returns l with every zero field replaced by its default.
func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.EntryBytes, 64 << 10}, {&l.PassportEntries, 1024}, {&l.PassportBytes, 4 << 20},
		{&l.Labels, 64}, {&l.LabelBytes, 8 << 10}, {&l.Taints, 256},
		{&l.PolicyNameBytes, 256}, {&l.Depth, 64},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return l
}
