import type { Task } from '#model/task.js';
import type { ContainerInfo } from '#runtime/runtime.js';
import {
  afterEnd,
  afterFailure,
  afterReturn,
  afterStart,
  afterSuspension,
  inSeconds,
  newMemory,
  ORDER_LABEL,
  planTasks,
  TASK_LABEL,
  type PlanInput,
  type RestartOrder,
  type TaskMemory,
} from './plan-tasks.js';
import { makeTask } from './spec-kit.js';

const NOW = 1_000_000;
const task = makeTask('aaaaaaaa');
const stopping: Task = { ...task, desired: 'stop' };
const container = (state: ContainerInfo['state'], more: Partial<ContainerInfo> = {}): ContainerInfo => ({
  id: task.id,
  image: 'x',
  labels: { [TASK_LABEL]: task.id },
  state,
  ...more,
});
const memory = (m: Partial<TaskMemory>): TaskMemory => ({ ...newMemory(), ...m });

function plan(desired: Task[], containers: ContainerInfo[], m?: TaskMemory, more: Partial<PlanInput> = {}) {
  const { operations, wakeAt } = planTasks({
    desired,
    believed: true,
    containers,
    memory: new Map(m ? [[task.id, m]] : []),
    contact: 'heard',
    busy: new Set(),
    holdOff: new Map(),
    now: NOW,
    ...more,
  });
  return { kinds: operations.map((o) => o.type), operations, wakeAt };
}

describe('a task that stops on partition', () => {
  const fenced: Task = { ...task, onPartition: 'stop' };
  const running = memory({ phase: 'running' });
  const cases: [string, Task, PlanInput['contact'], ContainerInfo[], TaskMemory | undefined, string[]][] = [
    ['goes on while its node is heard', fenced, 'heard', [container('running')], running, []],
    ['is stopped where its node is cut off', fenced, 'cut off', [container('running')], running, ['suspend']],
    ['is stopped when it is paused, too', fenced, 'cut off', [container('paused')], running, ['suspend']],
    ['is stopped though the agent is new', fenced, 'cut off', [container('running')], undefined, ['suspend']],
    ['is not started there', fenced, 'cut off', [], undefined, []],
    ['is not started again there', fenced, 'cut off', [container('stopped')], memory({ phase: 'waiting' }), []],
    ['is seen to have ended there', fenced, 'cut off', [container('stopped')], running, ['ended']],
    ['is not started before its node was heard', fenced, 'unknown', [], undefined, []],
    ['is adopted before its node was heard', fenced, 'unknown', [container('running')], undefined, ['adopt']],
    ['is started again when its node is back', fenced, 'heard', [], afterSuspension(running), ['run']],
    [
      'is removed there as ever when it is told to stop',
      { ...fenced, desired: 'stop' },
      'cut off',
      [container('running')],
      running,
      ['stop'],
    ],
    ['any other goes on', task, 'cut off', [container('running')], running, []],
    ['any other is started', { ...task, onPartition: 'keep' }, 'cut off', [], undefined, ['run']],
  ];
  it.each(cases)('%s', (_, wanted, contact, containers, m, kinds) =>
    expect(plan([wanted], containers, m, { contact }).kinds).toEqual(kinds),
  );

  it('counts no restart for that, and waits for a removal that failed', () => {
    expect(plan([fenced], [], afterSuspension(running)).operations).toEqual([{ type: 'run', task: fenced, again: false }]);
    const holdOff = new Map([[task.id, NOW + 5]]);
    expect(plan([fenced], [container('running')], running, { contact: 'cut off', holdOff })).toMatchObject({ kinds: [], wakeAt: NOW + 5 });
  });
});

describe('a task that should run', () => {
  const cases: [string, ContainerInfo[], TaskMemory | undefined, string[]][] = [
    ['is made when there is nothing', [], undefined, ['run']],
    ['is adopted, not touched, when it runs and the agent is new', [container('running')], undefined, ['adopt']],
    ['is made anew when the agent ended before its hooks had', [container('running')], { ...newMemory({ hooksPending: true }) }, ['run']],
    ['is adopted when it is paused', [container('paused')], undefined, ['adopt']],
    ['is left alone when it runs', [container('running')], memory({ phase: 'running' }), []],
    ['is made anew when the agent died between create and start', [container('created')], undefined, ['run']],
    ['has ended when it stopped while the agent was away', [container('stopped', { exitCode: 3 })], undefined, ['ended']],
    ['has ended when it stopped', [container('stopped', { exitCode: 3 })], memory({ phase: 'running' }), ['ended']],
    ['has ended when its container vanished', [], memory({ phase: 'running' }), ['ended']],
    ['waits for its delay', [container('stopped')], memory({ phase: 'waiting', notBefore: NOW + 1 }), []],
    ['runs again after its delay', [container('stopped')], memory({ phase: 'waiting', notBefore: NOW }), ['run']],
    [
      'is adopted when a try that failed left it running',
      [container('running')],
      memory({ phase: 'waiting', notBefore: NOW + 1 }),
      ['adopt'],
    ],
  ];
  it.each(cases)('%s', (_what, containers, m, kinds) => {
    expect(plan([task], containers, m).kinds).toEqual(kinds);
  });

  it("waits for the task whose namespace it shares, and goes on when that one's container ends", () => {
    const owner = makeTask('bbbbbbbb');
    const sharer = { ...task, shares: owner.id };
    const owners = (state: ContainerInfo['state']) => container(state, { id: owner.id, labels: { [TASK_LABEL]: owner.id } });
    const isUp = memory({ phase: 'running' });
    expect(plan([owner, sharer], []).operations.map((o) => 'task' in o && o.task.id)).toEqual([owner.id]);
    expect(plan([sharer], [owners('running')]).kinds).toContain('run');
    expect(plan([sharer], [owners('stopped'), container('running')], isUp, { busy: new Set([owner.id]) }).kinds).toEqual([]);
    expect(plan([sharer], [owners('stopped'), container('stopped')], isUp, { busy: new Set([owner.id]) }).kinds).toEqual(['ended']);
  });

  it('is looked at again when its delay is over', () => {
    expect(plan([task], [container('stopped')], memory({ phase: 'waiting', notBefore: NOW + 70 })).wakeAt).toBe(NOW + 70);
  });

  it('counts as a restart only if it ran before', () => {
    expect(plan([task], [], memory({ phase: 'waiting', attempts: 2 })).operations).toMatchObject([{ type: 'run', again: false }]);
    expect(plan([task], [], memory({ phase: 'waiting', startedAt: 5 })).operations).toMatchObject([{ type: 'run', again: true }]);
  });

  it('is left alone while something is under way', () => {
    expect(plan([task], [], undefined, { busy: new Set([task.id]) }).kinds).toEqual([]);
  });
});

describe('a task of which a restart was asked', () => {
  const asked = (more: Partial<TaskMemory> = {}) => memory({ restartAsked: { drainMs: 5 }, ...more });
  const cases: [string, ContainerInfo[], TaskMemory, string[]][] = [
    ['is restarted', [container('running')], asked({ phase: 'running' }), ['restart']],
    ['is restarted by the next agent', [container('running')], asked(), ['restart']],
    [
      'is started, and its policy not asked, when it has ended',
      [container('stopped', { exitCode: 0 })],
      asked({ phase: 'running' }),
      ['run'],
    ],
    ['is started by the next agent', [container('stopped', { exitCode: 0 })], asked({ startedAt: 1 }), ['run']],
    ['is started when it was made and not started', [container('created')], asked(), ['run']],
    ['is started when its container is gone', [], asked({ startedAt: 1 }), ['run']],
    ['waits after a try that failed', [container('running')], asked({ phase: 'waiting', notBefore: NOW + 1 }), []],
    ['is tried again then', [container('running')], asked({ phase: 'waiting', notBefore: NOW }), ['restart']],
  ];
  it.each(cases)('%s', (_what, containers, m, kinds) => {
    const judged = { ...task, restart: { condition: 'none' as const } };
    expect(plan([judged], containers, m).kinds).toEqual(kinds);
  });

  it.each<[string, Partial<ContainerInfo>, Partial<TaskMemory>, string[]]>([
    ['is not restarted again by the next agent when it was, and nobody noted it', {}, {}, ['adopt']],
    ['has ended by itself since, and its policy is asked', { state: 'stopped' }, {}, ['ended']],
    ['is started when its container was made and not started', { state: 'created' }, {}, ['run']],
    ['is restarted when its hooks did not come to their end', {}, { hooksPending: true }, ['restart']],
    ['is restarted when what runs is of another order', { labels: { [TASK_LABEL]: task.id, [ORDER_LABEL]: '6' } }, {}, ['restart']],
  ])('%s', (_what, more, past, kinds) => {
    const found = container('running', { labels: { [TASK_LABEL]: task.id, [ORDER_LABEL]: '7' }, ...more });
    const before = newMemory({ restarts: 2, startedAt: 1, restartAsked: { drainMs: 5, order: 7 }, ...past });
    const memory = afterReturn(before, found, NOW);
    expect(plan([task], [found], memory).kinds).toEqual(kinds);
    const isDone = kinds[0] === 'adopt' || kinds[0] === 'ended';
    expect(memory).toMatchObject(isDone ? { restarts: 3, restartsAsked: 1, restartAsked: undefined } : { restarts: 2 });
  });

  it('is restarted once more for what was asked after its process began', () => {
    const [first, second] = [7, 8].map((order) => ({ drainMs: 0, order })) as [RestartOrder, RestartOrder];
    const after = afterStart(memory({ restartAsked: second }), NOW, { again: true, asked: first });
    expect(after).toMatchObject({ restarts: 1, restartsAsked: 1, restartAsked: second });
    expect(afterStart(after, NOW, { again: true, asked: second }).restartAsked).toBeUndefined();
  });

  it('is stopped where it is told to stop, and where its node is cut off', () => {
    expect(plan([stopping], [container('running')], asked()).kinds).toEqual(['stop']);
    const fenced: Task = { ...task, onPartition: 'stop' };
    expect(plan([fenced], [container('running')], asked(), { contact: 'cut off' }).kinds).toEqual(['suspend']);
    expect(plan([fenced], [container('running')], asked(), { contact: 'unknown' }).kinds).toEqual([]);
  });
});

describe('a task that should stop', () => {
  const cases: [string, ContainerInfo[], TaskMemory | undefined, string[]][] = [
    ['is stopped when it runs', [container('running')], memory({ phase: 'running' }), ['stop']],
    ['is stopped by an agent that has just begun', [container('running')], undefined, ['stop']],
    ['is reported when there is nothing to stop', [], undefined, ['stop']],
    ['is done with once it is gone', [], memory({ phase: 'gone' }), []],
    ['is stopped even in the middle of a delay', [container('stopped')], memory({ phase: 'waiting', notBefore: NOW + 5_000 }), ['stop']],
  ];
  it.each(cases)('%s', (_what, containers, m, kinds) => {
    expect(plan([stopping], containers, m).kinds).toEqual(kinds);
  });

  it('is not tried at every turn when stopping fails', () => {
    const { kinds, wakeAt } = plan([stopping], [container('running')], memory({ phase: 'running' }), {
      holdOff: new Map([[task.id, NOW + 9]]),
    });
    expect([kinds, wakeAt]).toEqual([[], NOW + 9]);
  });
});

describe('a container that no task of the view explains', () => {
  it('is removed when the view is believed', () => {
    expect(plan([], [container('running')]).kinds).toEqual(['remove-leftover']);
  });

  it('is left alone when no view was believed: an emptied control plane wipes nothing', () => {
    expect(plan([], [container('running')], undefined, { believed: false }).kinds).toEqual([]);
  });

  it('is left alone when it is not one of ours', () => {
    expect(plan([], [{ ...container('running'), labels: {} }]).kinds).toEqual([]);
  });

  it('is left alone while something is under way, or its removal has just failed', () => {
    expect(plan([], [container('running')], undefined, { busy: new Set([task.id]) }).kinds).toEqual([]);
    expect(plan([], [container('running')], undefined, { holdOff: new Map([[task.id, NOW + 1]]) })).toMatchObject({
      kinds: [],
      wakeAt: NOW + 1,
    });
  });
});

describe('delays', () => {
  const always = () => 1 - Number.EPSILON;

  it('double from 100 ms to 10 s while runs are short', () => {
    let m = memory({ phase: 'running', startedAt: NOW });
    const delays = Array.from({ length: 9 }, () => {
      m = afterEnd({ ...m, startedAt: NOW }, { exitCode: 1, exitedAt: NOW + 50 }, NOW, undefined, always);
      return m.notBefore - NOW;
    });
    expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  });

  it('begin small again after a run of 10 s', () => {
    const m = memory({ phase: 'running', startedAt: NOW - 10_000, attempts: 7 });
    expect(afterEnd(m, { exitCode: 0, exitedAt: NOW }, NOW, undefined, always)).toMatchObject({
      phase: 'waiting',
      attempts: 1,
      notBefore: NOW + 100,
      exitCode: 0,
    });
  });

  it('grow with failures to make it, too, and a start counts restarts only after a run', () => {
    const failed = afterFailure(memory({ attempts: 3 }), NOW, always);
    expect(failed).toMatchObject({ phase: 'waiting', attempts: 4, notBefore: NOW + 800 });
    expect(afterStart(failed, NOW, { again: false })).toMatchObject({ phase: 'running', restarts: 0, startedAt: NOW });
    expect(afterStart(failed, NOW, { again: true })).toMatchObject({ restarts: 1, tries: 1 });
    expect(afterStart(failed, NOW, { again: true, asked: { drainMs: 0 } })).toMatchObject({ restarts: 1, tries: 0 });
  });

  it.each([
    [40, '0.1 s'],
    [440, '0.4 s'],
    [2_100, '2 s'],
  ])('read well: %d ms is %s', (ms, text) => {
    expect(inSeconds(ms)).toBe(text);
  });
});
