// Package auto links every identity provider and takes the one that the machine asks for (SPEC §8 Auto). It is a module of
// its own, because it brings every platform's SDK along: programs that know where they run import that one provider.
package auto
