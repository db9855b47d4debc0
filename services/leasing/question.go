package leasing

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"helperd/plan"
)

// Question asks what a machine would get by DHCP if it asked now.
type Question struct {
	MAC plan.MAC
	// ClientID is option 61 of its requests; empty: it sends none.
	ClientID []byte
	// Firmware is one of Firmwares by its name; empty: all of them.
	Firmware string
	// Relay is the address of the relay agent that its requests come through; not valid: they come as it is connected.
	Relay netip.Addr
	// Network is where it is; zero: wherever it has an address, or anywhere.
	Network netip.Prefix
}

// Answer is what a machine would get in one place, and why.
type Answer struct {
	Network netip.Prefix `json:"network"`
	// Via is how its requests come here, such as "on eth0" or "through relay 10.30.8.1".
	Via     string  `json:"via"`
	Outcome Outcome `json:"outcome"`
	// Reason says why, in one sentence.
	Reason   string        `json:"reason"`
	Node     string        `json:"node,omitempty"` // FQDN
	Address  netip.Addr    `json:"address,omitzero"`
	Hostname string        `json:"hostname,omitempty"`
	Lease    time.Duration `json:"lease_ns,omitempty"`
	Options  []Option      `json:"options,omitempty"`
	Boot     []Boot        `json:"boot,omitempty"`
	// Warnings are what else to know of the place or the machine, such as another DHCP server.
	Warnings []string `json:"warnings,omitempty"`
}

// Outcome says where the address of an answer comes from.
type Outcome string

// The outcomes.
const (
	FromReservation Outcome = "reservation" // helper.yaml has the machine
	FromPool        Outcome = "pool"
	BootOnly        Outcome = "boot" // boot files alone; addresses are another server's
	Refused         Outcome = "refused"
)

// Option is one option of an answer in words.
type Option struct {
	Code  int    `json:"code"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Boot is what one kind of firmware is told to load.
type Boot struct {
	Firmware string     `json:"firmware"` // of Firmwares
	Loads    string     `json:"loads,omitempty"`
	Over     string     `json:"over,omitempty"`   // TFTP or HTTP
	From     netip.Addr `json:"from,omitzero"`    // the TFTP server, where Loads does not name it
	Reason   string     `json:"reason,omitempty"` // why it loads nothing
}

// Over is the protocol that a boot file is fetched by.
func Over(file string) string {
	scheme, _, ok := strings.Cut(file, "://")
	switch {
	case file == "":
		return ""
	case !ok:
		return "TFTP"
	}
	return strings.ToUpper(scheme)
}

// Firmware is a kind of program that asks for something to boot.
type Firmware struct {
	Name string
	Arch uint16 // option 93, or 61 of DHCPv6
	IPXE bool
	HTTP bool
}

// Firmwares are those that are told apart.
func Firmwares() []Firmware {
	return []Firmware{
		{Name: "bios", Arch: plan.ArchBIOS},
		{Name: "uefi-x64", Arch: plan.ArchEFI64},
		{Name: "uefi-x86", Arch: plan.ArchEFI32},
		{Name: "uefi-arm64", Arch: plan.ArchEFIArm64},
		{Name: "http-x64", Arch: plan.ArchHTTP64, HTTP: true},
		{Name: "http-arm64", Arch: plan.ArchHTTPArm64, HTTP: true},
		{Name: "ppc64", Arch: plan.ArchPPC64},
		{Name: "petitboot", Arch: plan.ArchPetitboot},
		{Name: "ipxe", Arch: plan.ArchEFI64, IPXE: true},
	}
}

// Asked are the firmwares that the question is about.
func (q *Question) Asked() []Firmware {
	var out []Firmware
	for _, f := range Firmwares() {
		if q.Firmware == "" || q.Firmware == f.Name {
			out = append(out, f)
		}
	}
	return out
}

// Wants reports whether the question is about network n, where the machine has
// an address in the file or not. has: it has one in any network.
func (q *Question) Wants(n netip.Prefix, here, has bool) bool {
	if q.Network.IsValid() {
		return n == q.Network
	}
	return here || !has
}

// Relevant leaves out where a machine of the file gets nothing, unless the
// question is about one place: it is not there.
func (q *Question) Relevant(all []Answer) []Answer {
	declared := slices.ContainsFunc(all, func(a Answer) bool { return a.Outcome == FromReservation })
	if !declared || q.Network.IsValid() || q.Relay.IsValid() {
		return all
	}
	return slices.DeleteFunc(all, func(a Answer) bool { return a.Outcome == Refused })
}
