#!/usr/bin/env bash
# Brings node_modules to what package-lock.json says, and does nothing where it is so already. A step of the build.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'error: %s\n  why: %s\n  hint: %s\n' "$1" "$2" "$3" >&2; exit 1; }

# Which lock file was installed is known by its content: a node_modules kept from an earlier run may be the younger file and lack a package.
installed=node_modules/.weft-package-lock.json
cmp -s package-lock.json "$installed" && exit 0
echo 'Installing npm packages (from package-lock.json)'
# npm's own note of what is installed may be of another checkout, where node_modules was copied by links: without it npm looks.
rm -f node_modules/.package-lock.json "$installed"
# Not `npm ci`: it refuses a lock file that lacks entries for other platforms' optional binaries, which some mirrors do not carry.
npm install --no-save --no-audit --no-fund --loglevel=error --include=dev 2>&1 | { grep -v EBADENGINE || true; } ||
  fail 'the npm packages could not be installed' 'npm install failed' 'Run it by hand to see what it says.'
cp package-lock.json "$installed"
