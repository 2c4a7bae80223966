/** Safety over random histories: whatever happens in whatever order, also to leaders that decide on an old state. */
import fc from 'fast-check';
import { addressToNumber, familyOf, parseSubnet, subnetHas, subnetsOverlap } from '#base/ip.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Lease } from '#model/network.js';
import type { Stack } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { addressesOf } from './allocate.js';
import { declaredAddresses, givable, keptAddresses, subnetsOf } from './network-subnets.js';
import { planCleanup } from './plan-cleanup.js';
import { planServices } from './plan-services.js';
import { planRemoval } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';
import type { Unit } from './transaction.js';

const NODES = ['a', 'b', 'c'];
/** 13 addresses to give: small enough to run out. */
const SMALL = 28;

type Step =
  | { do: 'up'; stack: number; web: number; db: number; image: number; net: number }
  /** A third stack on the network of the first, with an address of its own. */
  | { do: 'guest'; web: number; at: number }
  | { do: 'down'; stack: number }
  | { do: 'tick' | 'clean' | 'remember' | 'settle' | 'rebalance' }
  /** A former leader that is behind writes what it planned then. (Here without the fence that would refuse it: cleaning needs the fence.) */
  | { do: 'staleTick' }
  | { do: 'report'; pick: number; state: number }
  | { do: 'node'; node: number; state: number }
  | { do: 'pass'; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('up' as const),
      stack: fc.nat(1),
      web: fc.nat(5),
      db: fc.nat(2),
      image: fc.nat(2),
      net: fc.nat(7),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('guest' as const), web: fc.nat(3), at: fc.nat(13) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('down' as const), stack: fc.nat(2) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('tick' as const, 'clean' as const, 'remember' as const, 'settle' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('staleTick' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('report' as const), pick: fc.nat(30), state: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('node' as const), node: fc.nat(2), state: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(40_000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rebalance' as const) }) },
);

const STACKS = ['s0', 's1', 'guest'];

/** Bit 0: dual stack; bit 1: a second subnet; bit 2: the service `db`, if it has one task, names its addresses. The first subnet keeps one address. */
function stackWith(name: string, web: number, db: number, image: number, net: number): Stack {
  const [six, more, fixed] = [(net & 1) > 0, (net & 2) > 0, (net & 4) > 0 && db === 1];
  const at = STACKS.indexOf(name);
  const ipam = [
    { subnet: `10.20${at}.0.0/${SMALL}`, auxAddresses: { nas: `10.20${at}.0.5` }, ipRange: `10.20${at}.0.0/${SMALL}` },
    ...(more ? [{ subnet: `10.20${at}.1.0/${SMALL}`, gateway: `10.20${at}.1.9` }] : []),
  ];
  const own = { ipv4: `10.20${at}.0.3`, ...(six && at === 1 ? { ipv6: 'fd12::3' } : {}) };
  const networks = { default: fixed ? own : {} };
  return stackOf(
    name,
    {
      web: {
        replicas: web,
        container: { image: `busybox:${image}` },
        ...(web % 2 === 0
          ? { update: { order: 'start-first', parallelism: image, monitorMs: 0, onFailure: fixed ? 'rollback' : 'continue' } }
          : {}),
        ...(image === 1 ? { dependsOn: { db: {} } } : {}),
      },
      db: { replicas: db, networks },
    },
    {
      networks: {
        default: {
          key: 'default',
          name: `${name}_default`,
          ipv6: six,
          ipam: [...ipam, ...(six && at === 1 ? [{ subnet: 'fd12::/124' }] : [])],
        },
      },
    },
  );
}

class History {
  readonly world = new World(NODES, SMALL);
  remembered: Unit[] = [];
  /** Services that ever asked for an address. Where it was their own virtual one, that is released, and another comes with the next pass. */
  readonly asking = new Set<string>();

  run(s: Step): void {
    const { world } = this;
    if (s.do === 'up') {
      this.up(s);
      // Another leader sees the same: both plan, and each writes when its turn comes.
      if (s.image === 0) this.remember();
    } else if (s.do === 'guest') this.guest(s);
    else if (s.do === 'down') this.down(STACKS[s.stack] as string);
    else if (s.do === 'rebalance') world.rebalance();
    else if (s.do === 'tick') world.tick();
    else if (s.do === 'clean') world.apply(planCleanup(world.model, world.now));
    else if (s.do === 'remember') this.remember();
    else if (s.do === 'settle') world.settle();
    else if (s.do === 'staleTick') world.apply(this.remembered);
    else if (s.do === 'report') this.report(s.pick, s.state);
    else if (s.do === 'node') this.node(NODES[s.node] as string, s.state);
    else if (s.do === 'pass') world.now += s.ms;
  }

  remember(): void {
    this.remembered = planServices(this.world.model, this.world.newId, this.world.now).units;
  }

  up({ stack, web, db, image, net }: { stack: number; web: number; db: number; image: number; net: number }): void {
    this.bring(stackWith(STACKS[stack] as string, web, db, image, net));
  }

  guest({ web, at }: { web: number; at: number }): void {
    const networks = { host: at > 0 ? { ipv4: `10.200.0.${at + 1}` } : {} };
    const external = { host: { key: 'host', name: 's0_default', external: true } };
    this.bring(stackOf('guest', { web: { replicas: at > 0 ? 1 : web, networks } }, { networks: external }));
  }

  bring(stack: Stack): void {
    for (const { name, networks } of Object.values(stack.services))
      if (Object.values(networks).some((a) => a.ipv4 !== undefined)) this.asking.add(`${stack.name}/${name}`);
    try {
      this.world.up(stack);
    } catch (error) {
      // Refused with a reason: nothing is written then, which the invariants check.
      if (!(error as { code?: string }).code) throw error;
    }
  }

  down(name: string): void {
    if (!this.world.model.stacks.has(name)) return;
    const { compares, writes } = planRemoval(this.world.model, name, this.world.now);
    if (writes.length > 0) this.world.txn(compares, writes);
  }

  report(pick: number, state: number): void {
    const tasks = [...this.world.model.tasks.values()];
    const task = tasks[pick % Math.max(1, tasks.length)];
    if (task)
      this.world.report(
        task.id,
        task.desired === 'stop' ? 'stopped' : ((['running', 'failed', 'starting', 'running'] as const)[state] ?? 'running'),
      );
  }

  node(name: string, state: number): void {
    const id = this.world.nodeId(name);
    if (id === '') this.world.addNode(name);
    else if (state === 0)
      this.world.write(
        { delete: keys.node(id) },
        { put: keys.tombstone(id, id), value: encode({ taskId: id, nodeId: id, reason: 'removed', at: 0 }) },
      );
    else if (state <= 3) this.world.setNodeState(name, state === 3 ? 'ready' : 'down');
    else this.world.changeNode(name, { availability: (['drain', 'pause', 'active'] as const)[state - 4] });
  }
}

/** Jest's expect is slow, and this runs for every step of every history. */
function must(holds: boolean, what: () => string): void {
  if (!holds) throw new Error(`broken: ${what()}`);
}

function checkInvariants({ world, asking }: History, tasksBefore: ReadonlyMap<string, Task>): void {
  const { model } = world;
  const owners = new Map<string, string>();
  const own = (network: string, ip: string, owner: string) => {
    const key = `${network} ${ip}`;
    must(!owners.has(key), () => `${key} belongs to ${owners.get(key)} and ${owner}`);
    owners.set(key, owner);
    const record = model.networks.get(network);
    const home = record && subnetsOf(record).find((s) => subnetHas(parseSubnet(s.subnet), ip));
    must(home !== undefined, () => `${key} is in no subnet of its network`);
    if (!record || !home) return;
    const { first, last } = givable(home);
    const n = addressToNumber(ip);
    must(n >= first && n <= last && !keptAddresses(record).has(ip), () => `${ip} is no address to give of ${home.subnet}`);
    const lease = model.leases.get(network)?.get(ip);
    must(lease?.owner === owner && lease.restsUntil === undefined, () => `${key} of ${owner} is leased as ${JSON.stringify(lease)}`);
  };
  const holders = new Set(model.slots.values());
  must(holders.size === model.slots.size, () => 'a task has two slots');
  for (const [slot, id] of model.slots) {
    const task = model.tasks.get(id);
    const own = `${task?.stack}/${task?.service}/${task?.slot}`;
    must(slot === own || slot === `${own}/next`, () => `${slot} is held by a task of ${own}`);
    // The surge of an update: only where it starts first.
    must(slot === own || task?.service === 'web', () => `${slot} has two tasks`);
  }
  for (const task of model.tasks.values()) {
    must(holders.has(task.id) || task.desired === 'stop', () => `${task.name} runs without a slot`);
    for (const e of task.endpoints) {
      for (const address of addressesOf(e)) own(e.networkId, address, task.id);
      const node = model.nodeAddresses.get(e.networkId)?.get(task.nodeId);
      const service = `${task.stack}/${task.service}`;
      must(node !== undefined, () => `${task.name}: its node has no address`);
      must(asking.has(service) || model.vips.get(e.networkId)?.has(service) === true, () => `${task.name}: its service has no address`);
      must(e.ipv6 === undefined || node?.ipv6 !== undefined, () => `${task.name} has IPv6, its node has none`);
    }
  }
  must(
    [...holders].every((id) => model.tasks.has(id)),
    () => 'a slot without a task',
  );
  for (const [network, row] of model.nodeAddresses) for (const r of row.values()) for (const a of addressesOf(r)) own(network, a, r.nodeId);
  for (const [network, row] of model.vips)
    for (const v of row.values()) for (const a of addressesOf(v)) own(network, a, `${v.stack}/${v.service}`);
  const networks = [...model.networks.values()];
  for (const [i, a] of networks.entries()) {
    for (const b of networks.slice(i + 1)) {
      const overlap = subnetsOf(a).some((x) => subnetsOf(b).some((y) => subnetsOverlap(parseSubnet(x.subnet), parseSubnet(y.subnet))));
      must(a.vni !== b.vni && !overlap, () => `${a.name} and ${b.name} overlap`);
    }
  }
  for (const [id, task] of model.tasks) {
    const before = tasksBefore.get(id);
    // A second process of a slot may exist on a node that was declared dead, and nowhere else.
    if (task.orphan && before && !before.orphan)
      must(model.nodeStates.get(task.nodeId)?.state === 'down', () => `${task.name} was given up on a node that lives`);
    if (!before) {
      const { availability } = model.nodes.get(task.nodeId) ?? {};
      must(availability !== 'drain' && availability !== 'pause', () => `${task.name} was placed on a node that takes none`);
    }
  }
  for (const [id, { nodeId }] of tasksBefore) {
    must(
      model.tasks.has(id) || !model.nodes.has(nodeId) || (model.tombstones.get(nodeId)?.has(id) ?? false),
      () => `${id} went without a reason`,
    );
  }
}

function isOwned({ model }: World, network: string, { kind, owner }: Lease): boolean {
  if (kind === 'task') return model.tasks.has(owner);
  return (kind === 'node' ? model.nodeAddresses : model.vips).get(network)?.has(owner) ?? false;
}

describe('random histories', () => {
  it('never give out an address twice or a slot to two tasks, and leave a reason for every task that goes', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 30, maxLength: 80, size: 'max' }), (steps) => {
        const history = new History();
        for (const s of steps) {
          const before = new Map(history.world.model.tasks);
          history.run(s);
          checkInvariants(history, before);
        }
      }),
      { numRuns: 50 },
    );
  }, 60_000);

  it('settle once the world stands still; a plan that was applied plans nothing more', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }), (steps) => {
        const history = new History();
        const { world } = history;
        // A guest may ask for more than there is, and then waits for ever, with a reason.
        for (const s of steps) if (s.do !== 'guest') history.run(s);
        for (const name of NODES) {
          if (world.nodeId(name) === '') world.addNode(name);
          else world.setNodeState(name, 'ready');
        }
        world.changeNode('a', { availability: 'drain' });
        world.changeNode('b', { availability: 'active' });
        world.changeNode('c', { availability: 'active' });
        // What waits for an address to have rested may hold others back that depend on it, or may leave a drained node only then.
        for (let turn = 0; turn < 4; turn++) {
          world.settle();
          world.now += 60_000;
          for (let i = 0; i < 50 && world.apply(planCleanup(world.model, world.now)) > 0; i++) {
            world.now += 60_000;
            world.settle();
          }
        }
        expect(planServices(world.model, world.newId, world.now).units).toEqual([]);
        expect(world.model.tasksOfNode(world.nodeId('a'))).toEqual([]);
        expect([...world.model.tasks.values()].filter((t) => t.orphan)).toEqual([]);
        for (const [network, row] of declaredAddresses(world.model))
          for (const [address, service] of row) {
            const lease = world.model.leases.get(network)?.get(address);
            expect(`${world.model.tasks.get(lease?.owner ?? '')?.stack}/${world.model.tasks.get(lease?.owner ?? '')?.service}`).toBe(
              service,
            );
          }
        for (const [network, row] of world.model.leases)
          for (const [address, lease] of row)
            must(isOwned(world, network, lease), () => `${address} is leased to ${lease.kind} ${lease.owner}, who is not there`);
        for (const task of world.model.tasks.values())
          for (const e of task.endpoints)
            expect(addressesOf(e).map(familyOf)).toEqual(world.model.networks.get(e.networkId)?.ipv6 ? [4, 6] : [4]);
        expect(planCleanup(world.model, world.now)).toEqual([]);
        for (const [name, record] of world.model.stacks) {
          expect(record.removing).toBe(false);
          for (const service of Object.values(record.spec.services)) {
            expect(world.model.tasksOfService(name, service.name).filter((t) => t.desired === 'run')).toHaveLength(service.replicas);
          }
        }
      }),
      { numRuns: 50 },
    );
  }, 60_000);
});
