package e2e_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bootMark is what an installed disk writes to the serial console.
const bootMark = "E2E disk booted"

// Places on the disk, in sectors of 512 bytes.
const (
	espStart = 2048
	espSize  = 12 << 11
)

// diskImage is the rootfs of the test: a disk that says bootMark when it is
// booted, by its boot sector on BIOS, by shim and GRUB of its EFI system
// partition on UEFI. The rest is filled with a counter, so that no shifted or
// repeated block keeps the checksum.
func diskImage(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 16<<20+4321)
	for i := 512; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(i)*0x9e3779b97f4a7c15)
	}
	copy(b, bootSector())
	copy(b[espStart*512:], systemPartition(t))
	return b
}

// bootSector says bootMark on the first serial port and halts.
func bootSector() []byte {
	b := make([]byte, 512)
	copy(b, []byte{
		0xfa, 0x31, 0xc0, 0x8e, 0xd8, // cli; xor ax,ax; mov ds,ax
		0xbe, 0x28, 0x7c, // mov si,0x7c28: the text
		0xac,       // next: lodsb
		0x84, 0xc0, // test al,al
		0x74, 0x12, // jz done
		0x88, 0xc4, // mov ah,al
		0xba, 0xfd, 0x03, // mov dx,0x3fd: line status of COM1
		0xec,       // wait: in al,dx
		0xa8, 0x20, // test al,0x20: transmitter empty
		0x74, 0xfb, // jz wait
		0x88, 0xe0, // mov al,ah
		0xba, 0xf8, 0x03, // mov dx,0x3f8
		0xee,       // out dx,al
		0xeb, 0xe9, // jmp next
		0xf4,       // done: hlt
		0xeb, 0xfd, // jmp done
	})
	copy(b[0x28:], bootMark+"\r\n\x00")
	entry := b[446:]
	entry[0], entry[4] = 0x80, 0xef // active; EFI system partition
	binary.LittleEndian.PutUint32(entry[8:], espStart)
	binary.LittleEndian.PutUint32(entry[12:], espSize)
	b[510], b[511] = 0x55, 0xaa
	return b
}

// systemPartition has signed loaders where RHEL CoreOS has them, so that they
// start with Secure Boot, too. Their GRUB has its folder built in.
func systemPartition(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	esp, menu := filepath.Join(dir, "esp"), filepath.Join(dir, "grub.cfg")
	shim := first(t, "shim", "/usr/lib/shim/shimx64.efi.signed", "/usr/lib/efi/shim/*/EFI/*/shimx64.efi")
	grub := first(t, "GRUB for disks", "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "/usr/lib/efi/grub2/*/EFI/*/grubx64.efi", "/boot/efi/EFI/*/grubx64.efi")
	must(t, os.WriteFile(esp, make([]byte, espSize*512), 0o644))
	must(t, os.WriteFile(menu, []byte("echo '"+bootMark+"'\nsleep 30\nhalt\n"), 0o644))
	run(t, exec.Command("mformat", "-i", esp, "-v", "ESP", "::"))
	for _, folder := range []string{"EFI", "EFI/BOOT", "EFI/redhat", "EFI/debian", "EFI/fedora"} {
		run(t, exec.Command("mmd", "-i", esp, "::"+folder))
	}
	for to, from := range map[string]string{
		"EFI/redhat/shimx64.efi": shim, "EFI/redhat/grubx64.efi": grub,
		"EFI/BOOT/BOOTX64.EFI": shim, "EFI/BOOT/grubx64.efi": grub,
		"EFI/debian/grub.cfg": menu, "EFI/fedora/grub.cfg": menu,
	} {
		run(t, exec.Command("mcopy", "-i", esp, from, "::"+to))
	}
	b, err := os.ReadFile(esp)
	must(t, err)
	return b
}
