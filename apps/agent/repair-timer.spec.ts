import { systemClock } from '#base/clock.js';
import type { KernelEvent } from '#linux/kernel-events.js';
import { emptyNamespace, type KernelState } from '#overlay/kernel-state.js';
import { RepairTimer } from './repair-timer.js';
import { until } from './spec-kit.js';

const desired: KernelState = {
  namespaces: {
    '': { ...emptyNamespace(), links: { wfb1: { kind: 'bridge', up: true, mac: '02:42:0a:01:00:fb', mtu: 1450 } } },
    'weft-1': { ...emptyNamespace(), routes: { 'main default': { table: 'main', destination: 'default', dev: 'eth0' } } },
  },
};
const event: KernelEvent = { isLoss: false, isForeign: false, isNode: true, kind: 'link', words: ['wfb1'], line: '' };

interface Rig {
  looks: () => number;
  tell: (news: Partial<KernelEvent>) => void;
  state: { changedAt: number; busy: boolean };
}

async function withTimer(use: (rig: Rig) => Promise<void>): Promise<void> {
  const state = { changedAt: -Infinity, busy: false };
  let looks = 0;
  let listener: (event: KernelEvent) => void = () => undefined;
  const timer = new RepairTimer({
    begin: (work) => {
      if (!state.busy) void work();
      return !state.busy;
    },
    repair: async () => void looks++,
    changedAt: () => state.changedAt,
    desired: () => desired,
    events: (onEvent) => {
      listener = onEvent;
      return () => undefined;
    },
    clock: systemClock,
  });
  timer.start();
  try {
    await use({ looks: () => looks, tell: (news) => listener({ ...event, ...news }), state });
  } finally {
    await timer.stop();
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('when to look for drift', () => {
  it('looks at once, and once, when the kernel tells of changes while nothing of ours is under way', () =>
    withTimer(async ({ looks, tell }) => {
      for (let i = 0; i < 20; i++) tell({});
      await until(() => looks() === 1);
      await pause(300);
      expect(looks()).toBe(1);
    }));

  it('does not look for what we did ourselves', () =>
    withTimer(async ({ looks, tell, state }) => {
      state.changedAt = systemClock.monotonic();
      tell({});
      tell({ isLoss: true, words: ['wfb2'] });
      await pause(400);
      expect(looks()).toBe(0);
    }));

  it('looks for what a task has lost, also just after we have changed something', () =>
    withTimer(async ({ looks, tell, state }) => {
      state.changedAt = systemClock.monotonic();
      const ofTask = { isNode: false, kind: 'route' } as const;
      tell({ ...ofTask, words: ['default'] });
      tell({ ...ofTask, words: ['10.1.0.0/24'], isLoss: true });
      await pause(400);
      expect(looks()).toBe(0);
      tell({ ...ofTask, words: ['default'], isLoss: true });
      await until(() => looks() === 1);
    }));

  it('looks while we are at work for what should be there and is gone, and for what somebody else did for certain', () =>
    withTimer(async ({ looks, tell, state }) => {
      state.changedAt = systemClock.monotonic();
      tell({ isLoss: true });
      await until(() => looks() === 1);
      state.changedAt = systemClock.monotonic();
      state.busy = true;
      tell({ isForeign: true });
      await pause(400);
      expect(looks()).toBe(1);
      state.busy = false;
      await until(() => looks() === 2);
    }));
});
