import fc from 'fast-check';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { resourceKey, type Resource } from '#model/node-view.js';
import type { TaskState, TaskStatus } from '#model/task.js';
import { diffViews, EMPTY_VIEW, type View } from './diff-views.js';
import { viewOf } from './node-view-of.js';
import { planCleanup } from './plan-cleanup.js';
import { planRemoval } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';
import { touches, ViewIndex } from './view-index.js';

const NODES = ['a', 'b', 'c'];
const REPORTS: [TaskState, TaskStatus['health']][] = [
  ['failed', undefined],
  ['running', undefined],
  ['running', 'unhealthy'],
  ['running', 'healthy'],
  ['preparing', undefined],
  ['starting', undefined],
  ['stopped', undefined],
];

const texts = (resources: readonly Resource[]) => new Map(resources.map((r) => [resourceKey(r), encode(r)]));

/** A node that looks only when it is touched, and holds what deltas told it. */
class Told {
  view: View = EMPTY_VIEW;
  readonly resources = new Map<string, string>();
  isTouched = true;

  look(next: View): void {
    if (!this.isTouched) return;
    this.isTouched = false;
    const { upserts, removals } = diffViews(this.view, next);
    this.view = next;
    for (const key of removals) expect(this.resources.delete(key)).toBe(true);
    for (const { json } of upserts) this.resources.set(resourceKey(JSON.parse(json) as Resource), json);
  }
}

class Watched {
  readonly world = new World(NODES, 27);
  readonly index = new ViewIndex(this.world.model);
  readonly told = new Map<string, Told>(NODES.map((name) => [this.world.nodeId(name), new Told()]));

  constructor() {
    this.world.onChange = (changed) => {
      const touched = this.index.note(changed);
      for (const [id, node] of this.told) node.isTouched ||= touches(touched, id, node.view);
    };
  }

  check(): void {
    for (const [id, node] of this.told) {
      node.look(this.index.viewOf(id));
      expect(node.resources).toEqual(texts(viewOf(this.world.model, id)));
    }
  }

  up(name: number, replicas: number, how: number): void {
    const web = {
      replicas,
      container: { image: `busybox:${how & 1}` },
      ...(how & 2 ? { ports: [{ target: 80, published: 8_000 + name }] } : {}),
      ...(how & 4 ? { endpointMode: 'dnsrr' } : {}),
      ...(how & 8 ? { networks: { default: {}, local: {} } } : {}),
      ...(how & 64 ? { update: { order: 'start-first', parallelism: 1, monitorMs: 0 } } : {}),
    };
    const agent = { mode: 'global', networkMode: { kind: 'host' }, networks: {} };
    const networks = {
      default: { key: 'default', name: `s${name}_default`, ipv6: (how & 32) > 0, internal: (how & 128) > 0 },
      local: { key: 'local', name: `s${name}_local`, driver: 'bridge' },
    };
    this.tryTo(() => this.world.up(stackOf(`s${name}`, { web, db: 1, ...(how & 16 ? { agent } : {}) }, { networks })));
  }

  /** A stack on the network of the first one, by which it may be entered. */
  guest(replicas: number): void {
    const networks = { default: { key: 'default', name: 's0_default', external: true } };
    const web = { replicas, ...(replicas & 1 ? { ports: [{ target: 80, published: 9_000 }] } : {}) };
    this.tryTo(() => this.world.up(stackOf('guest', { web }, { networks })));
  }

  /** What is refused, is refused. */
  tryTo(act: () => unknown): void {
    try {
      act();
    } catch (error) {
      if (!(error as { code?: string }).code) throw error;
    }
  }

  down(name: string): void {
    if (!this.world.model.stacks.has(name)) return;
    const { compares, writes } = planRemoval(this.world.model, name, this.world.now);
    this.world.txn(compares, writes);
  }

  report(pick: number, how: number): void {
    const tasks = [...this.world.model.tasks.values()];
    const task = tasks[pick % Math.max(1, tasks.length)];
    if (!task) return;
    const [state, health] = REPORTS[how % REPORTS.length] as (typeof REPORTS)[number];
    this.world.report(task.id, task.desired === 'stop' ? 'stopped' : state, { health });
  }

  node(name: string, how: number): void {
    if (how < 2) this.world.setNodeState(name, how === 0 ? 'down' : 'ready');
    else if (how < 4) this.world.setFacts(name, { underlayMtu: how === 2 ? 1_400 : 1_500, listening: [] });
    else if (how === 4) this.world.changeNode(name, { availability: 'drain' });
    else if (how === 5) this.world.changeNode(name, { availability: 'active' });
    else
      this.world.write({
        put: keys.controller('c0ffee01'),
        value: encode({ id: 'c0ffee01', name: 'k', address: '192.0.2.9', port: 7700 }),
      });
  }
}

type Step = { do: 'up' | 'guest' | 'down' | 'tick' | 'report' | 'node' | 'settle' | 'clean'; a: number; b: number; c: number };
const kinds = fc.constantFrom<Step['do']>('up', 'up', 'guest', 'down', 'tick', 'tick', 'report', 'report', 'node', 'settle', 'clean');
const step = fc.record({ do: kinds, a: fc.nat(2), b: fc.nat(6), c: fc.nat(255) });

function run(watched: Watched, { do: what, a, b, c }: Step): void {
  const { world } = watched;
  if (what === 'up') watched.up(a, b, c);
  else if (what === 'guest') watched.guest(b);
  else if (what === 'down') watched.down(['s0', 's1', 'guest'][a] as string);
  else if (what === 'tick') world.tick();
  else if (what === 'report') watched.report(c, b);
  else if (what === 'node') watched.node(NODES[a] as string, b);
  else if (what === 'settle') watched.tryTo(() => world.settle());
  else {
    world.now += c * 100;
    world.apply(planCleanup(world.model, world.now));
  }
}

describe('views that are kept', () => {
  it('say what views made anew say, told by deltas to those only who are touched, whatever happened', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }), (steps) => {
        const watched = new Watched();
        for (const s of steps) {
          run(watched, s);
          watched.check();
        }
      }),
      { numRuns: 40 },
    );
  }, 120_000);

  it('are not touched by what a task goes through before it serves, nor by the same said again', () => {
    const { world, index } = new Watched();
    world.up(stackOf('one', { web: 1 }));
    world.tick();
    const [task] = world.model.tasksOfService('one', 'web');
    const seen: boolean[] = [];
    world.onChange = (changed) => seen.push(touches(index.note(changed), task?.nodeId ?? '', index.viewOf(task?.nodeId ?? '')));
    const id = task?.id ?? '';
    for (const state of ['preparing', 'starting'] as const) world.report(id, state);
    for (const health of ['starting', 'healthy', 'healthy'] as const) world.report(id, 'running', { health });
    expect(seen).toEqual([false, false, true, true, false]);
  });

  it('are the same parts for all who see the same, and none is made anew for a change elsewhere', () => {
    const { world, index } = new Watched();
    for (const name of ['one', 'two']) world.up(stackOf(name, { web: 3 }));
    world.settle();
    const [a, b] = [index.viewOf(world.nodeId('a')), index.viewOf(world.nodeId('b'))];
    expect([...a.keys()].filter((name) => a.get(name) === b.get(name))).toHaveLength(4);
    const task = world.model.tasksOfService('two', 'web')[0];
    world.report(task?.id ?? '', 'failed');
    const next = index.viewOf(world.nodeId('a'));
    const changed = [...next.keys()].filter((name) => name !== 'own' && a.get(name) !== next.get(name));
    expect(changed).toEqual([`network/${task?.endpoints[0]?.networkId}`]);
  });
});
