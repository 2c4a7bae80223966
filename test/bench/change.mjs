/**
 * From the end of a task's process to the last node that leads nobody there: three nodes, real containers. The process is
 * killed, and not started again; runtime, agent, controller, etcd, and all agents follow. When a node's kernel changes is heard from `nft monitor`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pause, percentile, sh, until } from './lab.mjs';

const NODES = ['node1', 'node2', 'node3'];
const KILLS = 30;
/** One end at a time. */
const BETWEEN_MS = 500;
const CTL = join(process.cwd(), 'dist/apps/ctl/main.js');

/** Tells when virtual addresses of a node change. */
function watchNode(cluster, node) {
  const child = spawn('nsenter', [`--net=/run/netns/weftdev-${cluster}-${node}`, '--', 'nft', 'monitor'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const watch = { changedAt: 0, stop: () => child.kill('SIGTERM') };
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.includes('weft_vips')) watch.changedAt ||= performance.now();
  });
  return watch;
}

/** Rows { name, value, unit, note }. */
export async function benchChange() {
  const cluster = `c${process.pid % 10_000}`;
  const dir = mkdtempSync(join(tmpdir(), 'weft-bench-'));
  const env = { ...process.env, WEFT_CONFIG_DIR: join(dir, 'config') };
  const ctl = (...args) => sh(process.execPath, [CTL, ...args], { env });
  const image = join(dir, 'image.tar');
  sh(process.execPath, ['deploy/examples/make-image.mjs', image, 'weft-demo:latest']);
  const watches = [];
  try {
    ctl('dev', 'up', '--name', cluster, '--nodes', String(NODES.length));
    ctl('image', 'load', image);
    const text = `name: change\nservices:\n  web:\n    image: weft-demo\n    command: [sleep, "100000"]\n    deploy: {replicas: ${KILLS + 1}, restart_policy: {condition: none}}\n`;
    writeFileSync(join(dir, 'c.yaml'), text);
    ctl('up', '-f', join(dir, 'c.yaml'));
    const tasks = JSON.parse(ctl('ps', '-p', 'change', '--format', 'json'));
    watches.push(...NODES.map((node) => watchNode(cluster, node)));
    await pause(2_000);
    const took = [];
    for (let i = 0; i < KILLS; i++) {
      const pid = await until(10_000, 20, () => processOf(tasks[i].id));
      for (const w of watches) w.changedAt = 0;
      const began = performance.now();
      process.kill(pid, 'SIGKILL');
      await until(10_000, 5, () => watches.every((w) => w.changedAt > 0));
      took.push(Math.max(...watches.map((w) => w.changedAt)) - began);
      await pause(BETWEEN_MS);
    }
    return [
      {
        name: 'a process ends → no node leads there, p50',
        value: percentile(took, 0.5),
        unit: 'ms',
        note: `of ${KILLS}, on ${NODES.length} nodes`,
      },
      { name: '  p99', value: percentile(took, 0.99), unit: 'ms', note: 'at most 150' },
    ];
  } finally {
    for (const w of watches) w.stop();
    ctl('dev', 'down', '--name', cluster);
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The container's process: the one in the task's network namespace that sleeps. The agent may keep an nft there too. */
function processOf(taskId) {
  const { stdout } = spawnSync('ip', ['netns', 'pids', `weft-${taskId.slice(0, 12)}`], { encoding: 'utf8' });
  return stdout.trim().split('\n').map(Number).find(sleeps);
}

function sleeps(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep\0');
  } catch {
    return false;
  }
}
