#!/usr/bin/env bash
# npm run demo: installs what is missing, builds, starts three nodes on this machine, runs a stack and shows it working.
#   npm run demo              again and again, if you like
#   npm run demo -- --down    removes every trace
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"

if [ "$(id -u)" != 0 ]; then
  printf 'error: the demo needs root\n  why: it makes network namespaces and runs containers\n  hint: sudo -E npm run demo\n' >&2
  exit 1
fi

bash deploy/setup.sh
ctl() { node dist/apps/ctl/main.js "$@"; }

if [ "${1:-}" = --down ]; then
  ctl dev down
  exit 0
fi

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'; else bold='' dim='' off=''; fi
title() { printf '\n%s%s%s\n' "$bold" "$1" "$off"; }
# Shows a command as the reader would type it, and runs it.
show() { printf '%s$ ctl %s%s\n' "$dim" "$*" "$off"; ctl "$@"; }

title 'A cluster of three nodes on this machine'
show dev up --nodes 3

title 'A small image, assembled here (no registry needed), goes to every node'
image=$(mktemp --suffix=.tar)
trap 'rm -f "$image"' EXIT
node deploy/examples/make-image.mjs "$image" weft-demo:latest
show image load "$image"

title 'The stack: three services, nine replicas, two networks'
show up -f deploy/examples/shop.yaml

title 'The nodes'
show node ls

title 'The tasks, with their nodes and addresses'
show ps -p shop

title 'A name, resolved in a container, and fetched from another node'
show exec -T -p shop web nslookup orders
show exec -T -p shop --index 1 web wget -qO- http://shop-orders-2/
show exec -T -p shop --index 1 web wget -qO- http://orders/

title 'The published port, answered from outside the cluster'
for address in $(ctl node ls --format json | node -e 'const rows = JSON.parse(require("fs").readFileSync(0)); console.log(rows.map((r) => r.address).join(" "))'); do
  printf '%s$ curl http://%s:8080/%s\n' "$dim" "$address" "$off"
  node -e 'fetch(process.argv[1]).then((r) => r.text()).then((t) => process.stdout.write(t), (e) => { console.error(String(e)); process.exit(1); })' "http://$address:8080/"
done

title 'What is on another network cannot be reached: the shop does not see the stock'
printf '%s$ ctl exec -T -p shop web wget -qO- http://stock/%s\n' "$dim" "$off"
if ctl exec -T -p shop web timeout 3 wget -qO- http://stock/; then
  echo 'error: it answered' >&2
  exit 1
fi
show exec -T -p shop orders wget -qO- http://stock/

title 'What to try next'
cat <<NEXT
  alias ctl='node $PWD/dist/apps/ctl/main.js'
  ctl logs -f -p shop                    the logs of every replica
  ctl exec -p shop web sh                a shell in one of them
  ctl network inspect shop_front         who has which address
  ctl up -f deploy/examples/shop.yaml --dry-run
  ctl dev exec node2 -- nft list ruleset
The cluster stays up. npm run demo -- --down removes every trace of it.
NEXT
