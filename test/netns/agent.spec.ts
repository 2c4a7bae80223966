/**
 * One agent as it runs on a node: the compiled process in a simulated host's namespace, with a containerd of its own, real
 * kernel, real name server and log keeper. Only the controller is played.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { silentLog } from '#base/log.js';
import type { NodeFacts, TaskStatus } from '#rpc/gen/weft/v1/types.js';
import type { Task } from '#model/task.js';
import { spareNamespace, taskNamespace } from '#overlay/names.js';
import { callUnary, connect, openBidi, readStream } from '#rpc/client.js';
import { NodeClient, type ExecRequest, type ExecResponse, type ImageProgress, type LoadImageRequest } from '#rpc/gen/weft/v1/api.js';
import { openContainerd } from '#runtime/containerd.js';
import { removeEmptyCgroups } from '#runtime/host-facts.js';
import type { Runtime } from '#runtime/runtime.js';
import { createCa, issue, type Ca } from '#trust/ca.js';
import { saveIdentity } from '#trust/identity.js';
import { until } from '../../apps/agent/spec-kit.js';
import { makeBusyboxArchive } from '../contract/runtime/busybox-archive.js';
import { startContainerdProcess, type ContainerdProcess } from '../contract/runtime/containerd-process.js';
import { startDnsResponder } from '../fixtures/dns-responder.js';
import { deltaMessage, FakeController, snapshotMessage } from '../fixtures/fake-controller.js';
import { freezeProcess } from '../fixtures/freeze-process.js';
import { NetnsCrossing } from '../fixtures/netns-crossing.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import { ADDRESS, CLUSTER, NETWORK, NODE_ID, resources, task } from './agent-view.js';

const MAIN = resolve('dist/apps/agent/main.js');
/** Everything up to a running container, on a slow machine. */
const PATIENCE_MS = 30_000;

const COMPANIONS = ['name-server/name-server.pid', 'log-keeper/log-keeper.pid', 'port-proxy/port-proxy.pid'];
const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

const dir = { data: '', run: '' };
const lab = new NetnsLab();
const crossing = new NetnsCrossing();
const controller = new FakeController();
let ns: string;
let temp: string;
let ca: Ca;
let containerd: ContainerdProcess;
let runtime: Runtime;
let node: NodeClient;
let agent: ChildProcess;
let revision = 10;

const containerdNamespace = `weft-agent-${process.pid}`;

const server = task(1, 10, 'echo from the server; mkdir -p /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w');
const client = task(2, 11, 'while true; do sleep 1000; done');

const whole = (tasks: Task[]) => snapshotMessage({ clusterId: CLUSTER, revision, resources: resources(tasks), tombstones: [] });

/** Tells the agent what is now, as a delta, and every later stream as a snapshot. */
function tell(tasks: Task[], removed: Task[] = []): void {
  revision++;
  controller.greeting = () => [whole(tasks)];
  const removals = removed.flatMap((t) => [`task/${t.id}`, `endpoint/${NETWORK.id}/${t.endpoints[0]?.ipv4}`]);
  const tombstones = removed.map((t) => ({ taskId: t.id, nodeId: NODE_ID, reason: 'test', at: 1 }));
  controller.say(deltaMessage({ clusterId: CLUSTER, revision, upserts: resources(tasks), removals, tombstones }));
}

const statuses = (t: Task): TaskStatus[] =>
  controller.heard
    .flatMap(({ message }) =>
      message?.$case === 'status' ? message.value.statuses : message?.$case === 'hello' ? message.value.tasks : [],
    )
    .filter((s) => s.taskId === t.id);
const last = (t: Task): TaskStatus | undefined => statuses(t).at(-1);
const lastFacts = (): NodeFacts | undefined =>
  controller.heard
    .flatMap(({ message }) =>
      message?.$case === 'facts' ? [message.value] : message?.$case === 'hello' ? [message.value.facts as NodeFacts] : [],
    )
    .at(-1);
const pidOf = async (t: Task): Promise<number | undefined> => (await runtime.list()).find((c) => c.id === t.id)?.pid;

function startAgent(): void {
  const argv = ['--data-dir', dir.data, '--run-dir', dir.run, '--address', ADDRESS, '--name', 'n1', '--controllers', `${ADDRESS}:7700`];
  argv.push('--containerd', containerd.socket, '--containerd-namespace', containerdNamespace, '--containerd-root', containerd.directory);
  argv.push('--resolv-conf', join(temp, 'resolv.conf'));
  agent = spawn('nsenter', [`--net=/run/netns/${ns}`, '--', process.execPath, '--enable-source-maps', MAIN, ...argv], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  agent.stdout?.on('data', (chunk: Buffer) => agentLog.push(chunk.toString()));
}
const agentLog: string[] = [];

async function killAgent(signal: NodeJS.Signals): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return;
  const gone = once(agent, 'exit');
  agent.kill(signal);
  await gone;
}

/** Proportional set size (proc(5), smaps_rollup). */
const pssMiB = (pid: number): number =>
  Math.round(Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024);

async function exec(t: Task, argv: string[], input?: string): Promise<{ stdout: string; stderr: string; code: number | undefined }> {
  const stream = openBidi<ExecRequest, ExecResponse>(node.exec());
  const start = {
    task: t.id,
    stack: '',
    service: '',
    index: 0,
    argv,
    tty: false,
    stdin: input !== undefined,
    env: {},
    columns: 0,
    rows: 0,
  };
  await stream.send({ message: { $case: 'start', value: start } });
  if (input !== undefined) {
    await stream.send({ message: { $case: 'stdin', value: Buffer.from(input) } });
    await stream.send({ message: { $case: 'stdinEnd', value: true } });
  }
  const out = { stdout: '', stderr: '', code: undefined as number | undefined };
  for await (const { message } of stream.messages) {
    if (message?.$case === 'exitCode') out.code = message.value;
    else if (message) out[message.$case] += message.value.toString();
  }
  return out;
}

/** What the client gets from the server, by name; tried until it gets something. */
async function fetchByName(): Promise<string> {
  const deadline = Date.now() + PATIENCE_MS;
  let fetched = '';
  while (fetched === '' && Date.now() < deadline) {
    fetched = (await exec(client, ['wget', '-qO-', 'http://t1/']).catch(() => undefined))?.stdout ?? '';
    if (fetched === '') await sleep(50);
  }
  return fetched;
}

async function loadImage(): Promise<ImageProgress[]> {
  const archive = await makeBusyboxArchive({ name: 'busybox:test', format: 'docker' });
  const stream = openBidi<LoadImageRequest, ImageProgress>(node.loadImage());
  const seen: ImageProgress[] = [];
  const reading = (async () => {
    for await (const progress of stream.messages) seen.push(progress);
  })();
  await stream.send({ part: { $case: 'fileName', value: 'busybox.tar' } });
  for (let at = 0; at < archive.length; at += 262_144)
    await stream.send({ part: { $case: 'chunk', value: archive.subarray(at, at + 262_144) } });
  stream.end();
  await reading;
  return seen;
}

async function logLines(t: Task, tail?: number): Promise<string[]> {
  const lines: string[] = [];
  const request = { stack: '', services: [], tasks: [t.id], follow: false, tail };
  for await (const { lines: some } of readStream(node.logs(request))) lines.push(...some.map((l) => `${l.stream}: ${l.text}`));
  return lines;
}

beforeAll(async () => {
  temp = await mkdtemp(`/tmp/weft-agent-${process.pid}-`);
  dir.data = join(temp, 'data');
  dir.run = join(temp, 'run');
  await lab.start();
  ns = await lab.host('n1', ADDRESS);
  containerd = await startContainerdProcess();
  runtime = await openContainerd({
    socket: containerd.socket,
    namespace: containerdNamespace,
    stateDir: join(temp, 'spy'),
    log: silentLog,
  });
  ca = await createCa(CLUSTER);
  await mkdir(dir.data, { recursive: true });
  await saveIdentity(join(dir.data, 'pki'), await issue(ca, { role: 'node', id: NODE_ID, clusterId: CLUSTER }));
  controller.greeting = () => [whole([])];
  await controller.start(await issue(ca, { role: 'controller', id: 'k1', clusterId: CLUSTER }));
  const port = await crossing.open(lab, ns, temp, `${ADDRESS}:7700`, controller.port, `${ADDRESS}:7702`);
  node = connect(NodeClient, `127.0.0.1:${port}`, await issue(ca, { role: 'controller', id: 'k1', clusterId: CLUSTER }), 'node');
  startAgent();
}, 60_000);

afterAll(async () => {
  await killAgent('SIGKILL');
  for (const file of COMPANIONS) {
    const path = join(dir.data, file);
    if (existsSync(path)) process.kill(Number(readFileSync(path, 'utf8')), 'SIGKILL');
  }
  node.close();
  crossing.close();
  await controller.stop();
  for (const { id } of await runtime.list().catch(() => [])) await runtime.remove(id).catch(() => undefined);
  await runtime.close();
  await containerd.destroy();
  await removeEmptyCgroups(containerdNamespace);
  const namespaces = [...[server, client].map((t) => taskNamespace(t.id)), ...[0, 1].map((n) => spareNamespace(NODE_ID, n))];
  for (const name of namespaces) await lab.attempt(lab.lan, ['ip', 'netns', 'del', name]);
  await lab.stop();
  await rm(temp, { recursive: true, force: true });
  if (process.env['WEFT_SHOW_AGENT_LOG']) process.stderr.write(agentLog.join(''));
}, 60_000);

describe('an agent', () => {
  it(
    'attaches with its facts, loads an image, and runs what it is told in a finished network',
    async () => {
      await until(() => controller.of('hello').length > 0, PATIENCE_MS);
      expect(lastFacts()).toMatchObject({ nodeId: NODE_ID, underlayMtu: 1500, addresses: [`${ADDRESS}/24`] });
      expect(lastFacts()?.memoryBytes).toBeGreaterThan(0);
      await until(() => agentLog.join('').includes('the agent is up'), PATIENCE_MS);
      expect((await loadImage()).at(-1)?.image?.name).toBe('docker.io/library/busybox:test');
      tell([server, client]);
      await until(() => last(server)?.state === 'running' && last(client)?.state === 'running', PATIENCE_MS);
      const { nodes } = await callUnary(node, 'listImages', {});
      expect(nodes[0]?.images.map((i) => i.name)).toContain('docker.io/library/busybox:test');
    },
    2 * PATIENCE_MS,
  );

  it(
    'gives its tasks names, a resolver, hosts and logs',
    async () => {
      expect(await exec(client, ['wget', '-qO-', 'http://t1/'])).toMatchObject({ stdout: 'hello\n', code: 0 });
      expect((await exec(client, ['cat', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf'])).stdout).toMatch(
        /10\.191\.0\.11\tshop-t2-1\n.*shop-t2-1\n.*nameserver 127\.0\.0\.11\n/s,
      );
      expect(await exec(client, ['sh', '-c', 'cat; echo bad >&2; exit 7'], 'typed in')).toEqual({
        stdout: 'typed in',
        stderr: 'bad\n',
        code: 7,
      });
      expect(await logLines(server)).toEqual(['stdout: from the server']);
      await expect(logLines(task(9, 99, ''))).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(exec(task(9, 99, ''), ['true'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    },
    PATIENCE_MS,
  );

  it(
    'asks the name servers that the resolv.conf of its host names, also when that is written anew',
    async () => {
      const upstreams = ['192.168.91.53', '192.168.91.54'];
      const responders = await Promise.all(
        upstreams.map(async (address, i) =>
          startDnsResponder(await lab.host(`dns${i}`, address), address, { 'www.example.test': `192.0.2.${i}` }),
        ),
      );
      const asked = async () => (await exec(client, ['nslookup', '-type=a', 'www.example.test'])).stdout;
      try {
        for (const [i, address] of upstreams.entries()) {
          await writeFile(join(temp, 'resolv.new'), `nameserver ${address}\n`);
          await rename(join(temp, 'resolv.new'), join(temp, 'resolv.conf'));
          const deadline = Date.now() + PATIENCE_MS;
          let answer = '';
          while (!answer.includes(`192.0.2.${i}`) && Date.now() < deadline) {
            await sleep(100);
            answer = await asked();
          }
          expect(answer).toContain(`192.0.2.${i}`);
        }
      } finally {
        for (const responder of responders) responder.kill();
      }
    },
    2 * PATIENCE_MS,
  );

  it(
    'starts a container again that ended, in the same network, and says so',
    async () => {
      const before = await pidOf(server);
      expect(before).toBeDefined();
      process.kill(before as number, 'SIGKILL');
      await until(() => last(server)?.restarts === 1 && last(server)?.state === 'running', PATIENCE_MS);
      const told = statuses(server).find((s) => s.state === 'restarting');
      expect(told).toMatchObject({ exitCode: 137, message: expect.stringMatching(/^exited with code 137; restarting in 0\.1 s$/) });
      expect((await exec(client, ['wget', '-qO-', 'http://t1/'])).stdout).toBe('hello\n');
      expect(await logLines(server)).toEqual(['stdout: from the server', 'stdout: from the server']);
    },
    PATIENCE_MS,
  );

  it(
    'restarts a task in place where it is asked to, also when it is killed in the midst: same address, and what was written is there',
    async () => {
      const once = task(3, 12, 'while true; do sleep 1000; done', { restart: { condition: 'none' } });
      tell([server, client, once]);
      await until(() => last(once)?.state === 'running', PATIENCE_MS);
      await exec(once, ['sh', '-c', 'echo kept > /kept']);
      const networkOf = async () => (await exec(once, ['ip', '-o', 'addr', 'show', 'dev', 'eth0'])).stdout;
      const [network, pid] = [await networkOf(), await pidOf(once)];
      expect(network).toContain('10.191.0.12/');
      const { tasks } = await callUnary(node, 'restartTasks', { tasks: [once.id], drainMs: { [once.id]: 300 } });
      expect(tasks).toEqual([once.name]);
      await until(() => last(once)?.restarts === 1 && last(once)?.state === 'running', PATIENCE_MS);
      expect(statuses(once).some((s) => s.state === 'restarting' && s.message.startsWith('draining'))).toBe(true);
      expect([await networkOf(), (await exec(once, ['cat', '/kept'])).stdout]).toEqual([network, 'kept\n']);

      // It does not listen to its signal: the agent is killed while it waits for the grace to be over.
      const between = await pidOf(once);
      await callUnary(node, 'restartTasks', { tasks: [once.id], graceMs: 3_000, drainMs: {} });
      await until(() => last(once)?.state === 'restarting', PATIENCE_MS);
      await sleep(300);
      await killAgent('SIGKILL');
      expect(await pidOf(once)).toBe(between);
      startAgent();
      await until(() => last(once)?.restarts === 2 && last(once)?.state === 'running', PATIENCE_MS);
      const after = await pidOf(once);
      expect(new Set([pid, between, after]).size).toBe(3);
      expect([await networkOf(), (await exec(once, ['cat', '/kept'])).stdout]).toEqual([network, 'kept\n']);
      tell([server, client, { ...once, desired: 'stop' }]);
      await until(() => last(once)?.state === 'stopped', PATIENCE_MS);
      tell([server, client], [once]);
      // An agent that is killed before it has this on disk would ask for the reason why the task is gone.
      await until(() => !readFileSync(join(dir.data, 'view.json'), 'utf8').includes(once.id), PATIENCE_MS);
    },
    4 * PATIENCE_MS,
  );

  it(
    'is killed without harm: the next one says at once that it is here, and adopts what runs',
    async () => {
      const before = [await pidOf(server), await pidOf(client)];
      const hellos = controller.of('hello').length;
      await killAgent('SIGKILL');
      expect((await lab.attempt(ns, ['ping', '-nqc1', '-W1', '10.191.0.10'])).exitCode).toBe(0);
      const said = agentLog.length;
      const saidNow = () => agentLog.slice(said).join('');
      // Who is missed for seconds is taken for dead: the runtime, which may be slow, is not waited for.
      await freezeProcess(containerd.pid());
      try {
        startAgent();
        await until(() => controller.of('hello').length > hellos, PATIENCE_MS);
        expect(saidNow()).not.toContain('the agent is up');
      } finally {
        process.kill(containerd.pid(), 'SIGCONT');
      }
      await until(() => saidNow().includes('the agent is up'), PATIENCE_MS);
      await until(() => last(client)?.state === 'running' && last(server)?.restarts === 1, PATIENCE_MS);
      expect([await pidOf(server), await pidOf(client)]).toEqual(before);
      expect((await exec(client, ['wget', '-qO-', 'http://t1/'])).stdout).toBe('hello\n');
    },
    2 * PATIENCE_MS,
  );

  it(
    'puts back what somebody else took out of the kernel, and counts it',
    async () => {
      await lab.exec(ns, ['nft', 'delete', 'table', 'inet', 'weft']);
      await until(() => (lastFacts()?.driftRepairs ?? 0) > 0, PATIENCE_MS);
      expect((await lab.attempt(ns, ['nft', 'list', 'table', 'inet', 'weft'])).exitCode).toBe(0);
    },
    PATIENCE_MS,
  );

  it(
    'does not believe an emptied cluster, and goes on',
    async () => {
      const before = [await pidOf(server), await pidOf(client)];
      const good = controller.greeting;
      controller.greeting = () => [snapshotMessage({ clusterId: CLUSTER, revision: revision + 1, resources: [], tombstones: [] })];
      controller.hangUp();
      await until(() => lastFacts()?.quarantine !== undefined, PATIENCE_MS);
      expect([await pidOf(server), await pidOf(client)]).toEqual(before);
      expect((await lab.attempt(ns, ['ping', '-nqc1', '-W1', '10.191.0.10'])).exitCode).toBe(0);
      controller.greeting = good;
      controller.hangUp();
      await until(() => lastFacts()?.quarantine === undefined, PATIENCE_MS);
    },
    2 * PATIENCE_MS,
  );

  it(
    'works from its disk when no controller answers',
    async () => {
      await killAgent('SIGTERM');
      await controller.stop();
      const before = await pidOf(client);
      process.kill((await pidOf(server)) as number, 'SIGKILL');
      startAgent();
      expect(await fetchByName()).toBe('hello\n');
      expect(await pidOf(client)).toBe(before);
      await controller.start(await issue(ca, { role: 'controller', id: 'k1', clusterId: CLUSTER }));
      await until(() => last(server)?.restarts === 2, PATIENCE_MS);
    },
    3 * PATIENCE_MS,
  );

  it(
    'makes everything anew after a reboot, the network first',
    async () => {
      const restarts = last(client)?.restarts ?? 0;
      await killAgent('SIGKILL');
      for (const t of [server, client]) {
        process.kill((await pidOf(t)) as number, 'SIGKILL');
        await lab.exec(ns, ['ip', 'netns', 'del', `weft-${t.id.slice(0, 12)}`]);
      }
      startAgent();
      await until(() => last(client)?.state === 'running' && (last(client)?.restarts ?? 0) > restarts, PATIENCE_MS);
      await until(() => last(server)?.state === 'running', PATIENCE_MS);
      expect(await fetchByName()).toBe('hello\n');
    },
    2 * PATIENCE_MS,
  );

  it(
    'brings its companions back when they are killed',
    async () => {
      const pids = () => COMPANIONS.map((file) => Number(readFileSync(join(dir.data, file), 'utf8')));
      const before = pids();
      for (const pid of before) process.kill(pid, 'SIGKILL');
      expect(await fetchByName()).toBe('hello\n');
      const lines = (await logLines(server)).length;
      process.kill((await pidOf(server)) as number, 'SIGKILL');
      const deadline = Date.now() + PATIENCE_MS;
      while ((await logLines(server).catch(() => [])).length <= lines && Date.now() < deadline) await sleep(100);
      expect((await logLines(server)).at(-1)).toBe('stdout: from the server');
      expect(pids().some((pid) => before.includes(pid))).toBe(false);
    },
    2 * PATIENCE_MS,
  );

  it(
    'says why a task cannot be',
    async () => {
      const wishes = { ...client.container, image: 'nowhere.invalid/none:1' };
      const impossible = task(3, 12, '', { container: wishes });
      tell([server, client, impossible]);
      await until(() => last(impossible)?.state === 'failed', PATIENCE_MS);
      expect(last(impossible)?.message).toMatch(/^image nowhere\.invalid\/none:1 is not on node n1/);
      tell([server, client, { ...impossible, desired: 'stop' }]);
      await until(() => last(impossible)?.state === 'stopped', PATIENCE_MS);
      tell([server, client], [impossible]);
    },
    2 * PATIENCE_MS,
  );

  it(
    'stops what it is told to stop and leaves nothing of it in the kernel',
    async () => {
      const stopping = [server, client].map((t): Task => ({ ...t, desired: 'stop', stopReason: 'scaled down' }));
      tell(stopping);
      await until(() => stopping.every((t) => last(t)?.state === 'stopped'), PATIENCE_MS);
      expect(last(server)?.message).toBe('scaled down');
      expect(await runtime.list()).toEqual([]);
      revision++;
      const removals = resources(stopping).flatMap((r) =>
        r.kind === 'task'
          ? [`task/${r.value.id}`]
          : r.kind === 'network'
            ? [`network/${r.value.id}`]
            : r.kind === 'endpoint'
              ? [`endpoint/${r.value.networkId}/${r.value.ipv4}`]
              : [],
      );
      const tombstones = stopping.map((t) => ({ taskId: t.id, nodeId: NODE_ID, reason: 'scaled down', at: 1 }));
      controller.say(deltaMessage({ clusterId: CLUSTER, revision, upserts: [], removals, tombstones }));
      const spaces = stopping.map((t) => `weft-${t.id.slice(0, 12)}`);
      await until(() => spaces.every((name) => !existsSync(`/run/netns/${name}`)), PATIENCE_MS);
      const deadline = Date.now() + PATIENCE_MS;
      const links = async () =>
        (await lab.exec(ns, ['ls', '/proc/self/net/dev_snmp6']).catch(() => '')) + (await lab.exec(ns, ['ip', '-o', 'link']));
      while (/wf[bxv]/.test(await links()) && Date.now() < deadline) await new Promise((done) => setTimeout(done, 50));
      expect(await links()).not.toMatch(/wf[bxv]\w/);
    },
    2 * PATIENCE_MS,
  );

  it(
    'ends alone: its companions stay',
    async () => {
      const companions = COMPANIONS.map((file) => Number(readFileSync(join(dir.data, file), 'utf8')));
      const weights = [agent.pid as number, ...companions].map(pssMiB);
      process.stdout.write(`      PSS of agent, name server, log keeper, port proxy: ${weights.join(' + ')} MiB\n`);
      await killAgent('SIGTERM');
      expect(agent.exitCode).toBe(0);
      expect(await readdir(dir.data)).not.toContain('agent.pid');
      for (const pid of companions) expect(existsSync(`/proc/${pid}`)).toBe(true);
    },
    PATIENCE_MS,
  );
});
