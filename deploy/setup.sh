#!/usr/bin/env bash
# Installs what is missing (Debian and npm packages) and builds. Says what it installs; installs nothing that is there.
#   setup.sh          what running Weft needs
#   setup.sh --tests  and what the tests need
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'error: %s\n  why: %s\n  hint: %s\n' "$1" "$2" "$3" >&2; exit 1; }

node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null ||
  fail 'Node.js 20.19 or newer is needed' "found: $(node --version 2>/dev/null || echo none)" 'Install it from nodejs.org or your distribution.'

# command → Debian package that brings it (Ubuntu 24.04 has the same names)
# tini is process 1 of containers with `init: true`. wg configures the tunnels of encrypted networks; wireguard-go makes them where the kernel has no WireGuard.
wanted='etcd:etcd-server etcdctl:etcd-client containerd:containerd runc:runc nft:nftables ip:iproute2 bridge:iproute2 conntrack:conntrack busybox:busybox-static nsenter:util-linux sysctl:procps wg:wireguard-tools tini-static:tini'
if [ "${1:-}" = --tests ]; then
  wanted="$wanted docker-registry:docker-registry htpasswd:apache2-utils dig:bind9-dnsutils tcpdump:tcpdump ping:iputils-ping iperf3:iperf3 dnsperf:dnsperf buildah:buildah"
fi

PATH="$PATH:/usr/sbin:/sbin"
[ -d /sys/module/wireguard ] || modprobe -nq wireguard 2>/dev/null || wanted="$wanted wireguard-go:wireguard-go"
missing=''
for pair in $wanted; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || case " $missing " in *" ${pair#*:} "*) ;; *) missing="$missing ${pair#*:}" ;; esac
done
missing="${missing# }"

if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || fail "these are missing: $missing" 'this is no Debian or Ubuntu machine' 'Install them with the package manager you have.'
  [ "$(id -u)" = 0 ] || fail "these Debian packages are missing: $missing" 'installing packages needs root' 'Run the command as root (sudo -E …).'
  echo "Installing Debian packages: $missing"
  log=$(mktemp)
  # The packages' own services are not wanted: Weft starts what it needs itself, with its own data and sockets.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 || { tail -20 "$log" >&2; fail 'the Debian packages could not be installed' "see $log" 'Correct the cause and run the command again.'; }
  rm -f "$log"
fi

bash deploy/packages.sh

# Build when a source is newer than the last build.
stamp=dist/.built
if [ ! -e "$stamp" ] || [ -n "$(find apps libs proto deploy/bundle.mjs deploy/write-keys.mjs package.json tsconfig.json tsconfig.build.json -newer "$stamp" -not -path '*/gen/*' -type f -print -quit)" ]; then
  echo 'Building'
  npm run -s build
  touch "$stamp"
fi
