package decisionlog

// ParsePath returns the names of a path; those that are stars are in stars.
func ParsePath(path string) (names []string, stars []bool, err error) {
	segments, err := parsePath(path)
	for _, s := range segments {
		names, stars = append(names, s.name), append(stars, s.star)
	}
	return names, stars, err
}
