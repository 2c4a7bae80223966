/** Events: told from one state to the next, and kept in a ring. */
import { encode } from '#model/codec.js';
import { EVENT_CHUNKS, EVENTS_PER_CHUNK } from '#model/event.js';
import { keys } from '#model/keys.js';
import { RESTARTED_BY_COMMAND, type TaskStatus } from '#model/task.js';
import { appendEvents, keptEvents, lastEvent } from './event-ring.js';
import { EventSight, type EventDraft } from './see-events.js';
import { stackOf, World } from './spec-kit.js';

/** A world that is watched: what happened since the last look, as `kind action name: message`. */
class Watched {
  readonly world: World;
  readonly sight = new EventSight();

  constructor(nodes: string[]) {
    this.world = new World(nodes);
    this.look();
  }

  look(): string[] {
    return this.drafts().map(({ kind, action, name, message }) => `${kind} ${action} ${name}${message ? `: ${message}` : ''}`);
  }

  drafts(): EventDraft[] {
    return this.sight.observe(this.world.model, undefined, this.world.now);
  }

  status(slot: number, change: Partial<TaskStatus>): void {
    const task = this.world.model.tasksOfService('shop', 'web').find((t) => t.slot === slot && !t.orphan);
    const id = task?.id ?? '';
    const base = { taskId: id, nodeId: task?.nodeId ?? '', state: 'running', message: '', restarts: 0, at: this.world.now };
    this.world.write({ put: keys.taskStatus(id), value: encode({ ...base, ...change }) });
  }
}

const up = (watched: Watched, replicas = 1) => {
  watched.world.up(stackOf('shop', { web: replicas }));
  watched.world.settle();
};

it('a stack comes, its tasks are made and start; it goes', () => {
  const watched = new Watched(['n1']);
  watched.world.up(stackOf('shop', { web: 1 }));
  watched.world.tick();
  expect(watched.look()).toEqual(['stack create shop', 'task create shop-web-1']);
  watched.world.settle();
  expect(watched.look()).toEqual(['task start shop-web-1']);
  expect(watched.look()).toEqual([]);
  watched.world.up(stackOf('shop', { web: 0 }));
  watched.world.tick();
  expect(watched.look()).toEqual(['stack change shop: generation 2', 'task stop shop-web-1: scaled down to 0']);
  watched.world.settle();
  expect(watched.look()).toEqual(['task destroy shop-web-1: scaled down to 0']);
});

it('ends, failures and health, once each', () => {
  const watched = new Watched(['n1']);
  up(watched);
  watched.look();
  watched.status(1, { state: 'restarting', exitCode: 3, message: 'exited with code 3' });
  expect(watched.drafts()).toMatchObject([{ action: 'die', message: 'exited with code 3', exitCode: 3, node: 'n1', service: 'web' }]);
  watched.status(1, { state: 'running', restarts: 1, health: 'starting' });
  expect(watched.look()).toEqual(['task start shop-web-1']);
  watched.status(1, { state: 'running', restarts: 1, health: 'unhealthy', message: 'no answer' });
  expect(watched.look()).toEqual(['task health: unhealthy shop-web-1: no answer']);
  watched.status(1, { state: 'running', restarts: 1, health: 'healthy' });
  expect(watched.look()).toEqual(['task health: healthy shop-web-1']);
  // By command: it has not ended yet, and the code is of the run before.
  watched.status(1, { state: 'restarting', restarts: 1, exitCode: 3, message: RESTARTED_BY_COMMAND });
  expect(watched.look()).toEqual(['task restart shop-web-1']);
  watched.status(1, { state: 'running', restarts: 2, exitCode: 143 });
  expect(watched.look()).toEqual(['task start shop-web-1']);
  watched.status(1, { state: 'failed', restarts: 1, message: 'given up' });
  watched.status(1, { state: 'failed', restarts: 1, message: 'given up' });
  expect(watched.look()).toEqual(['task die shop-web-1: given up']);
});

it('a node goes down: what ran there moves, and it is said why', () => {
  const watched = new Watched(['n1', 'n2']);
  up(watched, 2);
  watched.look();
  watched.world.setNodeState('n1', 'down');
  watched.world.tick();
  const seen = watched.look();
  expect(seen).toContain('node down n1');
  expect(seen).toContainEqual(expect.stringMatching(/^task reschedule shop-web-\d: from n1: node n1 was declared dead/));
  watched.world.changeNode('n2', { availability: 'drain' });
  expect(watched.look()).toEqual(['node drain n2']);
});

it('of two nodes that went down one after the other it is said from which a task comes now', () => {
  const watched = new Watched(['n1', 'n2', 'n3']);
  watched.world.changeNode('n2', { availability: 'pause' });
  watched.world.changeNode('n3', { availability: 'pause' });
  up(watched);
  watched.world.changeNode('n2', { availability: 'active' });
  watched.world.setNodeState('n1', 'down');
  watched.world.tick();
  watched.world.settle();
  watched.look();
  watched.world.changeNode('n3', { availability: 'active' });
  watched.world.now += 1_000;
  watched.world.setNodeState('n2', 'down');
  watched.world.tick();
  const dead = 'node n2 was declared dead, and it was replaced';
  expect(watched.look()).toContainEqual(expect.stringContaining(`task reschedule shop-web-1: from n2: ${dead}`));
});

it('a task that is made anew where it was has not come from a node that died before', () => {
  const watched = new Watched(['n1', 'n2']);
  watched.world.changeNode('n2', { availability: 'pause' });
  up(watched);
  watched.world.changeNode('n2', { availability: 'active' });
  watched.world.setNodeState('n1', 'down');
  watched.world.settle();
  watched.look();
  watched.world.now += 1_000;
  watched.world.up(stackOf('shop', { web: { replicas: 1, container: { image: 'other' } } }));
  watched.world.settle();
  expect(watched.look()).toContain('task create shop-web-1');
});

it('a drained node: tasks move away with that reason', () => {
  const watched = new Watched(['n1', 'n2']);
  up(watched, 2);
  watched.world.changeNode('n1', { availability: 'drain' });
  watched.look();
  watched.world.settle();
  expect(watched.look()).toContainEqual(expect.stringMatching(/^task reschedule shop-web-\d: from n1: node n1 is drained/));
});

it('repairs are told once, and not those from before', () => {
  const watched = new Watched(['n1']);
  watched.world.setFacts('n1', { repairs: [{ at: 1, what: 'old' }] });
  watched.look();
  watched.world.setFacts('n1', {
    repairs: [
      { at: 1, what: 'old' },
      { at: 2, what: 'link br0 was gone' },
    ],
  });
  expect(watched.look()).toEqual(['repair repair n1: link br0 was gone']);
  expect(watched.look()).toEqual([]);
});

it('looks only at what was touched, where that is known', () => {
  const watched = new Watched(['n1']);
  watched.world.up(stackOf('shop', { web: 1 }));
  expect(watched.sight.observe(watched.world.model, [keys.stack('other')], 0)).toEqual([]);
  expect(watched.sight.observe(watched.world.model, [keys.stack('shop')], 7)).toMatchObject([{ kind: 'stack', action: 'create', at: 7 }]);
});

describe('the ring', () => {
  const draft = (revision: number): EventDraft => ({
    revision,
    at: revision,
    kind: 'node',
    action: 'ready',
    name: `n${revision}`,
    stack: '',
    service: '',
    id: '',
    node: '',
    message: '',
  });
  const append = (world: World, ...drafts: EventDraft[]) => {
    const unit = appendEvents(world.model, drafts);
    return unit !== undefined && world.txn(unit.compares, unit.writes);
  };

  it('counts on, keeps the newest thousand, and never the same twice', () => {
    const world = new World();
    let revision = 0;
    for (let i = 0; i < 50; i++) expect(append(world, ...Array.from({ length: 47 }, () => draft(++revision)))).toBe(true);
    const kept = keptEvents(world.model);
    expect(kept.at(-1)).toMatchObject({ sequence: 2350, name: 'n2350' });
    expect(kept.map((e) => e.sequence)).toEqual(kept.map((_, i) => (kept[0]?.sequence ?? 0) + i));
    expect(kept.length).toBeGreaterThanOrEqual(1_000);
    expect(world.model.events.size).toBeLessThanOrEqual(EVENT_CHUNKS);
    expect(append(world, draft(revision), draft(1))).toBe(false);
    expect(lastEvent(world.model)?.sequence).toBe(2350);
  });

  it('a storm is written in one go, its newest part', () => {
    const world = new World();
    expect(append(world, ...Array.from({ length: 5_000 }, (_, i) => draft(i + 1)))).toBe(true);
    expect(keptEvents(world.model)).toHaveLength(EVENTS_PER_CHUNK * (EVENT_CHUNKS - 1));
    expect(lastEvent(world.model)?.name).toBe('n5000');
  });

  it('two leaders cannot write one place', () => {
    const world = new World();
    append(world, draft(1));
    const [a, b] = [appendEvents(world.model, [draft(2)]), appendEvents(world.model, [draft(3)])];
    expect(a && world.txn(a.compares, a.writes)).toBe(true);
    expect(b && world.txn(b.compares, b.writes)).toBe(false);
  });
});
