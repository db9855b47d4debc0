package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
)

// firmware of a machine, and the network boot code on its card.
type firmware string

const (
	biosIPXE   firmware = "BIOS, iPXE in the card's ROM"
	biosPXE    firmware = "BIOS, a card's ROM that does not say it is iPXE"
	uefiPXE    firmware = "UEFI, PXE of the firmware itself" // knows nothing of iPXE
	uefiHTTP   firmware = "UEFI, HTTP Boot"
	uefiPXE6   firmware = "UEFI, PXE over IPv6"
	uefiSecure firmware = "UEFI, PXE with Secure Boot"
	armUEFI    firmware = "arm64 UEFI, PXE"
)

// uefi reports whether the machine has UEFI and no BIOS.
func (f firmware) uefi() bool { return f != biosIPXE && f != biosPXE }

// arch of the machine's processor.
func (f firmware) arch() string {
	if f == armUEFI {
		return "aarch64"
	}
	return "x86_64"
}

// console is the kernel's name of the first serial port.
func (f firmware) console() string {
	if f == armUEFI {
		return "ttyAMA0"
	}
	return "ttyS0,115200"
}

// code and variables are the firmware's files, which distributions put in places of their own.
func (f firmware) code(t *testing.T) string {
	switch f {
	case uefiSecure:
		return first(t, "OVMF with Secure Boot", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd")
	case armUEFI:
		return first(t, "UEFI for arm64", "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw")
	}
	return first(t, "OVMF", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd")
}

func (f firmware) variables(t *testing.T) string {
	switch f {
	case uefiSecure: // with Microsoft's keys
		return first(t, "OVMF's variables with keys", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd")
	case armUEFI:
		return first(t, "variables of UEFI for arm64", "/usr/share/AAVMF/AAVMF_VARS.fd", "/usr/share/edk2/aarch64/vars-template-pflash.raw")
	}
	return first(t, "OVMF's variables", "/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd")
}

// machine are qemu's arguments for the machine without disk and console.
func (m *vm) machine(t *testing.T) []string {
	t.Helper()
	accel := os.Getenv("E2E_ACCEL")
	if accel == "" {
		accel = "tcg"
	}
	card := "virtio-net-pci,netdev=n0,bootindex=1,mac=" + m.mac
	args := []string{
		"-accel", accel, "-m", "768", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
	}
	if m.firmware == biosPXE {
		args = append(args, "-netdev", "dgram,id=n0,local.type=unix,local.path="+m.cable("card")+",remote.type=unix,remote.path="+m.cable("lan"))
	} else {
		args = append(args, "-netdev", "tap,id=n0,ifname="+m.tap+",script=no,downscript=no,vnet_hdr=off")
	}
	if !m.firmware.uefi() {
		// qemu's own ROM of the card is iPXE. graphics=off: SeaBIOS mirrors the screen to the serial console.
		return append(args, "-machine", "pc,graphics=off", "-cpu", "qemu64", "-device", card)
	}
	args = append(args, "-device", card+",romfile=",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+m.firmware.code(t),
		"-drive", "if=pflash,unit=1,format=raw,file="+filepath.Join(m.dir, "vars"))
	switch m.firmware {
	case armUEFI:
		return append(args, "-machine", "virt", "-cpu", "cortex-a72")
	case uefiSecure:
		return append(args, "-machine", "q35,smm=on", "-cpu", "qemu64", "-global", "driver=cfi.pflash01,property=secure,value=on")
	case uefiHTTP: // PXE would come first
		args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
	case uefiPXE6:
		args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
		return append(args, "-machine", "q35", "-cpu", "qemu64")
	}
	// Nobody answers DHCPv6: a minute of waiting between the card's other ways to boot and the disk.
	args = append(args, "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
	return append(args, "-machine", "q35", "-cpu", "qemu64")
}
