package config

import "net/netip"

// HTTP configures the web server.
type HTTP struct {
	// Enabled is true unless written.
	Enabled bool `yaml:"enabled" jsonschema:"default=true"`
	// Listen is the address to listen on. Default: the helper's addresses.
	Listen netip.Addr `yaml:"listen"`
	// Port to listen on. Default: 8080.
	Port int `yaml:"port" jsonschema:"minimum=1,maximum=65535,default=8080"`
	// TLSPort serves the same by HTTPS too, such as 8443; `helperd ca` prints what clients must trust. Default: no HTTPS.
	TLSPort int `yaml:"tls_port" jsonschema:"minimum=1,maximum=65535"`
	// Root is a folder with files of your own.
	Root string `yaml:"root"`
	// Listing shows the files of a folder.
	Listing bool `yaml:"listing"`
}

// TFTP configures the TFTP server.
type TFTP struct {
	// Enabled is true unless written.
	Enabled bool `yaml:"enabled" jsonschema:"default=true"`
	// Listen is the address to listen on. Default: the helper's addresses.
	Listen netip.Addr `yaml:"listen"`
	// Port to listen on. Default: 69.
	Port int `yaml:"port" jsonschema:"minimum=1,maximum=65535,default=69"`
	// Root is a folder with files of your own.
	Root string `yaml:"root"`
	// Listing is for http and ftp only.
	Listing bool `yaml:"listing"`
}

// FTP configures the FTP server.
type FTP struct {
	// Enabled is true unless written.
	Enabled bool `yaml:"enabled" jsonschema:"default=true"`
	// Listen is the address to listen on. Default: the helper's addresses.
	Listen netip.Addr `yaml:"listen"`
	// Port to listen on. Default: 21.
	Port int `yaml:"port" jsonschema:"minimum=1,maximum=65535,default=21"`
	// Root is a folder with files of your own.
	Root string `yaml:"root"`
	// Listing shows the files of a folder.
	Listing bool `yaml:"listing"`
	// PassivePorts of data connections, as FIRST-LAST. Default: 30000-30009.
	PassivePorts PortRange `yaml:"passive_ports" jsonschema:"default=30000-30009"`
}

// NTP configures the time server.
type NTP struct {
	// Enabled is true unless written.
	Enabled bool `yaml:"enabled" jsonschema:"default=true"`
	// Listen is the address to listen on. Default: the helper's addresses.
	Listen netip.Addr `yaml:"listen"`
	// Port to listen on. Default: 123.
	Port int `yaml:"port" jsonschema:"minimum=1,maximum=65535,default=123"`
}

// NFS configures the NFS server.
type NFS struct {
	// Enabled is true unless written.
	Enabled bool `yaml:"enabled" jsonschema:"default=true"`
	// Exports that clients may mount.
	Exports []Export `yaml:"exports"`
}

// Export is a folder that clients may mount.
type Export struct {
	// Path of the folder.
	Path string `yaml:"path" jsonschema:"required"`
	// Clients that may mount it. Default: the networks.
	Clients []netip.Prefix `yaml:"clients"`
	// Access is rw or ro. Default: rw.
	Access string `yaml:"access" jsonschema:"enum=rw,enum=ro,default=rw"`
	// Squash is root, all or none. Default: root.
	Squash string `yaml:"squash" jsonschema:"enum=root,enum=all,enum=none,default=root"`
	// Secure demands a privileged source port. Default: true.
	Secure bool `yaml:"secure" jsonschema:"default=true"`
	// Sync writes to disk before the answer. Default: true.
	Sync bool `yaml:"sync" jsonschema:"default=true"`
}

// Admin configures the ways in for people.
type Admin struct {
	// Socket is true unless written: the API on a unix socket.
	Socket bool `yaml:"socket" jsonschema:"default=true"`
	// Listen is the address of the web UI and API. Default: helper.address:9000.
	Listen AddrPort `yaml:"listen"`
}

// History configures where configuration is pulled from.
type History struct {
	// Remote is a git URL to pull the configuration from.
	Remote string `yaml:"remote"`
	// Interval between pulls. Default: 1m.
	Interval Duration `yaml:"interval" jsonschema:"default=1m"`
}
