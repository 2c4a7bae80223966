/** What services wait for, told as events: once when it begins, when it becomes another, and when it is over. */
import { appendEvents, keptEvents } from './event-ring.js';
import { kindOfReason } from './reason-kinds.js';
import { ServicesPlanner } from './services-planner.js';
import { stackOf, World } from './spec-kit.js';
import { waitingNews } from './waiting-events.js';

/** A leader: plans what changed, writes it, and tells of what waits, as the loops do. */
class Leader {
  readonly world: World;
  planner: ServicesPlanner;

  constructor(nodes: readonly string[]) {
    this.world = new World(nodes);
    this.planner = new ServicesPlanner(this.world.model);
    this.world.onChange = (keys) => this.planner.note(keys);
  }

  /** Another one leads, who remembers nothing. */
  another(): void {
    this.planner = new ServicesPlanner(this.world.model);
  }

  /** Some passes, a second each. */
  pass(times = 3): void {
    for (let i = 0; i < times; i++) {
      this.world.apply(this.planner.plan(this.world.newId, this.world.now, this.world.now).units);
      for (const task of this.world.model.tasks.values())
        if (this.world.model.nodeStates.get(task.nodeId)?.state === 'ready')
          this.world.report(task.id, task.desired === 'stop' ? 'stopped' : 'running');
      const news = this.planner.waits && waitingNews(this.world.model, this.planner.waits, this.world.now);
      const unit = news && appendEvents(this.world.model, [], news.drafts);
      if (unit) expect(this.world.apply([unit])).toBe(1);
      this.world.now += 1_000;
    }
  }

  told = (): string[] => keptEvents(this.world.model).map((e) => `${e.action} ${e.stack}/${e.name}${e.message && `: ${e.message}`}`);
}

const pinned = (node: string) => ({ web: { replicas: 1, placement: { constraints: [`node.hostname == ${node}`] } } });

it('a reason is told once, again when it is another, and when it is over', () => {
  const leader = new Leader(['a', 'b']);
  leader.world.up(stackOf('s', pinned('a')));
  leader.pass();
  expect(leader.told()).toEqual([]);
  leader.world.changeNode('a', { availability: 'drain' });
  leader.pass(5);
  const drained = 'waiting s/web: no node can take it (2 nodes: 1 drained, 1 not node.hostname == a)';
  expect(leader.told()).toEqual([drained]);
  leader.world.changeNode('a', { availability: 'pause' });
  leader.pass(5);
  const paused = 'waiting s/web: no node can take it (2 nodes: 1 not node.hostname == a, 1 paused)';
  expect(leader.told()).toEqual([drained, paused]);
  leader.world.changeNode('a', { availability: 'active' });
  leader.pass(5);
  expect(leader.told()).toEqual([drained, paused, 'waited s/web']);
});

it('how many nodes a reason is said of is no news, however often that changes', () => {
  const leader = new Leader(['a', 'b', 'c', 'd']);
  leader.world.up(stackOf('s', { web: 1 }));
  leader.world.changeNode('a', { availability: 'drain' });
  for (const name of ['b', 'c', 'd']) leader.world.changeNode(name, { availability: 'pause' });
  leader.pass(4);
  const first = 'waiting s/web: no node can take it (4 nodes: 1 drained, 3 paused)';
  expect(leader.told()).toEqual([first]);
  leader.world.changeNode('b', { availability: 'drain' });
  leader.pass();
  leader.world.addNode('e');
  leader.world.changeNode('e', { availability: 'drain' });
  leader.pass();
  expect(leader.told()).toEqual([first]);
  for (const name of ['c', 'd']) leader.world.changeNode(name, { availability: 'drain' });
  leader.pass(4);
  expect(leader.told()).toEqual([first, 'waiting s/web: no node can take it (5 nodes: 5 drained)']);
});

it('a reason that changes its numbers again and again is told once it has been there for a second', () => {
  const leader = new Leader(['a', 'b']);
  leader.world.up(stackOf('s', pinned('a')));
  leader.world.changeNode('a', { availability: 'pause' });
  for (let i = 0; i < 3; i++) {
    leader.world.now -= 600;
    leader.pass(1);
    leader.world.addNode(`n${i}`);
  }
  leader.world.now -= 600;
  leader.pass(1);
  expect(leader.told()).toHaveLength(1);
});

it.each([
  ['no node can take it (3 nodes: 1 drained, 2 lack memory)', 'no node can take it (drained, lack memory)'],
  ['on no node (1 node: 1 not node.labels.n == 2 nodes)', 'on no node (not node.labels.n == 2 nodes)'],
  ['waits for db to be healthy: it is on no node (2 nodes: 2 down)', 'waits for db to be healthy: it is on no node (down)'],
  ['no node can take it (2 nodes: 2 at max_replicas_per_node)', 'no node can take it (at max_replicas_per_node)'],
  ['slot 3 waits', 'slot 3 waits'],
])('of %j it is said: %j', (why, kind) => expect(kindOfReason(why)).toBe(kind));

it('the next leader does not tell it again, and tells what was over meanwhile', () => {
  const leader = new Leader(['a', 'b']);
  leader.world.up(stackOf('s', pinned('a')));
  leader.world.changeNode('a', { availability: 'pause' });
  leader.pass();
  expect(leader.told()).toHaveLength(1);
  leader.another();
  leader.pass();
  expect(leader.told()).toHaveLength(1);
  leader.another();
  leader.world.changeNode('a', { availability: 'active' });
  leader.pass();
  expect(leader.told().slice(1)).toEqual(['waited s/web']);
});

it('nothing is told of what is over within a second, nor before all was planned once', () => {
  const leader = new Leader(['a']);
  leader.world.up(stackOf('s', pinned('a')));
  leader.world.changeNode('a', { availability: 'pause' });
  expect(leader.planner.waits).toBeUndefined();
  leader.pass(1);
  expect(leader.planner.waits?.size).toBe(1);
  leader.world.changeNode('a', { availability: 'active' });
  leader.pass();
  expect(leader.told()).toEqual([]);
});

it('dependencies, data, addresses, and global services that have to be nowhere are told of; a stack that goes waits no more', () => {
  const leader = new Leader(['a', 'b']);
  const dependsOn = { agent: { condition: 'service_healthy', required: true, restart: false } };
  const agent = { mode: 'global', placement: { constraints: ['node.labels.disk == ssd'] } };
  leader.world.up(stackOf('s', { agent, later: { replicas: 1, dependsOn } }));
  leader.pass();
  const why = 'on no node (2 nodes: 2 not node.labels.disk == ssd)';
  expect(leader.told().sort()).toEqual([`waiting s/agent: ${why}`, `waiting s/later: waits for agent to be healthy: it is ${why}`]);
  leader.world.up(stackOf('s', {}));
  leader.pass();
  expect(leader.told().slice(2).sort()).toEqual(['waited s/agent', 'waited s/later']);
});

it('of more services than the events could hold it is told of some, and the same ones stay told', () => {
  const leader = new Leader(['a']);
  const many = Object.fromEntries(Array.from({ length: 120 }, (_, i) => [`w${i}`, 1]));
  leader.world.changeNode('a', { availability: 'active' });
  leader.world.up(stackOf('s', many));
  leader.world.changeNode('a', { availability: 'pause' });
  leader.pass(5);
  const told = leader.told();
  expect(told).toHaveLength(100);
  leader.pass(5);
  expect(leader.told()).toEqual(told);
});

it('planning what has not changed shows the same value', () => {
  const leader = new Leader(['a']);
  leader.world.up(stackOf('s', pinned('a')));
  leader.world.changeNode('a', { availability: 'pause' });
  leader.pass();
  const { waits } = leader.planner;
  leader.pass();
  expect(leader.planner.waits).toBe(waits);
});
