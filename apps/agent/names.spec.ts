import { silentLog } from '#base/log.js';
import { macOfIp } from '#base/address.js';
import { systemClock } from '#base/clock.js';
import { decodeNameConfig } from '#dns/name-config.js';
import type { ViewByKind } from '#model/view-state.js';
import { applySnapshot } from '#model/view-state.js';
import { DesiredStore } from './desired-store.js';
import { FactsLoop } from './loops/facts.js';
import { NamesLoop } from './loops/names.js';
import { namesConfig } from './names-config.js';
import { makeNetwork, makeSnapshot, makeTask, NODE_ID, until, withTempDir } from './spec-kit.js';

const network = makeNetwork('abcdef01');
const at = (ipv4: string, taskId?: string) => ({
  networkId: network.id,
  ipv4,
  mac: macOfIp(ipv4),
  nodeId: NODE_ID,
  vtep: '192.0.2.1',
  taskId,
});
const here = makeTask('aaaaaaaa', { endpoints: [{ networkId: network.id, ipv4: '10.1.0.7', mac: macOfIp('10.1.0.7'), aliases: [] }] });
const name = (text: string, ...addresses: string[]) => ({ networkId: network.id, name: text, addresses });
const view: ViewByKind = {
  tasks: [here],
  networks: [network],
  endpoints: [at('10.1.0.7', here.id), at('10.1.0.8', 'bbbbbbbb'), at('10.1.0.254')],
  names: [
    name('web', '10.1.0.9'),
    name('tasks.web', '10.1.0.7', '10.1.0.8'),
    name('shop-web-1', '10.1.0.7'),
    name('front', '10.1.0.7'),
    name('shop-web-2', '10.1.0.8'),
    name('gone'),
  ],
  vips: [{ networkId: network.id, service: 'web', ipv4: '10.1.0.9', backends: ['10.1.0.7', '10.1.0.8'] }],
  publications: [],
  members: [],
  settings: { vxlanPort: 4789, wireguardPort: 7706, guardedTcpPorts: [] },
};

describe('what the name server is told', () => {
  const config = namesConfig(view, NODE_ID, ['192.0.2.53']);

  it('is what the name server takes', () => expect(decodeNameConfig(JSON.parse(JSON.stringify(config)))).toEqual(config));

  it('has the time that the cluster gives to answers, or ours', () => {
    expect(config.ttlSeconds).toBe(5);
    const settings = { ...view.settings, dnsTtlSeconds: 30 };
    expect(namesConfig({ ...view, settings }, NODE_ID, []).ttlSeconds).toBe(30);
  });

  it('lets this node and its tasks ask, and nobody else', () => {
    expect(config.networks).toMatchObject([
      { listen: { address: '10.1.0.1', port: 7753 }, clients: ['10.1.0.7'], nodeAddresses: ['10.1.0.254', '10.1.0.1'] },
    ]);
    expect(config.tasks).toEqual([{ id: here.id, addresses: ['10.1.0.7'] }]);
    expect(config.upstreams).toEqual(['192.0.2.53']);
  });

  it('has every name, those without an address too', () => {
    expect(config.networks[0]?.records).toContainEqual({ name: 'tasks.web', addresses: ['10.1.0.7', '10.1.0.8'] });
    expect(config.networks[0]?.records).toContainEqual({ name: 'gone', addresses: [] });
  });

  it('calls an address after its task or service, not after an alias', () => {
    expect(config.networks[0]?.ptr).toEqual([
      { address: '10.1.0.7', name: 'shop-web-1' },
      { address: '10.1.0.8', name: 'shop-web-2' },
      { address: '10.1.0.9', name: 'web' },
    ]);
  });

  it('has networks that somebody here can ask on: by their gateway, or by the wire of a task in the LAN of the site', () => {
    const { nodeAddress: _, ...only } = network;
    const broughtTo = { ...only, id: 'abcdef02' };
    const lan = { ...only, id: 'abcdef03', driver: 'macvlan' as const };
    const { networks } = namesConfig({ ...view, networks: [network, broughtTo, lan] }, NODE_ID, []);
    expect(networks.map((n) => [n.id, n.listen.address])).toEqual([
      [network.id, '10.1.0.1'],
      [lan.id, '169.254.76.1'],
    ]);
  });

  it('does not depend on the order of the view', () => {
    const other = { ...view, names: [...view.names].reverse(), endpoints: [...view.endpoints].reverse() };
    expect(namesConfig(other, NODE_ID, ['192.0.2.53'])).toEqual(config);
  });
});

describe('the names loop', () => {
  it('tells once what is new, again after a failure, and everything to a name server that began anew', () =>
    withTempDir(async (dir) => {
      const store = await DesiredStore.open(dir, silentLog);
      const told: number[] = [];
      const reached: number[] = [];
      let failures = 1;
      const names = new NamesLoop<{ revision: number }>({
        store,
        configOf: () => ({ revision: store.view.revision }),
        set: async ({ revision }) => {
          if (failures-- > 0) throw new Error('not yet');
          told.push(revision);
        },
        isKnown: () => store.isKnown,
        onTold: () => void reached.push(names.toldRevision),
        log: silentLog,
      });
      expect(names.toldRevision).toBe(0);
      names.start();
      store.set(applySnapshot(makeSnapshot(3, [])));
      await until(() => told.length === 1);
      names.kick();
      await new Promise((resolve) => setTimeout(resolve, 40));
      names.cameUp();
      expect(names.toldRevision).toBe(0);
      await until(() => told.length === 2);
      store.set(applySnapshot(makeSnapshot(4, [])));
      await until(() => told.length === 3);
      names.stop();
      expect(told).toEqual([3, 3, 4]);
      // The kick between them had nothing to tell: what was told holds.
      expect(reached).toEqual([3, 3, 3, 4]);
      await store.flush();
    }));
});

describe('the facts loop', () => {
  it('tells what changed, and keeps what it knew when the host cannot be read', async () => {
    let cpus = 2;
    const agent: { quarantine?: string } = {};
    let news = 0;
    const facts = new FactsLoop({
      nodeId: NODE_ID,
      readHost: async () => {
        if (cpus === 0) throw new Error('no ip');
        return { cpus };
      },
      agentPart: () => ({ quarantine: agent.quarantine, driftRepairs: 0 }),
      onNews: () => void news++,
      clock: systemClock,
      log: silentLog,
    });
    await facts.refresh();
    await facts.refresh();
    expect([news, facts.current()]).toMatchObject([1, { nodeId: NODE_ID, cpus: 2 }]);
    agent.quarantine = 'because';
    expect(facts.current().quarantine).toBe('because');
    cpus = 0;
    await facts.refresh();
    expect([news, facts.current().cpus]).toEqual([2, 2]);
  });
});
