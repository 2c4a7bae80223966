import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Task } from '#model/task.js';
import { confirmationOf, drainedAt, isDrained } from './drain.js';
import { viewOf } from './node-view-of.js';
import { stackOf, World } from './spec-kit.js';

/** Two nodes, a served service, and one task of it that was just told to stop. */
function draining(): { world: World; going: Task; since: number } {
  const world = new World(['a', 'b']);
  world.up(stackOf('s', { web: 2 }));
  world.settle();
  world.up(stackOf('s', { web: 1 }));
  world.tick();
  const [id = ''] = world.model.draining;
  const going = world.model.tasks.get(id);
  if (!going) throw new Error('nothing drains');
  return { world, going, since: drainedAt(world.model, going) };
}

const confirm = (world: World, controller: string, nodes: Record<string, number>): void =>
  world.write({ put: keys.confirmation(controller), value: encode({ nodes }) });

const seenBy = (world: World, task: Task): Task | undefined =>
  viewOf(world.model, task.nodeId).flatMap((r) => (r.kind === 'task' && r.value.id === task.id ? [r.value] : []))[0];

describe('a draining task', () => {
  it('is drained once every node that is heard has got as far, whichever controller says so', () => {
    const { world, going, since } = draining();
    expect(isDrained(world.model, going)).toBe(false);
    confirm(world, 'k1', { '1': since, '2': since - 1 });
    expect(isDrained(world.model, going)).toBe(false);
    expect(seenBy(world, going)).not.toHaveProperty('drained');
    confirm(world, 'k2', { '2': since });
    expect(isDrained(world.model, going)).toBe(true);
    expect(seenBy(world, going)).toMatchObject({ id: going.id, drained: true });
  });

  it('does not wait for a node that is not heard', () => {
    const { world, going, since } = draining();
    confirm(world, 'k1', { '1': since });
    expect(isDrained(world.model, going)).toBe(false);
    world.setNodeState('b', 'down');
    expect(isDrained(world.model, going)).toBe(true);
  });

  it('is forgotten by the index when its record goes', () => {
    const { world, going } = draining();
    expect([...world.model.draining]).toEqual([going.id]);
    world.write({ delete: keys.task(going.id) });
    expect([...world.model.draining]).toEqual([]);
  });
});

describe('what a controller writes down', () => {
  const [a, b] = ['a', 'b'];

  it('is nothing while nobody drains, or nobody would learn from it', () => {
    const { world, since } = draining();
    const at = (name: string, revision: number): [string, number] => [world.nodeId(name), revision];
    expect(confirmationOf(world.model, [at(a, since - 1), at(b, 0)])).toBeUndefined();
    confirm(world, 'k1', { '1': since });
    expect(confirmationOf(world.model, [at(a, since + 5)])).toBeUndefined();
    expect(confirmationOf(world.model, [['ffffffff', since]])).toBeUndefined();
    const quiet = new World(['a']);
    expect(confirmationOf(quiet.model, [[quiet.nodeId('a'), 9]])).toBeUndefined();
  });

  it('is how far each of its nodes is, all in one', () => {
    const { world, since } = draining();
    const said = confirmationOf(world.model, [
      [world.nodeId(a), since + 2],
      [world.nodeId(b), since - 1],
    ]);
    expect(said).toEqual({ nodes: { '1': since + 2, '2': since - 1 } });
  });
});
