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
for project in "${projects[@]}"; do
  case $project in
  unit | simulation | contract | netns | cluster) ;;
  *)
    printf 'error: no project is called %s\n  hint: unit, simulation, contract, netns or cluster; npm run test:vm is apart\n' "$project" >&2
    exit 2
    ;;
  esac
done
results=$(mktemp -d)
simulation=
trap 'rm -rf "$results"; [ -z "$simulation" ] || kill -- "-$simulation" 2>/dev/null' EXIT
status=0

has() { case " ${projects[*]} " in *" $1 "*) ;; *) return 1 ;; esac; }
finished() { [ -s "$results/$1.json" ] || { echo "error: $1 did not finish" >&2; status=1; }; }

# Files at a time, report, and projects, of those that were asked for.
jest() {
  local workers=$1 report=$2 wanted=()
  shift 2
  for project in "$@"; do ! has "$project" || wanted+=("$project"); done
  [ ${#wanted[@]} -gt 0 ] || return 0
  echo "== ${wanted[*]}"
  npm run -s jest -- --selectProjects "${wanted[@]}" --maxWorkers="$workers" --json --outputFile "$results/$report.json" || status=1
  finished "$report"
}

# The simulation only computes, in a time of its own: it takes what processor time the others leave. A session of its own, since
# the kernel shares time among sessions before it looks at priorities within one (sched(7), autogroup), and each agent has one too.
if has simulation; then
  idle=(nice -n 19)
  ! chrt --idle 0 true 2>/dev/null || idle=(chrt --idle 0)
  setsid bash -c 'echo 19 2>/dev/null >/proc/self/autogroup; exec "$@"' simulation \
    "${idle[@]}" npm run -s jest -- --selectProjects simulation --maxWorkers=2 --json --outputFile "$results/simulation.json" \
    >"$results/simulation.log" 2>&1 &
  simulation=$!
fi
jest 2 unit unit
# What is global bears the worker's pid. More at a time take processor time from one another: nodes may be starved, and taken for dead.
jest 3 real contract netns cluster
if [ -n "$simulation" ]; then
  echo '== simulation'
  wait "$simulation" || status=1
  simulation=
  cat "$results/simulation.log"
  finished simulation
fi
node test/summary.mjs "$results"/*.json || status=1
exit $status
