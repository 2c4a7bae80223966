#!/usr/bin/env bash
# npm run test:vm: three stock Debian machines under qemu, for what the kernel that runs `npm test` may lack: ipvlan, 802.1Q, WireGuard
# in the kernel, SCTP, cgroup v2, NFS. Closes with "N passed, N failed". Not a part of `npm test`: emulation takes its time (see test/vm/README.md).
#   npm run test:vm                 everything
#   npm run test:vm -- cluster      only spec files whose name has this in it
#   WEFT_VM_ACCEL=kvm               by the processor, where /dev/kvm can run a stock kernel (default tcg: emulated)
#   WEFT_VM_CACHE=DIRECTORY         where the image is kept (default ~/.cache/weft-vm); nothing else is left behind
set -uo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PATH:/usr/sbin:/sbin"
cache="${WEFT_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft-vm}"

fail() { printf 'error: %s\n  why: %s\n  hint: %s\n' "$1" "$2" "$3" >&2; exit 1; }

bash deploy/setup.sh || exit 1

missing=''
for pair in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || fail "these Debian packages are missing:$missing" 'installing packages needs root' 'sudo -E npm run test:vm; later runs need no root.'
  echo "Installing Debian packages:$missing"
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 || { tail -20 "$log" >&2; fail 'the Debian packages could not be installed' "see $log" 'Correct the cause and run the command again.'; }
  rm -f "$log"
fi

image=$(bash test/vm/image.sh "$cache") || exit 1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The project as the machines see it: what was built, what the specs import, and this machine's node. Tools of the build stay out.
mkdir -p "$work/project/bin"
cp -a apps libs test deploy proto dist package.json jest.config.mjs "$work/project"
tar -c --exclude=node_modules/@bufbuild/buf* --exclude=node_modules/typescript* --exclude=node_modules/@typescript* --exclude=node_modules/dprint-node \
  --exclude=node_modules/prettier --exclude='node_modules/eslint*' --exclude=node_modules/@esbuild node_modules | tar -x -C "$work/project"
cp "$(command -v node)" "$work/project/bin/node"
# Specs that have parts which the kernel at hand skips or passes by (cgroup v2).
specs=(test/netns/drivers test/netns/encrypted test/contract/runtime/container-keys)
node test/vm/bundle.mjs "$work/project/bundles" "${specs[@]/%/.spec.ts}" || exit 1
node test/vm/bundle.mjs "$work/project/bundles" test/vm/host.ts test/vm/volume.ts || exit 1
mkfs.ext4 -q -O ^has_journal -m 0 -d "$work/project" "$work/project.ext4" 768M >/dev/null || exit 1
rm -rf "$work/project"

export WEFT_VM_SPECS="${specs[*]}"
export WEFT_VM_IMAGE="$image" WEFT_VM_PROJECT="$work/project.ext4" WEFT_VM_DIR="$work"
mkdir "$work/reports"
status=0
npm run -s jest -- --selectProjects vm --runInBand --json --outputFile "$work/reports/vm.json" "$@" || status=1
[ -s "$work/reports/vm.json" ] || { echo 'error: the run did not finish' >&2; status=1; }
node test/summary.mjs "$work"/reports/*.json || status=1
exit $status
