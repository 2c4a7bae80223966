#!/usr/bin/env bash
# Builds what the virtual machines boot: a stock Debian of the release and from the mirror that this machine's own apt uses, with the
# packages that a host of Weft needs. Prints the directory with vmlinuz, initrd.img and root.ext4, and builds nothing that is there.
#   image.sh CACHE_DIRECTORY
set -euo pipefail
cache="${1:?usage: image.sh CACHE_DIRECTORY}"
export PATH="$PATH:/usr/sbin:/sbin"

fail() { printf 'error: %s\n  why: %s\n  hint: %s\n' "$1" "$2" "$3" >&2; exit 1; }

# What deploy/setup.sh installs on a host and for the netns tests, a kernel, and what a minimal Debian lacks to boot and to load modules.
packages='linux-image-amd64,systemd-sysv,udev,kmod,etcd-server,etcd-client,containerd,runc,nftables,iproute2,conntrack,busybox-static'
packages="$packages,util-linux,procps,wireguard-tools,tini,tcpdump,iputils-ping,perl,ca-certificates,nfs-kernel-server"
ROOT_SIZE=3G

sources=$(apt-get indextargets --format 'deb $(SITE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' "Architecture: $(dpkg --print-architecture)" 'Component: main' | sort -u)
[ -n "$sources" ] || fail 'the virtual machines need Debian' "this machine's apt knows no package lists of Debian" 'Run apt-get update on a Debian 12 machine.'

suite=$(head -1 <<<"$sources" | cut -d" " -f3)

# Another package list, another release or another script is another image.
key=$(cat "${BASH_SOURCE[0]}" - <<<"$packages $sources" | sha256sum | cut -c1-12)
image="$cache/$key"
if [ ! -e "$image/root.ext4" ]; then
  [ "$(id -u)" = 0 ] || fail 'building the image needs root' 'its files belong to root and other system users' 'sudo -E npm run test:vm (later runs take the image from the cache).'
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/building-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  echo "Building the image of the virtual machines from $(head -1 <<<"$sources" | cut -d' ' -f2) (once; kept in $image)" >&2
  # Modules of the first disk alone: a kernel that is emulated unpacks a small initrd much sooner.
  mmdebstrap --mode=root --variant=minbase --include="$packages" \
    --aptopt='Apt::Install-Recommends "false"' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" && printf "MODULES=list\nCOMPRESS=gzip\n" >"$1/etc/initramfs-tools/conf.d/weft-vm"' \
    --customize-hook='printf "virtio_pci\nvirtio_blk\nvirtio_net\nvirtio_console\nvirtio_rng\next4\ncrc32c_generic\n" >>"$1/etc/initramfs-tools/modules" && chroot "$1" update-initramfs -u' \
    --customize-hook='chroot "$1" passwd -d root >/dev/null && rm -rf "$1/var/cache/apt" "$1/usr/share/doc" "$1/usr/share/locale"' \
    --customize-hook='chroot "$1" systemctl -q mask etcd.service nftables.service nfs-server.service nfs-client.target nfs-blkmap.service rpcbind.service rpcbind.socket apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty.target getty-static.service systemd-pstore.service systemd-hwdb-update.service' \
    --customize-hook='echo 76656674766d00000000000000000000 >"$1/etc/machine-id"' \
    --customize-hook='mkdir -p "$1/opt/weft" "$1/usr/local/bin" && ln -s /opt/weft/bin/node "$1/usr/bin/node"' \
    --customize-hook='printf "[Unit]\nRequiresMountsFor=/opt/weft\nAfter=containerd.service\n[Service]\nExecStart=/usr/bin/node /opt/weft/test/vm/guest.mjs /dev/virtio-ports/weft\nOOMScoreAdjust=-900\n[Install]\nWantedBy=multi-user.target\n" >"$1/etc/systemd/system/weft-vm.service" && chroot "$1" systemctl -q enable weft-vm.service' \
    --customize-hook='printf "/dev/vda / ext4 rw,noatime 0 1\n/dev/vdb /opt/weft ext4 ro 0 0\n" >"$1/etc/fstab"' \
    --format=directory "$suite" "$work/root" - <<<"$sources" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; fail 'the image could not be built' 'mmdebstrap failed, see above' 'Correct the cause and run the command again.'; }
  cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
  cp "$work"/root/boot/initrd.img-* "$work/initrd.img"
  mkfs.ext4 -q -O ^has_journal -d "$work/root" "$work/root.ext4" "$ROOT_SIZE" >/dev/null
  rm -rf "$work/root" "$work/log"
  # Images of other packages and releases are of no use any more.
  find "$cache" -mindepth 1 -maxdepth 1 ! -path "$work" -exec rm -rf {} +
  mv "$work" "$image"
  trap - EXIT
  chmod 755 "$image"
fi
echo "$image"
