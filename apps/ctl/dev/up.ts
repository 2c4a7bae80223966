/**
 * `ctl dev up`: a whole cluster on this machine. Each node is a network namespace with its own agent; a controller and its
 * etcd run on the first of them, as many as are wanted. Whatever is missing is started, so a second `up` repairs a cluster that
 * lost a process, or makes it larger.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import { CONTROLLER_PORT, JOIN_PORT } from '#model/ports.js';
import { callUnary, connect } from '#rpc/client.js';
import { ApiClient, type NodeRow } from '#rpc/gen/weft/v1/api.js';
import { loadIdentity, type Identity } from '#trust/identity.js';
import { saveContext, useContext } from '../context.js';
import { ensureContainerd } from './containerd.js';
import { ensureLan, hostRoutes } from './lan.js';
import { chooseUnderlay, makeLayout, type DevLayout, type DevNode, type DevSize } from './layout.js';
import { processesOf, startDetached, tailOf } from './processes.js';

/** dist/apps */
const APPS = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const READY_TIMEOUT_MS = 60_000;
const TOKEN_TTL_MS = 600_000;

export type Say = (line: string) => void;

const layoutFile = (name: string): string => join('/var/lib/weft-dev', name, 'layout.json');

/** The layout of a cluster that exists on this machine. */
export function readLayout(name: string): DevLayout | undefined {
  if (!existsSync(layoutFile(name))) return undefined;
  return JSON.parse(readFileSync(layoutFile(name), 'utf8')) as DevLayout;
}

async function layoutFor(name: string, size: DevSize): Promise<DevLayout> {
  const existing = readLayout(name);
  if (existing) {
    const nodes = Math.max(size.nodes, existing.nodes.length);
    const controllers = Math.max(size.controllers, existing.nodes.filter((n) => n.controller).length);
    const grown = makeLayout(name, { nodes, controllers, mtu: existing.mtu }, existing.subnet);
    writeFileSync(layoutFile(name), JSON.stringify(grown, null, 2));
    return grown;
  }
  const layout = makeLayout(name, size, chooseUnderlay(name, await hostRoutes()));
  mkdirSync(layout.dir, { recursive: true, mode: 0o700 });
  mkdirSync(layout.runDir, { recursive: true, mode: 0o700 });
  writeFileSync(layoutFile(name), JSON.stringify(layout, null, 2));
  return layout;
}

const controllerDir = (node: DevNode): string => join(node.dataDir, 'controller');
/** A quarter of the default: what lives long is little, and what is garbage shall not lie about until 48 MB of it are there. */
export const NODE_FLAGS = ['--max-semi-space-size=4', '--v8-pool-size=1'];

const agentDir = (node: DevNode): string => join(node.dataDir, 'agent');

const enter = (node: DevNode, ...argv: string[]): string[] => ['nsenter', `--net=/run/netns/${node.netns}`, ...argv];

/** Whether the app's own process (not a companion of it) runs on the given data directory. */
const runs = (app: string, dataDir: string): boolean =>
  processesOf([dirname(dataDir)]).some(({ argv }) => argv.some((a) => a.endsWith(`/${app}/main.js`)) && argv.includes(dataDir));

/** @param token for the first start of one that joins the first */
function startController(l: DevLayout, node: DevNode, token?: string): void {
  if (runs('controller', controllerDir(node))) return;
  const argv = ['--data-dir', controllerDir(node), '--name', node.name, '--advertise', node.address];
  if (token !== undefined) argv.push('--join', `${l.nodes[0]?.address}:${JOIN_PORT}`);
  startDetached(
    enter(node, process.execPath, ...NODE_FLAGS, join(APPS, 'controller', 'main.js'), ...argv),
    join(l.dir, 'logs', `controller-${node.name}.log`),
    // Not on the command line: that is readable by every user of the machine.
    token === undefined ? process.env : { ...process.env, WEFT_TOKEN: token },
  );
}

const controllersOf = (l: DevLayout): DevNode[] => l.nodes.filter((n) => n.controller);

/** Those that are of the cluster already start together: none of them is well without most of the others. */
async function startKnownControllers(l: DevLayout): Promise<void> {
  const [first] = controllersOf(l);
  for (const node of controllersOf(l))
    if (node === first || (await loadIdentity(join(controllerDir(node), 'pki', 'controller')))) startController(l, node);
}

/** The others join, one after another: etcd takes one new member at a time. */
async function joinControllers(l: DevLayout, api: ApiClient, say: Say): Promise<void> {
  for (const node of controllersOf(l)) {
    if (runs('controller', controllerDir(node))) continue;
    const { token } = await callUnary(api, 'createToken', { role: 'controller', ttlMs: TOKEN_TTL_MS });
    startController(l, node, token);
    const log = join(l.dir, 'logs', `controller-${node.name}.log`);
    await until('the controller did not join', log, async () => {
      const { controllers } = await callUnary(api, 'listControllers', {}, { timeoutMs: 5_000 });
      return controllers.some((c) => c.name === node.name && c.state !== 'away' && ['member', 'leader'].includes(c.etcd)) || undefined;
    });
    say(`controller  joined on ${node.name} (${node.address}:${CONTROLLER_PORT})`);
  }
}

/**
 * Where nodes read their name servers. A stub on the loopback of the host (systemd-resolved) is out of reach for a node in a
 * namespace of its own; systemd-resolved.service(8) tells where the real ones are.
 */
export function upstreamFile(etc = '/etc/resolv.conf', behindStub = '/run/systemd/resolve/resolv.conf'): string {
  const servers = existsSync(etc) ? [...readFileSync(etc, 'utf8').matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => m[1] ?? '') : [];
  return servers.every((s) => s.startsWith('127.')) && existsSync(behindStub) ? behindStub : etc;
}

async function startAgent(l: DevLayout, node: DevNode, api: ApiClient): Promise<boolean> {
  if (runs('agent', agentDir(node))) return false;
  const first = l.nodes[0] as DevNode;
  const argv = [
    ...['--data-dir', agentDir(node), '--run-dir', node.runDir, '--name', node.name, '--address', node.address],
    ...[
      '--controllers',
      controllersOf(l)
        .map((n) => `${n.address}:${CONTROLLER_PORT}`)
        .join(','),
    ],
    ...[
      '--containerd',
      l.containerdSocket,
      '--containerd-namespace',
      node.containerdNamespace,
      '--containerd-root',
      join(l.dir, 'containerd'),
    ],
    ...['--resolv-conf', upstreamFile()],
  ];
  const env = { ...process.env };
  if (!(await loadIdentity(join(agentDir(node), 'pki')))) {
    const { token } = await callUnary(api, 'createToken', { role: 'node', ttlMs: TOKEN_TTL_MS });
    argv.push('--join', `${first.address}:${JOIN_PORT}`);
    // Not on the command line: that is readable by every user of the machine.
    env['WEFT_TOKEN'] = token;
  }
  startDetached(
    enter(node, process.execPath, ...NODE_FLAGS, join(APPS, 'agent', 'main.js'), ...argv),
    join(l.dir, 'logs', `agent-${node.name}.log`),
    env,
  );
  return true;
}

/** Asks until `probe` gives a value. @throws TIMEOUT with the last reason and the end of the log */
async function until<T>(what: string, logFile: string, probe: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  let reason = 'not there yet';
  while (Date.now() < deadline) {
    try {
      const value = await probe();
      if (value !== undefined) return value;
    } catch (error) {
      reason = messageOf(error);
    }
    await systemClock.sleep(100);
  }
  throw new WeftError('TIMEOUT', {
    what: `${what} within ${READY_TIMEOUT_MS / 1000} s`,
    why: `${reason}\n${tailOf(logFile)}`,
    hint: `Read ${logFile}; \`ctl dev down\` and up again starts afresh.`,
  });
}

/** Speaks to the first controller that is in touch with etcd. */
async function adminOf(l: DevLayout): Promise<{ api: ApiClient; identity: Identity; leader: string }> {
  const [first] = controllersOf(l) as [DevNode];
  const log = join(l.dir, 'logs', `controller-${first.name}.log`);
  const identity = await until('the controller made no admin certificate', log, () => loadIdentity(join(controllerDir(first), 'admin')));
  const clients = controllersOf(l).map((node) => connect(ApiClient, `${node.address}:${CONTROLLER_PORT}`, identity, 'controller'));
  const [api, leader] = await until('no controller became ready', log, () =>
    Promise.any(
      clients.map(async (client): Promise<[ApiClient, string]> => {
        const told = await callUnary(client, 'getCluster', {}, { timeoutMs: 2_000 });
        if (told.leader === '' || told.stale !== '') throw new Error(told.stale || 'no controller leads yet');
        return [client, told.leader];
      }),
    ),
  );
  for (const client of clients) if (client !== api) client.close();
  return { api, identity, leader };
}

async function waitForNodes(l: DevLayout, api: ApiClient): Promise<NodeRow[]> {
  return until('not every node became ready', join(l.dir, 'logs', `agent-${l.nodes[0]?.name}.log`), async () => {
    const { nodes } = await callUnary(api, 'listNodes', {}, { timeoutMs: 2_000 });
    const waiting = l.nodes.filter(
      (n) => !nodes.some((row) => row.node?.name === n.name && row.state !== 'down' && row.state !== 'joining'),
    );
    if (waiting.length > 0) throw new Error(`waiting for ${waiting.map((n) => n.name).join(', ')}`);
    return nodes;
  });
}

export async function devUp(name: string, size: DevSize, say: Say): Promise<DevLayout> {
  if (process.getuid?.() !== 0)
    throw new WeftError('KERNEL', {
      what: 'a development cluster needs root',
      why: 'it makes network namespaces and runs containers',
      hint: 'Run the command with sudo -E.',
    });
  const l = await layoutFor(name, size);
  await ensureLan(l);
  say(`network     ${l.subnet}, ${l.nodes.length} nodes, MTU ${l.mtu}`);
  await ensureContainerd(l);
  say('containerd  runs');
  await startKnownControllers(l);
  const { api, identity, leader } = await adminOf(l);
  try {
    say(`controller  ${leader} leads`);
    await joinControllers(l, api, say);
    for (const node of l.nodes) await startAgent(l, node, api);
    await waitForNodes(l, api);
    say(`agents      ${l.nodes.map((n) => n.name).join(', ')} are ready`);
  } finally {
    api.close();
  }
  await saveContext(l.context, { endpoints: controllersOf(l).map((n) => `${n.address}:${CONTROLLER_PORT}`) }, identity);
  await useContext(l.context);
  return l;
}
