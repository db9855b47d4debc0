#!/bin/bash
# Installs by apt or dnf what the tests (or the demo) need and this machine
# lacks, and says nothing when nothing is missing.
#
#   test/packages.sh test    clients, qemu, firmware, and a small kernel in .cache/e2e/kernel
#   test/packages.sh matrix  the same, and what the long form of the boots needs: arm64 in .cache/e2e/aarch64
#   test/packages.sh demo    boot loaders for the demo
#
# Without root it only says what is missing: tests skip what they cannot do.
set -euo pipefail
cd "$(dirname "$0")/.."

# One line a need: alternatives of programs or files, Debian package, Fedora package; -: it has none.
demo='
/usr/lib/ipxe/snponly.efi,/usr/share/ipxe/ipxe-snponly-x86_64.efi ipxe ipxe-bootimgs-x86
'
test="$demo"'
ip iproute2 iproute
setpriv util-linux util-linux
busybox busybox-static busybox
cpio cpio cpio
dig bind9-dnsutils bind-utils
nslookup bind9-dnsutils bind-utils
udhcpc udhcpc busybox
dhclient isc-dhcp-client dhcp-client
dhcpcd dhcpcd-base dhcpcd
bootpc bootpc -
dhcrelay isc-dhcp-relay dhcp-relay
dhcpd isc-dhcp-server dhcp-server
chronyd chrony chrony
ntpdate ntpsec-ntpdate ntpsec
ntpdig ntpsec-ntpdig ntpsec
rdate rdate rdate
tftp tftp-hpa tftp
in.tftpd tftpd-hpa tftp-server
dnsmasq dnsmasq-base dnsmasq
dhcpd isc-dhcp-server dhcp-server
kea-dhcp4 kea-dhcp4-server kea
perfdhcp kea-admin kea
radvd radvd radvd
rdisc6 ndisc6 ndisc6
/usr/lib/systemd/systemd-networkd systemd systemd-networkd
curl curl curl
nginx nginx-light nginx-core
apache2,httpd apache2-bin httpd
wrk wrk wrk
haproxy haproxy haproxy
lftp lftp lftp
python3 python3 python3
nc netcat-openbsd nmap-ncat
ncat ncat nmap-ncat
openssl openssl openssl
tcpdump tcpdump tcpdump
strace strace strace
haproxy haproxy haproxy
hatop hatop hatop
tmux tmux tmux
socat socat socat
prometheus-haproxy-exporter prometheus-haproxy-exporter -
grub-script-check,grub2-script-check grub-common grub2-tools-minimal
xz xz-utils xz
xorriso xorriso xorriso
osirrox xorriso xorriso
/usr/lib/ISOLINUX/isolinux.bin,/usr/share/syslinux/isolinux.bin isolinux syslinux-nonlinux
/usr/lib/syslinux/modules/bios/ldlinux.c32,/usr/share/syslinux/ldlinux.c32 syslinux-common syslinux-nonlinux
/usr/lib/grub/x86_64-efi/iso9660.mod grub-efi-amd64-bin grub2-efi-x64-modules
mformat mtools mtools
qemu-system-x86_64 qemu-system-x86 qemu-system-x86-core
/usr/share/OVMF/OVMF_CODE_4M.fd,/usr/share/edk2/ovmf/OVMF_CODE.fd ovmf edk2-ovmf
/usr/lib/ipxe/qemu/efi-virtio.rom,/usr/share/ipxe/qemu/efi-virtio.rom,/usr/share/ipxe.efi/1af41000.rom ipxe-qemu ipxe-roms-qemu
/usr/lib/shim/shimx64.efi.signed,/usr/lib/efi/shim,/boot/efi/EFI/fedora/shimx64.efi shim-signed shim-x64
/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed,/usr/lib/efi/grub2,/boot/efi/EFI/fedora/grubx64.efi grub-efi-amd64-signed grub2-efi-x64
mformat mtools mtools
'
matrix="$test"'
/usr/lib/PXELINUX/lpxelinux.0,/usr/share/syslinux/lpxelinux.0 pxelinux syslinux-nonlinux
/usr/lib/syslinux/modules/bios/ldlinux.c32,/usr/share/syslinux/ldlinux.c32 syslinux-common syslinux-nonlinux
dhcrelay isc-dhcp-relay dhcp-relay
qemu-system-aarch64 qemu-system-arm qemu-system-aarch64-core
/usr/share/AAVMF/AAVMF_CODE.fd,/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw qemu-efi-aarch64 edk2-aarch64
'

case ${1:-test} in
demo) needs=$demo ;;
test) needs=$test ;;
matrix) needs=$matrix ;;
*) echo "usage: $0 [test|matrix|demo]" >&2; exit 2 ;;
esac

if command -v apt-get >/dev/null; then system=debian
elif command -v dnf >/dev/null; then system=fedora
else system=other
fi

present() { # one of the alternatives in $1 exists
    local one
    for one in ${1//,/ }; do
        if [ -e "$one" ] || PATH=$PATH:/usr/sbin:/sbin command -v "$one" >/dev/null; then return 0; fi
    done
    return 1
}

missing=()   # what the tests look for
packages=()  # what brings it
look() {
    missing=() packages=()
    local what deb rpm
    while read -r what deb rpm; do
        if [ -z "$what" ] || present "$what"; then continue; fi
        if [ $system = fedora ] && [ "$rpm" = - ]; then continue; fi
        missing+=("${what%%,*}")
        if [ $system = fedora ]; then packages+=("$rpm"); else packages+=("$deb"); fi
    done <<<"$needs"
}

quietly() { # runs a command, shows what it said only when it fails
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then rm -f "$log"; return 0; fi
    cat "$log" >&2
    rm -f "$log"
    return 1
}

install() {
    case $system in
    debian)
        export DEBIAN_FRONTEND=noninteractive
        # Servers that helperd is compared with must not start: they would hold its ports.
        local policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
            printf '#!/bin/sh\nexit 101\n' >$policy
            chmod 755 $policy
            trap 'rm -f /usr/sbin/policy-rc.d' RETURN
        fi
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 && return
        quietly apt-get update -qq
        quietly apt-get install -y -qq --no-install-recommends "${packages[@]}"
        ;;
    fedora) quietly dnf install -y -q --setopt=install_weak_deps=False "${packages[@]}" ;;
    esac
}

# What virtual machines boot is unpacked and not installed: it is nothing to
# this machine. Another architecture's packages are fetched with lists of
# their own, so that this machine's stay as they are.
modules='virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net virtio_blk veth'
apt_for() { # runs the apt command $3 for architecture $1, with its state below $2 if it is not this machine's
    local arch=$1 state=$2 command=$3 options=(-o APT::Sandbox::User=root)
    shift 3
    if [ "$arch" != "$(dpkg --print-architecture)" ]; then
        mkdir -p "$state/lists/partial" "$state/archives/partial"
        touch "$state/status"
        options+=(-o APT::Architecture="$arch" -o APT::Architectures="$arch"
            -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state")
    fi
    "$command" "${options[@]}" "$@"
}

debian_unpack() { # $1 architecture, $2 folder: unpacks the kernel that the metapackage depends on, and more packages
    local arch=$1 work=$2 name
    shift 2
    name=$(apt_for "$arch" "$work/apt" apt-cache depends "linux-image-cloud-$arch" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$name" ] && (cd "$work" && quietly apt_for "$arch" "$work/apt" apt-get download "$name" "$@" &&
        for deb in ./*.deb; do dpkg -x "$deb" tree; done)
}

fedora_unpack() { # the same of Fedora's architecture $1, by packages alone
    local arch=$1 work=$2
    shift 2
    (cd "$work" && quietly dnf download -q --forcearch "$arch" --destdir . "$@" &&
        mkdir tree && for p in *.rpm; do rpm2cpio "$p" | (cd tree && cpio -idm --quiet); done)
}

collect() { # takes kernel and modules from the tree of $1 into $2
    local work=$1 cache=$2 module found
    mkdir -p "$cache"
    for module in $modules; do
        found=$(find "$work/tree" -name "$module.ko*" | head -n 1)
        case $found in
        *.xz) xz -dc "$found" >"$cache/$module.ko" ;;
        *.zst) zstd -dcq "$found" >"$cache/$module.ko" ;;
        ?*) cp "$found" "$cache/" ;;
        esac # not found: built into the kernel
    done
    find "$work/tree" -name 'vmlinuz*' -exec cp {} "$cache/vmlinuz.new" \;
    mv "$cache/vmlinuz.new" "$cache/vmlinuz" # last: it says that the folder is whole
}

kernel() {
    local cache=.cache/e2e/kernel work
    if [ -e $cache/vmlinuz ]; then return; fi
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    case $system in
    debian)
        # The lists may be old, or not be there.
        debian_unpack amd64 "$work" 2>/dev/null || { quietly apt-get update -qq && debian_unpack amd64 "$work"; }
        ;;
    fedora) fedora_unpack x86_64 "$work" kernel-core kernel-modules-core ;;
    esac
    collect "$work" $cache
}

arm64() { # kernel, boot loaders and a busybox of arm64
    local cache=.cache/e2e/aarch64 work
    if [ -e $cache/vmlinuz ]; then return; fi
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    case $system in
    debian)
        quietly apt_for arm64 "$work/apt" apt-get update -qq
        debian_unpack arm64 "$work" shim-signed grub-efi-arm64-signed busybox-static
        ;;
    fedora) fedora_unpack aarch64 "$work" kernel-core kernel-modules-core shim-aa64 grub2-efi-aa64 busybox ;;
    esac
    mkdir -p $cache
    find "$work/tree" \( -name grubnetaa64.efi.signed -o -name grubaa64.efi \) -exec cp {} $cache/grubaa64.efi \;
    find "$work/tree" \( -name shimaa64.efi.signed -o -name shimaa64.efi \) -exec cp {} $cache/shimaa64.efi \;
    find "$work/tree" -name busybox -type f -perm -u+x -exec cp {} $cache/busybox \;
    [ -s $cache/grubaa64.efi ] && [ -s $cache/shimaa64.efi ] && [ -s $cache/busybox ] && collect "$work" $cache
}

look
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "$0: not installed: ${missing[*]}; run it as root, or install: ${packages[*]}" >&2
        exit 0
    elif [ $system = other ]; then
        echo "$0: neither apt nor dnf is here; install by hand: ${missing[*]}" >&2
        exit 1
    fi
    echo "installing ${packages[*]}"
    install || { echo "$0: cannot install ${packages[*]}" >&2; exit 1; }
    look
    if [ ${#missing[@]} -gt 0 ]; then
        echo "$0: still missing after the installation: ${missing[*]}" >&2
        exit 1
    fi
fi
if [ "${1:-test}" != demo ] && [ "$(id -u)" = 0 ] && [ $system != other ]; then
    kernel || { echo "$0: cannot fetch a kernel for the virtual machines" >&2; exit 1; }
    if [ "${1:-test}" = matrix ]; then
        arm64 || { echo "$0: cannot fetch kernel and boot loaders of arm64" >&2; exit 1; }
    fi
fi
