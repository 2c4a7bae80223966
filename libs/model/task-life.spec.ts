import {
  DESIRED_TRANSITIONS,
  HEALTH_TRANSITIONS,
  isTransition,
  TASK_TRANSITIONS,
  UPDATE_TRANSITIONS,
  type Transition,
} from './task-life.js';
import { taskStateSchema, taskStatusSchema } from './task.js';
import { updateRecordSchema } from './update.js';

const tables: [string, readonly Transition<string>[], readonly string[]][] = [
  ['state', TASK_TRANSITIONS, taskStateSchema.options],
  ['health', HEALTH_TRANSITIONS, taskStatusSchema.shape.health.unwrap().options],
  ['desired', DESIRED_TRANSITIONS, ['run', 'stop']],
  ['update', UPDATE_TRANSITIONS, updateRecordSchema.shape.state.options],
];

describe.each(tables)('the table of %s', (_, table, states) => {
  it('names every state, each can be reached, and no step twice', () => {
    const reached = new Set<string>();
    const walk = (from: string | null): void =>
      table.forEach((t) => {
        if (t.from !== from || t.to === null || reached.has(t.to)) return;
        reached.add(t.to);
        walk(t.to);
      });
    walk(null);
    expect([...reached].sort()).toEqual([...states].sort());
    const steps = table.map((t) => `${t.from} → ${t.to}`);
    expect(new Set(steps).size).toBe(steps.length);
    expect(table.filter((t) => t.from === t.to || t.when === '')).toEqual([]);
  });
});

it('has one writer for what a task does and another for what it is told', () => {
  expect(new Set([...TASK_TRANSITIONS, ...HEALTH_TRANSITIONS].filter((t) => t.to !== null).map((t) => t.by))).toEqual(new Set(['agent']));
  expect(new Set(DESIRED_TRANSITIONS.map((t) => t.by))).toEqual(new Set(['leader']));
});

it('lets nothing that stopped run again', () => {
  for (const to of taskStateSchema.options) expect(isTransition(TASK_TRANSITIONS, 'stopped', to)).toBe(to === 'stopped');
  expect(isTransition(DESIRED_TRANSITIONS, 'stop', 'run')).toBe(false);
});
