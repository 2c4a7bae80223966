/** npm run bench: every benchmark, printed as figures and ratios within this one run. `npm run bench -- dns overlay` runs some. */
import { printRows } from './lab.mjs';

const ALL = {
  dns: ['DNS: answers a second from one name server', async () => (await import('./dns.mjs')).benchDns()],
  overlay: ['Throughput between tasks on two nodes', async () => (await import('./overlay.mjs')).benchOverlay()],
  doors: ['Throughput by virtual addresses and published ports', async () => (await import('./doors.mjs')).benchDoors()],
  parts: ['What the parts of the data plane cost', async () => (await import('./parts.mjs')).benchParts()],
  change: ['An endpoint goes', async () => (await import('./change.mjs')).benchChange()],
  vips: ['Virtual addresses', async () => (await import('./vips.mjs')).benchVips()],
  wiring: ['Wiring a container', async () => (await import('./wiring.mjs')).benchWiring()],
  compose: ['Compose files', async () => (await import('./compose.mjs')).benchCompose()],
  schedule: ['Scheduling, in memory', async () => (await import('./schedule.mjs')).benchSchedule()],
  agents: ['One controller, many agents', async () => (await import('./agents.mjs')).benchAgents()],
  up: ['ctl up and memory', async () => (await import('./up.mjs')).benchUp()],
};

const wanted = process.argv.slice(2);
for (const [key, [title, run]] of Object.entries(ALL)) {
  if (wanted.length === 0 || wanted.includes(key)) printRows(title, await run());
}
