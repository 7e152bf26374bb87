package redis

// Frames gives pieces to a guard's reader and returns how many messages began and ended.
func Frames(pieces ...[]byte) (begun, ended uint64, err error) {
	var f frames
	for _, piece := range pieces {
		if err := f.read(piece); err != nil {
			return f.begun, f.ended, err
		}
	}
	return f.begun, f.ended, nil
}
