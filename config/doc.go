// Package config reads /etc/helper.yaml.
//
// Load turns the bytes of one file into a Config with its defaults filled in,
// or into diagnostics that name every mistake of the file in one run, each
// with line, column, and what to write instead. It reads no disk and asks no
// network: whether a named file or folder exists is for others to say.
//
// The types in types.go are the one description of the format. Their struct
// tags carry keys, required keys, allowed words, bounds and constant defaults;
// their doc comments become the JSON schema and the documentation.
//
// Left out: writing the file, and everything that can be derived from it,
// which is package plan's.
package config
