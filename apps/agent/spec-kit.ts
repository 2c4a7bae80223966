/** What the agent's specs are made of: valid model values with few words. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '#base/clock.js';
import { systemClock } from '#base/clock.js';
import type { NetworkView, Resource, ViewSnapshot } from '#model/node-view.js';
import { taskSchema, type Task } from '#model/task.js';

export const NODE_ID = '0123456789abcdef';

export function makeTask(id: string, more: Partial<Task> = {}): Task {
  return taskSchema.parse({
    id,
    stack: 'shop',
    service: 'web',
    slot: 1,
    nodeId: NODE_ID,
    name: 'shop-web-1',
    specHash: 'h',
    container: { image: 'busybox', stopGraceMs: 100 },
    endpoints: [],
    createdAt: 1,
    ...more,
  });
}

export const taskResource = (task: Task): Resource => ({ kind: 'task', value: task });

export function makeNetwork(id: string, more: Partial<NetworkView> = {}): NetworkView {
  return {
    id,
    name: 'shop_default',
    stack: 'shop',
    key: 'default',
    driver: 'overlay',
    internal: false,
    subnet: '10.1.0.0/24',
    gateway: '10.1.0.1',
    vni: 5001,
    mtu: 1450,
    nodeAddress: '10.1.0.254',
    ...more,
  };
}

export const makeSnapshot = (revision: number, tasks: Task[], more: Partial<ViewSnapshot> = {}): ViewSnapshot => ({
  clusterId: 'c1c1c1c1',
  revision,
  resources: tasks.map(taskResource),
  tombstones: [],
  ...more,
});

/** A directory that is removed afterwards. */
export async function withTempDir<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), `weft-agent-${process.pid}-`));
  try {
    return await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Waits until `probe` is true. @throws after `timeoutMs` */
export async function until(probe: () => boolean, timeoutMs = 5_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!probe()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${probe.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A clock whose wall time is set by hand; it sleeps in real time. */
export function handClock(start = 1_000_000): Clock & { set(now: number): void } {
  let now = start;
  return { ...systemClock, now: () => now, set: (value) => void (now = value) };
}
