import { macOfIp } from '#base/address.js';
import { silentLog } from '#base/log.js';
import { FakeKernel } from '#linux/fake-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import type { SeenTunnel } from '#linux/wireguard.js';
import { systemClock } from '#base/clock.js';
import type { Member, Resource } from '#model/node-view.js';
import { applySnapshot, byKind } from '#model/view-state.js';
import { taskNamespace, wireguardName } from '#overlay/names.js';
import { DesiredStore } from './desired-store.js';
import { NetworkLoop } from './loops/network.js';
import { TunnelLoop } from './loops/tunnels.js';
import { makeNetwork, makeSnapshot, makeTask, NODE_ID, taskResource, withTempDir } from './spec-kit.js';
import { NodeTunnelKeys } from './tunnel-keys.js';

const PEER = 'fedcba9876543210';
const HOUR_MS = 3_600_000;
const network = makeNetwork('abcdef01', { options: { encrypted: true }, mtu: 1390 });
const plain = makeNetwork('abcdef02', { key: 'plain', subnet: '10.2.0.0/24', gateway: '10.2.0.1', nodeAddress: '10.2.0.254', vni: 5002 });
const endpoint = (id: string, ipv4: string) => ({ networkId: id, ipv4, mac: macOfIp(ipv4), aliases: [] });
const secret = makeTask('aaaaaaaaaaaaaaaa', { endpoints: [endpoint(network.id, '10.1.0.7')] });
const open = makeTask('bbbbbbbbbbbbbbbb', { name: 'shop-open-1', slot: 2, endpoints: [endpoint(plain.id, '10.2.0.7')] });

const member = (id: string, index: number, keys?: NodeTunnelKeys): Member => ({
  id,
  name: id,
  address: `192.0.2.${index}`,
  kind: 'node',
  index,
  wireguard: keys?.publicKeys,
});
const resources = (members: Member[]): Resource[] => [
  { kind: 'network', value: network },
  { kind: 'network', value: plain },
  ...members.map((value): Resource => ({ kind: 'member', value })),
  taskResource(secret),
  taskResource(open),
];

describe('a node that cannot encrypt', () => {
  it('fails the tasks of encrypted networks with the reason, makes nothing of these networks, and runs the others', () =>
    withTempDir(async (dir) => {
      const store = await DesiredStore.open(dir, silentLog);
      const kernel = new FakeKernel();
      const loop = new NetworkLoop({
        kernel: new KernelReconciler({ kernel }),
        store,
        host: { nodeId: NODE_ID, address: '192.0.2.1', tunnelKeys: () => undefined },
        mayProgram: () => true,
        onTasks: () => Promise.resolve(),
        onDrift: () => undefined,
        clock: systemClock,
        log: silentLog,
      });
      loop.start();
      const waiting = expect(loop.ready(secret.id, 5_000)).rejects.toMatchObject({
        code: 'KERNEL',
        why: expect.stringContaining('cannot encrypt'),
      });
      store.set(applySnapshot(makeSnapshot(2, [], { resources: resources([member(NODE_ID, 1)]) })));
      await waiting;
      await loop.ready(open.id, 5_000);
      await expect(loop.ready(secret.id, 5_000)).rejects.toMatchObject({ what: expect.stringContaining('encrypted') });
      const node = kernel.state.namespaces[''];
      expect(Object.keys(node?.links ?? {}).filter((name) => name.includes('5001') || name.startsWith('wfw'))).toEqual([]);
      expect(Object.keys(kernel.state.namespaces[taskNamespace(secret.id)]?.links ?? {})).toEqual(['lo']);
      await loop.stop();
      await store.flush();
    }));
});

describe('the keys of the tunnels', () => {
  const withLoop = (
    use: (rig: {
      loop: TunnelLoop;
      keys: NodeTunnelKeys;
      peer: NodeTunnelKeys;
      at: { now: number; handshake: number };
      said: string[];
      members: Member[];
    }) => Promise<void>,
  ) =>
    withTempDir(async (dir) => {
      const [keys, peer] = [await NodeTunnelKeys.open(`${dir}/a`, 0), await NodeTunnelKeys.open(`${dir}/b`, 0)];
      const at = { now: HOUR_MS, handshake: 0 };
      const said: string[] = [];
      const members = [member(NODE_ID, 1, keys), member(PEER, 2, peer)];
      const see = (dev: string): Promise<SeenTunnel> => {
        const settings = {
          dev,
          publicKey: peer.publicKeys.publicKey,
          endpoint: '192.0.2.2:7706',
          allowed: '169.254.128.2/32',
          presharedKey: 'x',
        };
        const counters = { lastHandshake: at.handshake, receivedBytes: 0, sentBytes: 0 };
        expect(dev).toBe(wireguardName(NODE_ID));
        return Promise.resolve({ port: 7706, publicKey: keys.publicKeys.publicKey, peers: [{ ...settings, ...counters, keepaliveS: 25 }] });
      };
      const loop = new TunnelLoop({
        keys,
        nodeId: NODE_ID,
        isAble: () => true,
        view: () => byKind(applySnapshot(makeSnapshot(2, [], { resources: resources(members) }))),
        see,
        rotateEveryMs: 24 * HOUR_MS,
        onNews: () => void said.push('news'),
        onChange: () => void said.push('change'),
        clock: { ...systemClock, now: () => at.now },
        log: silentLog,
      });
      await use({ loop, keys, peer, at, said, members });
    });

  it('rotate when they are old, and tell of it', () =>
    withLoop(async ({ loop, keys, at, said }) => {
      const before = keys.publicKeys;
      await loop.tick();
      expect(keys.publicKeys).toEqual(before);
      at.now = 24 * HOUR_MS;
      await loop.tick();
      expect(keys.publicKeys.rotatingKey).not.toBe(before.rotatingKey);
      expect(keys.publicKeys.publicKey).toBe(before.publicKey);
      expect(said).toEqual(['news']);
    }));

  it('go back to what a peer knows that missed a rotation, and forth again', () =>
    withLoop(async ({ loop, keys, at, said, members }) => {
      const view = () => byKind(applySnapshot(makeSnapshot(2, [], { resources: resources(members) })));
      const old = loop.keysFor(view())?.presharedKeys[PEER];
      await loop.rotate();
      members[0] = member(NODE_ID, 1, keys);
      const fresh = loop.keysFor(view())?.presharedKeys[PEER];
      expect(fresh).not.toBe(old);
      at.handshake = at.now / 1_000 - 60;
      await loop.tick();
      expect(loop.keysFor(view())?.presharedKeys[PEER]).toBe(fresh);
      at.handshake = at.now / 1_000 - 150;
      await loop.tick();
      expect(loop.keysFor(view())?.presharedKeys[PEER]).toBe(old);
      await loop.tick();
      expect(loop.keysFor(view())?.presharedKeys[PEER]).toBe(fresh);
      expect(said).toEqual(['news', 'change', 'change']);
    }));
});
