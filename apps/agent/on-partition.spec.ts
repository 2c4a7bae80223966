import type { Task } from '#model/task.js';
import { until } from './spec-kit.js';
import { a, b, state, strangeSteps, verbs, withRig } from './tasks-rig.contract.js';

afterEach(() => expect(strangeSteps.splice(0)).toEqual([]));

describe('the tasks loop of a node that is cut off', () => {
  it('stops what stops on partition while its node is cut off, and starts it again without counting', () =>
    withRig(async (rig) => {
      const fenced: Task = { ...a, onPartition: 'stop' };
      rig.want(fenced, b);
      await until(() => state(rig, a) === 'running' && state(rig, b) === 'running');
      rig.contact.set('cut off');
      await until(() => state(rig, a) === 'restarting');
      expect(rig.board.get(a.id)?.message).toBe('stopped, as its node was cut off (on-partition: stop)');
      expect((await rig.runtime.list()).map((c) => c.id)).toEqual([b.id]);
      rig.contact.set('heard');
      await until(() => state(rig, a) === 'running');
      expect(rig.board.get(a.id)?.restarts).toBe(0);
      expect(verbs(rig, a)).toEqual(['create', 'start', 'stop', 'remove', 'recreate', 'start']);
      expect(verbs(rig, b)).toEqual(['create', 'start']);
    }));

  it('does not start what was being made when its node was cut off', () =>
    withRig(async (rig) => {
      let go: () => void = () => undefined;
      const wired = new Promise<void>((resolve) => (go = resolve));
      rig.network.ready = async () => {
        await wired;
        return '/run/netns/x';
      };
      rig.want({ ...a, onPartition: 'stop' });
      await until(() => verbs(rig, a).includes('create'));
      rig.contact.set('cut off');
      go();
      await until(() => state(rig, a) === 'failed');
      expect(verbs(rig, a)).not.toContain('start');
      rig.contact.set('heard');
      await until(() => state(rig, a) === 'running');
    }));

  it('a drain has no time where its node is cut off', () =>
    withRig(async (rig) => {
      const fenced: Task = { ...a, onPartition: 'stop' };
      rig.want(fenced);
      await until(() => state(rig, a) === 'running');
      rig.want({ ...fenced, desired: 'stop', drainMs: 3_600_000 });
      await until(() => rig.board.get(a.id)?.message === 'draining');
      rig.contact.set('cut off');
      await until(() => state(rig, a) === 'stopped');
    }));
});
