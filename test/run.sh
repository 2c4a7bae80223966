#!/usr/bin/env bash
# npm test: sets up what is missing, runs every project (unit, simulation, contract, netns, cluster) and closes with "N passed, N failed".
#   npm test                    everything
#   npm test -- unit contract   only these projects
set -uo pipefail
cd "$(dirname "$0")/.."
bash deploy/setup.sh --tests || exit 1
if [ "$(id -u)" != 0 ]; then
  printf 'error: the tests need root\n  why: they make network namespaces and run containers\n  hint: sudo -E npm test, or the part without: npm run jest -- --selectProjects unit\n' >&2
  exit 1
fi
export PATH="$PATH:/usr/sbin:/sbin"
projects=("$@")
[ ${#projects[@]} -gt 0 ] || projects=(unit simulation contract netns cluster)
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
status=0
for project in "${projects[@]}"; do
  echo "== $project"
  # Two files at a time: most of them wait for processes and packets, and whatever is global bears the worker's pid.
  npm run -s jest -- --selectProjects "$project" --maxWorkers=2 --json --outputFile "$results/$project.json" || status=1
  [ -s "$results/$project.json" ] || { echo "error: $project did not finish" >&2; status=1; }
done
node test/summary.mjs "$results"/*.json || status=1
exit $status
