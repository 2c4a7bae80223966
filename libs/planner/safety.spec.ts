/** Safety over random histories: whatever happens in whatever order, also to leaders that decide on an old state. */
import fc from 'fast-check';
import { cidrLast, cidrsOverlap, formatCidr, ipToNumber, parseCidr } from '#base/address.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { planCleanup } from './plan-cleanup.js';
import { planServices } from './plan-services.js';
import { planRemoval } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';
import type { Unit } from './transaction.js';

const NODES = ['a', 'b', 'c'];
/** 13 addresses to give: small enough to run out. */
const SMALL = 28;

type Step =
  | { do: 'up'; stack: number; web: number; db: number; image: number }
  | { do: 'down'; stack: number }
  | { do: 'tick' | 'clean' | 'remember' | 'settle' }
  /** A former leader that is behind writes what it planned then. (Here without the fence that would refuse it: cleaning needs the fence.) */
  | { do: 'staleTick' }
  | { do: 'report'; pick: number; state: number }
  | { do: 'node'; node: number; state: number }
  | { do: 'pass'; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('up' as const), stack: fc.nat(1), web: fc.nat(5), db: fc.nat(2), image: fc.nat(2) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('down' as const), stack: fc.nat(1) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('tick' as const, 'clean' as const, 'remember' as const, 'settle' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('staleTick' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('report' as const), pick: fc.nat(30), state: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('node' as const), node: fc.nat(2), state: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(40_000) }) },
);

const STACKS = ['s0', 's1'];

class History {
  readonly world = new World(NODES, SMALL);
  remembered: Unit[] = [];

  run(s: Step): void {
    const { world } = this;
    if (s.do === 'up') {
      this.up(s);
      // Another leader sees the same: both plan, and each writes when its turn comes.
      if (s.image === 0) this.remember();
    } else if (s.do === 'down') this.down(STACKS[s.stack] as string);
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

  up({ stack, web, db, image }: { stack: number; web: number; db: number; image: number }): void {
    try {
      this.world.up(stackOf(STACKS[stack] as string, { web: { replicas: web, container: { image: `busybox:${image}` } }, db }));
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
    else this.world.setNodeState(name, state === 1 ? 'down' : 'ready');
  }
}

/** Jest's expect is slow, and this runs for every step of every history. */
function must(holds: boolean, what: () => string): void {
  if (!holds) throw new Error(`broken: ${what()}`);
}

function checkInvariants(world: World, tasksBefore: ReadonlyMap<string, { nodeId: string }>): void {
  const { model } = world;
  const owners = new Map<string, string>();
  const own = (network: string, ip: string, owner: string) => {
    const key = `${network} ${ip}`;
    must(!owners.has(key), () => `${key} belongs to ${owners.get(key)} and ${owner}`);
    owners.set(key, owner);
    const subnet = parseCidr(model.networks.get(network)?.subnet ?? '');
    const n = ipToNumber(ip);
    must(n > subnet.base + 1 && n < cidrLast(subnet), () => `${ip} is no address to give of ${formatCidr(subnet)}`);
    const lease = model.leases.get(network)?.get(ip);
    must(lease?.owner === owner && lease.restsUntil === undefined, () => `${key} of ${owner} is leased as ${JSON.stringify(lease)}`);
  };
  const slots = new Set<string>();
  for (const task of model.tasks.values()) {
    const slot = `${task.stack}/${task.service}/${task.slot}`;
    must(!slots.has(slot), () => `two tasks in slot ${slot}`);
    slots.add(slot);
    must(model.slots.get(slot) === task.id, () => `slot ${slot} is not its task's`);
    for (const e of task.endpoints) {
      own(e.networkId, e.ipv4, task.id);
      must(model.nodeAddresses.get(e.networkId)?.has(task.nodeId) ?? false, () => `${task.name}: its node has no address`);
      must(model.vips.get(e.networkId)?.has(`${task.stack}/${task.service}`) ?? false, () => `${task.name}: its service has no VIP`);
    }
  }
  must(model.slots.size === model.tasks.size, () => 'a slot without a task');
  for (const [network, row] of model.nodeAddresses) for (const a of row.values()) own(network, a.ipv4, a.nodeId);
  for (const [network, row] of model.vips) for (const v of row.values()) own(network, v.ipv4, `${v.stack}/${v.service}`);
  const networks = [...model.networks.values()];
  for (const [i, a] of networks.entries()) {
    for (const b of networks.slice(i + 1)) {
      must(a.vni !== b.vni && !cidrsOverlap(parseCidr(a.subnet), parseCidr(b.subnet)), () => `${a.name} and ${b.name} overlap`);
    }
  }
  for (const [id, { nodeId }] of tasksBefore) {
    must(
      model.tasks.has(id) || !model.nodes.has(nodeId) || (model.tombstones.get(nodeId)?.has(id) ?? false),
      () => `${id} went without a reason`,
    );
  }
}

describe('random histories', () => {
  it('never give out an address twice or a slot to two tasks, and leave a reason for every task that goes', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 30, maxLength: 80, size: 'max' }), (steps) => {
        const history = new History();
        for (const s of steps) {
          const before = new Map(history.world.model.tasks);
          history.run(s);
          checkInvariants(history.world, before);
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
        for (const s of steps) history.run(s);
        for (const name of NODES) {
          if (world.nodeId(name) === '') world.addNode(name);
          else world.setNodeState(name, 'ready');
        }
        world.settle();
        world.now += 60_000;
        for (let i = 0; i < 50 && world.apply(planCleanup(world.model, world.now)) > 0; i++) world.now += 60_000;
        world.settle();
        expect(planServices(world.model, world.newId, world.now).units).toEqual([]);
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
