import type { StackState, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { CONFIRM_MS, CONFIRM_RESTARTED_MS, nowhere, openReasons, runningSummary, SETTLE_MS, StackJudge } from './judge-stack.js';

interface Wanted {
  state?: string;
  restarts?: number;
  message?: string;
  desired?: string;
  nodeState?: string;
  exitCode?: number;
  specHash?: string;
}

function row(service: string, slot: number, w: Wanted = {}): TaskRow {
  const id = `${service}${slot}`;
  return {
    nodeName: 'n1',
    nodeState: w.nodeState ?? 'ready',
    task: {
      id,
      stack: 's',
      service,
      slot,
      nodeId: 'n',
      name: `s-${service}-${slot}`,
      specHash: w.specHash ?? '',
      image: 'app:1',
      ports: [],
      endpoints: [],
      desired: w.desired ?? 'run',
      createdAt: 0,
    },
    status: {
      taskId: id,
      nodeId: 'n',
      state: w.state ?? 'running',
      message: w.message ?? '',
      restarts: w.restarts ?? 0,
      exitCode: w.exitCode,
      at: 0,
    },
  };
}

const state = (wanted: Record<string, number>, tasks: TaskRow[], waiting = '', generation = 1): StackState => ({
  name: 's',
  exists: true,
  generation,
  removing: false,
  tasks,
  services: Object.entries(wanted).map(([name, n]) => ({
    name,
    wanted: n,
    running: 0,
    waiting,
    mode: 'replicated',
    complete: 0,
    update: '',
    updateMessage: '',
    oneOffOf: '',
  })),
});

const judge = (generation = 1, ...stale: string[]) => new StackJudge({ generation, stale: new Set(stale) });

describe('up', () => {
  it('is a stack whose tasks have all run for a moment', () => {
    const j = judge();
    const all = state({ web: 2 }, [row('web', 1), row('web', 2)]);
    expect(j.judge(all, 1000)).toEqual({ kind: 'wait', askAgainMs: CONFIRM_MS });
    expect(j.judge(all, 1000 + CONFIRM_MS)).toEqual({ kind: 'up' });
  });

  it('is not one that was stored before', () => {
    expect(judge(2).judge(state({ web: 1 }, [row('web', 1)]), 9000)).toEqual({ kind: 'wait' });
  });

  it('is a stack of no tasks at once', () => {
    expect(judge().judge(state({ web: 0 }, []), 0)).toEqual({ kind: 'up' });
  });

  it('waits longer for a task that has ended before', () => {
    const j = judge();
    const all = state({ web: 1 }, [row('web', 1, { restarts: 1 })]);
    j.judge(all, 0);
    expect(j.judge(all, CONFIRM_MS)).toEqual({ kind: 'wait', askAgainMs: CONFIRM_RESTARTED_MS - CONFIRM_MS });
    expect(j.judge(all, CONFIRM_RESTARTED_MS)).toEqual({ kind: 'up' });
  });

  it('does not count tasks that are to be replaced, and waits until they are gone', () => {
    const j = judge(1, 'web1');
    expect(j.judge(state({ web: 1 }, [row('web', 1)]), 0).kind).toBe('wait');
    const both = state({ web: 1 }, [row('web', 1, { desired: 'stop' }), row('web', 2)]);
    j.judge(both, 0);
    expect(j.judge(both, 60_000).kind).toBe('wait');
    expect(j.judge(state({ web: 1 }, [row('web', 2)]), 60_001)).toEqual({ kind: 'up' });
  });

  it('is not one that is still being rolled out, however long old tasks take to end', () => {
    const j = judge(1, 'web1', 'web2');
    const stopping = state({ web: 2 }, [row('web', 1, { desired: 'stop' }), row('web', 2)], 'stopping (the service changed)');
    j.judge(stopping, 0);
    expect(j.judge(stopping, 100 * SETTLE_MS)).toMatchObject({ kind: 'wait' });
    const half = state({ web: 2 }, [row('web', 2), row('web', 3)]);
    expect(j.judge(half, 100 * SETTLE_MS)).toMatchObject({ kind: 'wait' });
    expect(j.betterAt).toBe(100 * SETTLE_MS);
    const mixed = judge();
    const rows = [row('web', 1, { specHash: 'old' }), row('web', 2, { specHash: 'new' })];
    mixed.judge(state({ web: 2 }, rows), 0);
    expect(mixed.judge(state({ web: 2 }, rows), SETTLE_MS)).toEqual({ kind: 'wait' });
  });

  it('does not wait for what a dead node still has', () => {
    const j = judge(1, 'web1');
    const rows = [row('web', 1, { desired: 'stop', nodeState: 'down' }), row('web', 2)];
    j.judge(state({ web: 1 }, rows), 0);
    expect(j.judge(state({ web: 1 }, rows), CONFIRM_MS)).toEqual({ kind: 'up' });
  });
});

describe('failed', () => {
  const broken = state({ web: 1, db: 1 }, [
    row('web', 1),
    row('db', 1, { state: 'failed', message: 'no such program; trying again in 0.4 s' }),
  ]);

  it('is a stack whose troubles have lasted', () => {
    const j = judge();
    expect(j.judge(broken, 0)).toEqual({ kind: 'wait', askAgainMs: SETTLE_MS });
    expect(j.judge(broken, SETTLE_MS)).toEqual({ kind: 'failed', reasons: ['s-db-1 on n1: failed: no such program'] });
  });

  it('is one whose program keeps ending, though it runs in between', () => {
    const j = judge();
    const ended = state({ db: 1 }, [row('db', 1, { state: 'restarting', exitCode: 1, restarts: 2 })]);
    const running = state({ db: 1 }, [row('db', 1, { restarts: 3 })]);
    let verdict = j.judge(ended, 0);
    for (let now = 500; now <= 2 * SETTLE_MS && verdict.kind === 'wait'; now += 500)
      verdict = j.judge(now % 1000 === 0 ? running : ended, now);
    expect(verdict).toEqual({ kind: 'failed', reasons: ['s-db-1 on n1: restarting: exited with code 1'] });
  });

  it('is one that cannot be placed', () => {
    const j = judge();
    const nowhere = state({ web: 2 }, [row('web', 1)], 'port 80 is taken on every node');
    j.judge(nowhere, 0);
    expect(j.judge(nowhere, SETTLE_MS)).toEqual({ kind: 'failed', reasons: ['web: port 80 is taken on every node'] });
  });

  it('is one that somebody else removes', () => {
    expect(judge().judge({ ...broken, removing: true }, 0).kind).toBe('failed');
    expect(judge().judge({ ...broken, exists: false }, 0).kind).toBe('failed');
  });

  it('is not one where something is still on its way, or getting better', () => {
    const j = judge();
    const pending = state({ web: 1, db: 1 }, [row('web', 1, { state: 'preparing' }), row('db', 1, { state: 'failed' })]);
    j.judge(pending, 0);
    expect(j.judge(pending, 10 * SETTLE_MS).kind).toBe('wait');
    expect(j.judge(broken, 10 * SETTLE_MS).kind).toBe('wait');
    expect(j.judge(broken, 11 * SETTLE_MS).kind).toBe('failed');
    const unplaced = judge();
    unplaced.judge(state({ web: 1 }, [], 'not placed yet'), 0);
    expect(unplaced.judge(state({ web: 1 }, [], 'not placed yet'), 10 * SETTLE_MS).kind).toBe('wait');
  });

  it('can be told in words at any time', () => {
    expect(openReasons(broken)).toEqual(['s-db-1 on n1: failed: no such program']);
    expect(openReasons(state({ web: 2 }, [], 'waiting for a node'))).toEqual(['web: waiting for a node']);
    expect(runningSummary(broken)).toBe('web 1/1, db 0/1');
  });
});

describe('health, jobs, updates', () => {
  const withHealth = (health: string, message = ''): TaskRow => {
    const r = row('web', 1, { message });
    return { ...r, status: r.status && { ...r.status, health } };
  };
  const serviceOf = (more: Partial<StackState['services'][number]>, tasks: TaskRow[]): StackState => {
    const s = state({ web: 1 }, tasks);
    return { ...s, services: s.services.map((service) => ({ ...service, ...more })) };
  };

  it('a task counts when it is healthy, and an unhealthy one is a trouble', () => {
    const j = judge();
    expect(j.judge(state({ web: 1 }, [withHealth('starting')]), 0).kind).toBe('wait');
    expect(j.judge(state({ web: 1 }, [withHealth('starting')]), 60_000).kind).toBe('wait');
    expect(j.judge(state({ web: 1 }, [withHealth('unhealthy', 'its health check exited with code 1')]), 70_000)).toEqual({
      kind: 'failed',
      reasons: ['s-web-1 on n1: unhealthy: its health check exited with code 1'],
    });
    const well = judge();
    well.judge(state({ web: 1 }, [withHealth('healthy')]), 0);
    expect(well.judge(state({ web: 1 }, [withHealth('healthy')]), CONFIRM_MS)).toEqual({ kind: 'up' });
  });

  it('a job is up when it is complete, a service also when it has ended well', () => {
    expect(judge().judge(serviceOf({ mode: 'replicated-job' }, [row('web', 1)]), 0).kind).toBe('wait');
    expect(judge().judge(serviceOf({ mode: 'replicated-job' }, [row('web', 1, { state: 'complete' })]), 0)).toEqual({ kind: 'up' });
    expect(judge().judge(serviceOf({}, [row('web', 1, { state: 'complete' })]), 0)).toEqual({ kind: 'up' });
  });

  it('an update that goes on is waited for; one that was paused or rolled back has failed', () => {
    expect(judge().judge(serviceOf({ update: 'updating' }, [row('web', 1)]), 60_000).kind).toBe('wait');
    expect(judge().judge(serviceOf({ update: 'paused', updateMessage: 'web-1 failed' }, [row('web', 1)]), 0)).toEqual({
      kind: 'failed',
      reasons: ['web: its update was paused: web-1 failed'],
    });
    expect(judge().judge(serviceOf({ update: 'rolled-back', updateMessage: 'web-1 failed' }, [row('web', 1)]), 0)).toEqual({
      kind: 'failed',
      reasons: ['web: its update was rolled back: web-1 failed'],
    });
  });
});

it('a global service that no node fits is up, and told of; one without replicas is nothing to tell', () => {
  const why = 'on no node (3 nodes: 3 not node.labels.disk == ssd)';
  const judge = new StackJudge({ generation: 1, stale: new Set() });
  expect(judge.judge(state({ agent: 0 }, [], why), 0)).toEqual({ kind: 'up' });
  expect(nowhere(state({ agent: 0 }, [], why))).toEqual([`agent: ${why}`]);
  expect(nowhere(state({ idle: 0 }, []))).toEqual([]);
  expect(nowhere(state({ held: 0 }, [], 'stopped'))).toEqual([]);
});
