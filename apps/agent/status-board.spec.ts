import { ManualClock } from '#base/manual-clock.js';
import { StatusBoard, type StatusUpdate } from './status-board.js';

const said = (taskId: string, update: Partial<StatusUpdate> = {}): StatusUpdate => ({
  taskId,
  state: 'running',
  message: '',
  restarts: 0,
  ...update,
});

describe('the board of statuses', () => {
  const board = () => new StatusBoard('aaaaaaaa', new ManualClock());

  it('is settled while no task is on its way: one that failed for good is on none', () => {
    const b = board();
    b.set(said('a'));
    b.set(said('b', { state: 'failed' }));
    expect(b.isSettled).toBe(true);
    b.set(said('b', { state: 'failed', nextTryAt: 5 }));
    expect(b.isSettled).toBe(false);
  });

  it.each<[string, Partial<StatusUpdate>]>([
    ['its process ended', { state: 'restarting' }],
    ['it failed for good', { state: 'failed' }],
    ['it is unhealthy', { health: 'unhealthy' }],
  ])('is urgent when a task that served serves no more (%s), until that is taken', (_, after) => {
    const b = board();
    b.set(said('a', { health: 'healthy' }));
    b.set(said('b'));
    expect(b.isUrgent).toBe(false);
    b.set(said('a', after));
    expect(b.isUrgent).toBe(true);
    b.take(1);
    expect(b.isUrgent).toBe(true);
    b.take(1);
    expect(b.isUrgent).toBe(false);
  });

  it('is not urgent when a task that never served fails, or everything was said at once', () => {
    const b = board();
    b.set(said('a', { state: 'starting' }));
    b.set(said('a', { state: 'failed', nextTryAt: 9 }));
    expect(b.isUrgent).toBe(false);
    b.set(said('a'));
    b.set(said('a', { state: 'restarting' }));
    b.allHeard();
    expect(b.isUrgent).toBe(false);
  });
});
