/**
 * The simulated hosts: one network namespace a node, all on one bridge (the underlay) in a namespace of its own, with one
 * veth to the developer's shell and masquerading towards the outside. Everything is made if it is missing, so that
 * `ctl dev up` can be run again.
 */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from '#linux/runner.js';
import type { DevLayout, DevNode } from './layout.js';

const FORWARDING = '/proc/sys/net/ipv4/ip_forward';
/** In the directory of a cluster: what that was before. */
const BEFORE = 'ip_forward.before';

const ip = (...args: string[]) => run(['ip', ...args]);
const ipBatch = (netns: string | undefined, lines: string[]) =>
  run(['ip', ...(netns ? ['-n', netns] : []), '-batch', '-'], { input: `${lines.join('\n')}\n` });
const inside = (netns: string, ...argv: string[]) => run(['nsenter', `--net=/run/netns/${netns}`, ...argv]);

async function namespaces(): Promise<Set<string>> {
  const { stdout } = await ip('-j', 'netns', 'list');
  const list = stdout.trim() ? (JSON.parse(stdout) as { name: string }[]) : [];
  return new Set(list.map((n) => n.name));
}

/** IPv4 destinations of the host's own routes, default left out. */
export async function hostRoutes(): Promise<string[]> {
  const { stdout } = await ip('-j', '-4', 'route', 'show', 'table', 'main');
  const list = JSON.parse(stdout || '[]') as { dst: string }[];
  return list.filter((r) => r.dst !== 'default').map((r) => (r.dst.includes('/') ? r.dst : `${r.dst}/32`));
}

/** Bridged frames of simulated hosts are no business of anybody's netfilter rules. Absent where br_netfilter is not loaded. */
async function quietBridges(netns: string): Promise<void> {
  await inside(netns, 'sysctl', '-qw', '-e', 'net.bridge.bridge-nf-call-iptables=0', 'net.bridge.bridge-nf-call-ip6tables=0');
}

async function makeLan(l: DevLayout): Promise<void> {
  await ip('netns', 'add', l.lanNetns);
  await quietBridges(l.lanNetns);
  await ipBatch(l.lanNetns, ['link set lo up', `link add lan mtu ${l.mtu} type bridge`, 'link set lan up']);
  await ipBatch(undefined, [
    `link add ${l.hostLink} mtu ${l.mtu} type veth peer name host netns ${l.lanNetns} mtu ${l.mtu}`,
    `addr add ${l.gateway}/24 dev ${l.hostLink}`,
    `link set ${l.hostLink} up`,
  ]);
  await ipBatch(l.lanNetns, ['link set host master lan up']);
}

async function makeNode(l: DevLayout, node: DevNode): Promise<void> {
  await ip('netns', 'add', node.netns);
  await quietBridges(node.netns);
  await ipBatch(node.netns, [
    'link set lo up',
    `link add eth0 mtu ${l.mtu} type veth peer name ${node.name} netns ${l.lanNetns} mtu ${l.mtu}`,
    `addr add ${node.address}/24 dev eth0`,
    'link set eth0 up',
    `route add default via ${l.gateway}`,
  ]);
  await ipBatch(l.lanNetns, [`link set ${node.name} master lan up`]);
}

/** The way out for the nodes, in a table of our own; remembers in `dir` whether forwarding was off before. */
async function makeNat(l: DevLayout): Promise<void> {
  const before = readFileSync(FORWARDING, 'utf8').trim();
  if (before === '0') {
    writeFileSync(join(l.dir, BEFORE), before);
    writeFileSync(FORWARDING, '1');
  }
  const table = [
    `table ip ${l.natTable} {`,
    '}',
    `delete table ip ${l.natTable}`,
    `table ip ${l.natTable} {`,
    '  chain postrouting { type nat hook postrouting priority srcnat; policy accept;',
    `    ip saddr ${l.subnet} oifname != "${l.hostLink}" masquerade`,
    '  }',
    '}',
    '',
  ].join('\n');
  await run(['nft', '-f', '-'], { input: table });
}

export async function ensureLan(l: DevLayout): Promise<void> {
  const there = await namespaces();
  if (!there.has(l.lanNetns)) await makeLan(l);
  for (const node of l.nodes) if (!there.has(node.netns)) await makeNode(l, node);
  await makeNat(l);
}

/** Removes the host's table and veth and the given namespaces; missing ones are fine. */
export async function removeLan(l: DevLayout, taskNamespaces: string[]): Promise<void> {
  const there = await namespaces();
  await run(['nft', '-f', '-'], { input: `table ip ${l.natTable} {\n}\ndelete table ip ${l.natTable}\n` });
  // A namespace dies some time after its name: the host's end of the veth goes by itself, at once.
  await run(['ip', 'link', 'del', l.hostLink], { accept: [1] });
  const doomed = [...taskNamespaces, ...l.nodes.map((n) => n.netns), l.lanNetns].filter((name) => there.has(name));
  if (doomed.length > 0)
    await ipBatch(
      undefined,
      doomed.map((name) => `netns del ${name}`),
    );
  restoreForwarding(l);
}

/** Forwarding was off before the first cluster came, and is off again after the last one: one that stays inherits the note. */
function restoreForwarding(l: DevLayout): void {
  const note = join(l.dir, BEFORE);
  if (!existsSync(note)) return;
  const home = dirname(l.dir);
  const heir = readdirSync(home).find((name) => join(home, name) !== l.dir && existsSync(join(home, name, 'layout.json')));
  if (heir === undefined) writeFileSync(FORWARDING, readFileSync(note, 'utf8'));
  else renameSync(note, join(home, heir, BEFORE));
}
