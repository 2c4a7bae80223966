import fc from 'fast-check';
import { planCleanup } from './plan-cleanup.js';
import { planRemoval } from './plan-stack.js';
import { planServices } from './plan-services.js';
import { ServicesPlanner } from './services-planner.js';
import { sameValue } from './spec-hash.js';
import { stackOf, World } from './spec-kit.js';

/** Ids that do not depend on how many were drawn before. */
function ids(from: number): () => string {
  let n = from;
  return () => (++n).toString(16).padStart(16, '0');
}

/** A leader that keeps in mind what changed, beside one that looks at everything each time. */
class Two {
  readonly world = new World(['a', 'b', 'c'], 28);
  readonly planner = new ServicesPlanner(this.world.model);
  #ids = 0;

  constructor() {
    this.world.onChange = (keys) => this.planner.note(keys);
  }

  tick(): number {
    const { world } = this;
    const from = (this.#ids += 1_000);
    const whole = planServices(world.model, ids(from), world.now);
    const { units, wakeAt } = this.planner.plan(ids(from), world.now, world.now);
    expect(units).toEqual(whole.units);
    if (whole.wakeAt !== undefined) expect(wakeAt).toBeLessThanOrEqual(whole.wakeAt);
    if (whole.againMs !== undefined) expect(wakeAt).toBeLessThanOrEqual(world.now + whole.againMs);
    return world.apply(units);
  }

  up(name: number, web: number, how: number): void {
    const more = {
      ...(how & 1 ? { container: { image: `busybox:${how}` } } : {}),
      ...(how & 2
        ? { update: { order: how & 4 ? 'start-first' : 'stop-first', parallelism: 1, monitorMs: 300, onFailure: 'rollback' } }
        : {}),
      ...(how & 8 ? { dependsOn: { db: {} } } : {}),
      ...(how & 16 ? { placement: { constraints: ['node.hostname != c'] } } : {}),
    };
    const db = how & 4 ? { mode: 'global' } : { networks: { default: how & 16 ? { ipv4: `10.20${name}.0.3` } : {} } };
    const ipam = [{ subnet: `10.20${name}.0.0/28` }];
    const networks = { default: { key: 'default', name: `s${name}_default`, ipam, ipv6: (how & 32) > 0 } };
    try {
      this.world.up(stackOf(`s${name}`, { web: { replicas: web, ...more }, db }, { networks }));
    } catch (error) {
      if (!(error as { code?: string }).code) throw error;
    }
  }

  down(name: string): void {
    if (!this.world.model.stacks.has(name)) return;
    const { compares, writes } = planRemoval(this.world.model, name, this.world.now);
    this.world.txn(compares, writes);
  }

  report(pick: number, state: number): void {
    const tasks = [...this.world.model.tasks.values()];
    const task = tasks[pick % Math.max(1, tasks.length)];
    if (task)
      this.world.report(task.id, task.desired === 'stop' ? 'stopped' : ((['running', 'running', 'failed'] as const)[state] ?? 'running'));
  }

  node(name: string, state: number): void {
    if (state < 2) this.world.setNodeState(name, state === 0 ? 'down' : 'ready');
    else if (state < 5) this.world.changeNode(name, { availability: (['drain', 'pause', 'active'] as const)[state - 2] });
    else this.world.setFacts(name, { memoryBytes: state, ...(state === 6 ? { quarantine: 'why' } : {}) });
  }
}

type Step = { do: 'up' | 'down' | 'rebalance' | 'tick' | 'report' | 'node' | 'pass' | 'clean'; a: number; b: number; c: number };
const kinds = fc.constantFrom<Step['do']>(
  'up',
  'down',
  'tick',
  'tick',
  'tick',
  'report',
  'report',
  'report',
  'node',
  'node',
  'rebalance',
  'pass',
  'clean',
);
const step = fc.record({ do: kinds, a: fc.nat(2), b: fc.nat(6), c: fc.nat(63) });

function run(two: Two, { do: what, a, b, c }: Step): void {
  const { world } = two;
  if (what === 'up') two.up(a, b, c);
  else if (what === 'down') two.down(`s${a}`);
  else if (what === 'rebalance') world.rebalance();
  else if (what === 'tick') two.tick();
  else if (what === 'report') two.report(c, a);
  else if (what === 'node') two.node(['a', 'b', 'c'][a] as string, b);
  else if (what === 'pass') world.now += c * 200;
  else world.apply(planCleanup(world.model, world.now));
}

describe('a plan for what changed', () => {
  it('is the plan for everything, whatever happened', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }), (steps) => {
        const two = new Two();
        for (const s of steps) run(two, s);
        for (let i = 0; i < 5; i++) two.tick();
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  it('looks at nothing when nothing changed, and at everything after a gap', () => {
    const two = new Two();
    two.up(0, 3, 0);
    expect(two.tick()).toBeGreaterThan(0);
    for (const task of two.world.model.tasks.values()) two.world.report(task.id, 'running');
    two.tick();
    expect(two.planner.plan(ids(1), two.world.now, two.world.now).units).toEqual([]);
    two.planner.note(undefined);
    expect(two.planner.plan(ids(1), two.world.now, two.world.now).units).toEqual([]);
  });
});

describe('values', () => {
  it('are the same when their JSON is', () => {
    expect(sameValue({ a: 1, b: undefined, c: [{ d: 'x' }] }, { c: [{ d: 'x' }], a: 1 })).toBe(true);
    expect(sameValue({ a: 1, b: 2 }, { a: 1 })).toBe(false);
    expect(sameValue({ a: [1] }, { a: { 0: 1 } })).toBe(false);
    expect(sameValue(null, {})).toBe(false);
  });
});
