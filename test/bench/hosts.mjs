/** Simulated hosts on one wire, and TCP streams between namespaces, for benchmarks of the data plane. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { run } from '../../dist/libs/linux/runner.js';

/** The sender on one processor and the receiver on another, where there are two: else the scheduler decides who wins. */
const AFFINITY = cpus().length > 1 ? ['-A', '0,1'] : [];
/** A turn is short, so that many fit into a run: about a third of a second, in iperf3's own notation. */
const BYTES = '400M';

export const ip = (ns, lines) => run(['ip', '-n', ns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
export const enter = (ns, argv, options = {}) =>
  run(['nsenter', `--net=/run/netns/${ns}`, '--', ...argv], { timeoutMs: 60_000, ...options });

/** Two hosts on one wire. */
export async function makeHosts(pair, mtu) {
  for (const n of pair) await run(['ip', 'netns', 'add', n.ns]);
  const [a, b] = pair;
  await ip(a.ns, [`link add eth0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${b.ns}`]);
  for (const n of pair) await settle(n);
}

/** Any number of hosts on a switch, which is a namespace of its own. */
export async function makeHostsOnSwitch(hosts, ns, mtu) {
  await run(['ip', 'netns', 'add', ns]);
  await ip(ns, [`link add lan mtu ${mtu} type bridge`, 'link set lan up']);
  for (const [i, n] of hosts.entries()) {
    await run(['ip', 'netns', 'add', n.ns]);
    await ip(ns, [
      `link add port${i} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${n.ns}`,
      `link set port${i} master lan`,
      `link set port${i} up`,
    ]);
    await settle(n);
  }
}

async function settle(n) {
  await ip(n.ns, ['link set lo up', 'link set eth0 up', `addr add ${n.address}/24 dev eth0`]);
  await enter(n.ns, ['sysctl', '-qew', 'net.bridge.bridge-nf-call-iptables=0']);
}

/** Removes every namespace whose name begins so. */
export async function removeHosts(prefix) {
  const { stdout } = await run(['ip', 'netns', 'list']);
  const left = stdout.split('\n').flatMap((line) => (line.startsWith(prefix) ? [line.split(' ')[0]] : []));
  for (const ns of left) await run(['ip', 'netns', 'del', ns]);
}

/** Gb/s of one TCP stream from namespace `from` to `address`, which leads to a server in namespace `to`. */
export async function stream(from, to, address) {
  const server = spawn('nsenter', [`--net=/run/netns/${to}`, '--', 'iperf3', '-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = once(server, 'exit');
  await once(server.stdout, 'data');
  try {
    const { stdout } = await enter(from, ['iperf3', '-J', '-c', address, '-n', BYTES, ...AFFINITY]);
    await ended;
    return JSON.parse(stdout).end.sum_received.bits_per_second / 1e9;
  } finally {
    server.kill('SIGTERM');
  }
}

/** Whole sets of streams in turns, each time another first, so that a slow moment of the machine meets all. @returns Gb/s of each, by round */
export async function inTurns(streams, rounds) {
  const figures = streams.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < streams.length; turn++) {
      const s = (round + turn) % streams.length;
      figures[s].push(await streams[s]());
    }
  }
  return figures;
}
