/** `ctl up` of 20 replicas on two nodes until all run and resolve, beside Docker Swarm in the same run; and memory at rest. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, pause, printRows, sh, until } from './lab.mjs';
import { startSwarm, swarmAvailable } from './swarm.mjs';

const REPLICAS = 20;
const ROUNDS = 3;
const CTL = join(process.cwd(), 'dist/apps/ctl/main.js');

function psKib(pids) {
  return pids.reduce((sum, pid) => sum + Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0), 0);
}

const pidsOf = (...parts) =>
  readdirSync('/proc')
    .filter((n) => /^\d+$/.test(n))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return !line.startsWith('nsenter') && parts.every((p) => line.includes(p));
      } catch {
        return false;
      }
    });

export async function benchUp() {
  const name = `b${process.pid % 10_000}`;
  const dir = mkdtempSync(join(tmpdir(), 'weft-bench-'));
  const env = { ...process.env, WEFT_CONFIG_DIR: join(dir, 'config') };
  const ctl = (...args) => sh(process.execPath, [CTL, ...args], { env });
  const image = join(dir, 'image.tar');
  sh(process.execPath, ['deploy/examples/make-image.mjs', image, 'weft-demo:latest']);
  const rows = [];
  let swarm;
  try {
    ctl('dev', 'up', '--name', name, '--nodes', '2');
    ctl('image', 'load', image);
    await pause(3_000);
    rows.push({
      name: 'idle agent with its companions, PSS (limit 150)',
      value: psKib(pidsOf(`/${name}/node2/`, 'main.js')) / 1024,
      unit: 'MiB',
    });
    rows.push({
      name: 'idle controller without etcd, PSS (limit 120)',
      value: psKib(pidsOf(`/${name}/`, '/controller/main.js')) / 1024,
      unit: 'MiB',
    });
    if (swarmAvailable()) swarm = await startSwarm(image);
    const ours = [];
    const theirs = [];
    for (let round = 0; round < ROUNDS; round++) {
      const stack = `r${round}`;
      writeFileSync(join(dir, 'c.yaml'), `name: ${stack}\nservices:\n  web:\n    image: weft-demo\n    deploy: {replicas: ${REPLICAS}}\n`);
      const start = performance.now();
      ctl('up', '-f', join(dir, 'c.yaml'));
      const running = performance.now() - start;
      const tasks = JSON.parse(ctl('ps', '-p', stack, '--format', 'json'));
      const asking = performance.now();
      for (const node of ['node1', 'node2']) {
        const task = tasks.find((t) => t.node === node);
        await until(30_000, 10, () => {
          const r = spawnSync(
            'nsenter',
            [`--net=/run/netns/weft-${task.id.slice(0, 12)}`, 'dig', '+short', '+tries=1', '+time=1', '@127.0.0.11', 'tasks.web'],
            { encoding: 'utf8' },
          );
          return r.stdout.trim().split('\n').length >= REPLICAS;
        });
      }
      ours.push(running + performance.now() - asking);
      ctl('down', '-p', stack);
      if (swarm) theirs.push(await swarm.up('weft-demo:latest', REPLICAS));
    }
    const mine = median(ours) / 1000;
    rows.push({ name: `ctl up, ${REPLICAS} replicas on 2 nodes, all run and resolve`, value: mine, unit: 's' });
    if (swarm) {
      const peer = median(theirs) / 1000;
      rows.push({ name: 'Docker Swarm, the same', value: peer, unit: 's' });
      rows.push({ name: 'ctl up / Docker Swarm (aim 0.45)', value: mine / peer, unit: '', ratio: mine / peer });
    } else rows.push({ name: 'Docker Swarm', value: 'skipped', unit: '', note: 'docker.io is not installed' });
  } finally {
    await swarm?.stop();
    ctl('dev', 'down', '--name', name);
    rmSync(dir, { recursive: true, force: true });
  }
  return rows;
}

if (process.argv[1]?.endsWith('bench/up.mjs')) printRows('ctl up and memory', await benchUp());
