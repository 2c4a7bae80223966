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
simulation=
trap 'rm -rf "$results"; [ -z "$simulation" ] || kill "$simulation" 2>/dev/null' EXIT
status=0

# Most files of these wait for processes and packets: more of them at a time than there are processors here. Whatever is global
# bears the worker's pid.
declare -A workers=([unit]=2 [simulation]=2 [contract]=3 [netns]=3 [cluster]=3)

jest() { # project, what to run it by…
  local project=$1
  shift
  "$@" npm run -s jest -- --selectProjects "$project" --maxWorkers="${workers[$project]:-2}" --json --outputFile "$results/$project.json"
}

# The simulation only computes, in a time of its own: it takes what processor time the others leave.
idle=(nice -n 19)
chrt --idle 0 true 2>/dev/null && idle=(chrt --idle 0)
case " ${projects[*]} " in
*" simulation "*)
  jest simulation "${idle[@]}" >"$results/simulation.log" 2>&1 &
  simulation=$!
  ;;
esac
for project in "${projects[@]}"; do
  [ "$project" != simulation ] || continue
  echo "== $project"
  jest "$project" || status=1
done
if [ -n "$simulation" ]; then
  wait "$simulation" || status=1
  simulation=
  echo "== simulation"
  cat "$results/simulation.log"
fi
for project in "${projects[@]}"; do
  [ -s "$results/$project.json" ] || { echo "error: $project did not finish" >&2; status=1; }
done
node test/summary.mjs "$results"/*.json || status=1
exit $status
