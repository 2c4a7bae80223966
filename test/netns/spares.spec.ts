/** Spare namespaces on a real kernel: taken for tasks, made anew, without a way in or out, and nobody's when the node is given up. */
import { statSync } from 'node:fs';
import { jest } from '@jest/globals';
import { silentLog } from '#base/log.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { NftSessions } from '#linux/nft-sessions.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { run } from '#linux/runner.js';
import { StandbyCommands } from '#linux/standby.js';
import type { KernelState } from '#overlay/kernel-state.js';
import { spareNamespace, taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(60_000);

const SPARES = 2;
// Named after this process: what another run may have left behind has other names.
const n1: ModelNode = { id: testId(7).slice(0, 8), name: 'n1', address: '192.168.77.1', octet: 251 };
const spares = Array.from({ length: SPARES }, (_, n) => spareNamespace(n1.id, n));
const inodeOf = (ns: string): number => statSync(`/run/netns/${ns}`).ino;

describe.each([
  ['with the processes that are kept for them', true],
  ['without', false],
])('spare namespaces, %s', (_, isKept) => {
  const lab = new NetnsLab();
  const salt = isKept ? 7000 : 7100;
  const idOf = (name: string) => testId(salt + ['web', 'one', 'two', 'three', 'four'].indexOf(name));
  const ns = (name: string) => taskNamespace(idOf(name));
  const sessions = new NftSessions();
  const standby = new StandbyCommands();
  let host = '';
  let r: KernelReconciler;

  const wish = (...names: string[]): KernelState => {
    const c = new ClusterModel();
    c.nodes = [n1];
    c.networks = [{ id: 'aaaaaaaa', key: 'front', base: '10.92.0', vni: 4099 }];
    c.tasks = names.map((name) => ({ id: idOf(name), name, node: n1, on: { front: 10 + names.indexOf(name) } }));
    c.vips = [{ network: 'front', octet: 200, service: 'web', tasks: ['web'] }];
    return nodeKernel(c.view(n1), { nodeId: n1.id, address: n1.address, spares: SPARES });
  };
  const newReconciler = () =>
    new KernelReconciler({
      kernel: new LinuxKernel({ enter: host, ...(isKept ? { sessions, standby, runner: standby.run } : {}) }),
      log: silentLog,
    });
  /** Sets a wish, and waits for the spares too. */
  const set = async (state: KernelState) => {
    const result = await r.set(state);
    expect(result.failed).toEqual([]);
    expect(await r.plan(state)).toEqual([]);
    return result.operations.map((o) => o.op).filter((op) => op === 'takeNamespace' || op === 'addNamespace');
  };
  const pidsIn = async (name: string) => (await run(['ip', 'netns', 'pids', name])).stdout.split('\n').filter(Boolean).map(Number);

  beforeAll(async () => {
    await lab.start();
    host = await lab.host('n1', n1.address);
    r = newReconciler();
  });
  afterAll(async () => {
    expect((await r.removeAll()).failed).toEqual([]);
    sessions.stop();
    standby.stop();
    await lab.stop();
    const { stdout } = await run(['ip', 'netns', 'list']);
    for (const name of [...spares, ...['web', 'one', 'two', 'three', 'four'].map(ns)]) expect(stdout).not.toContain(name);
  });

  it('has some once what was waited for is there, with no way in or out', async () => {
    expect(await set(wish('web'))).toEqual(['addNamespace']);
    for (const spare of spares) {
      const links = JSON.parse(await lab.exec(spare, ['ip', '-j', 'link'])) as { ifname: string }[];
      expect(links.map((l) => l.ifname)).toEqual(['lo']);
      expect((await lab.exec(spare, ['ip', 'route', 'show', 'table', 'main'])).trim()).toBe('');
      expect(await lab.pings(spare, '10.92.0.1')).toBe(false);
      expect(await lab.exec(spare, ['sysctl', '-n', 'net.ipv4.ip_unprivileged_port_start'])).toBe('0\n');
      expect((await pidsIn(spare)).length > 0).toBe(isKept);
    }
  });

  it('makes a new task’s namespace of one, whole as any, and another in its place', async () => {
    const before = spares.map(inodeOf);
    expect(await set(wish('web', 'one'))).toEqual(['takeNamespace']);
    expect(before).toContain(inodeOf(ns('one')));
    expect(spares.map(inodeOf)).not.toContain(inodeOf(ns('one')));
    expect(await lab.pings(ns('one'), '10.92.0.10')).toBe(true);
    expect(await lab.exec(ns('one'), ['nft', 'list', 'map', 'ip', 'weft', 'vips'])).toContain('10.92.0.200');
    expect(await lab.exec(ns('one'), ['nft', 'list', 'chain', 'ip', 'weft', 'loopback_guard'])).toContain('127.0.0.0/8');
    expect(await r.repair()).toEqual({ repaired: [], failed: [] });
    expect(await r.glance([ns('one'), ...spares])).toEqual([]);
  });

  it('makes as many as there are of spares, and the others as ever', async () => {
    const operations = await set(wish('web', 'one', 'two', 'three', 'four'));
    expect(operations.sort()).toEqual(['addNamespace', 'takeNamespace', 'takeNamespace']);
    for (const name of ['two', 'three', 'four']) expect(await lab.pings(ns(name), '10.92.0.10')).toBe(true);
    await set(wish('web', 'one'));
  });

  it('takes none that somebody changed, and puts right what was', async () => {
    for (const spare of spares) await lab.batch(spare, ['link add foreign type veth peer name other', 'link set lo down']);
    await lab.exec(spares[0] ?? '', ['nft', 'add', 'table', 'ip', 'weft']);
    expect(await r.glance(spares)).toEqual([spares[0]]);
    const restarted = newReconciler();
    const { operations, failed } = await restarted.set(wish('web', 'one', 'two'));
    expect(failed).toEqual([]);
    expect(operations.map((o) => o.op)).toContain('addNamespace');
    expect(operations.map((o) => o.op)).not.toContain('takeNamespace');
    expect(await restarted.plan(wish('web', 'one', 'two'))).toEqual([]);
    r = restarted;
    expect(await r.repair()).toEqual({ repaired: [], failed: [] });
    await set(wish('web', 'one'));
  });

  it('makes a spare anew that was removed, and takes one whose processes were killed', async () => {
    await run(['ip', 'netns', 'del', spares[0] ?? '']);
    expect((await r.repair()).wrong).toEqual([`namespace ${spares[0]} was missing`]);
    for (const spare of spares) for (const pid of await pidsIn(spare)) process.kill(pid, 'SIGKILL');
    expect(await set(wish('web', 'one', 'two'))).toEqual(['takeNamespace']);
    expect(await lab.pings(ns('two'), '10.92.0.10')).toBe(true);
    await set(wish('web', 'one'));
  });

  it('goes on where an agent ended between giving the name and taking the other away', async () => {
    const pid = lab.background(spares[0] ?? '', ['sleep', '60']).pid ?? 0;
    while (!(await pidsIn(spares[0] ?? '')).includes(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
    await run(['ip', 'netns', 'attach', ns('two'), String(pid)]);
    r = newReconciler();
    await set(wish('web', 'one', 'two'));
    expect(spares.map(inodeOf)).not.toContain(inodeOf(ns('two')));
    expect(await lab.pings(ns('two'), '10.92.0.10')).toBe(true);
  });
});
