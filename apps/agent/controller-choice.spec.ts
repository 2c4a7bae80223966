import { systemClock } from '#base/clock.js';
import { ControllerChoice, knownControllers } from './controller-choice.js';

describe('the choice of a controller', () => {
  const all = ['10.0.0.1:7700', '10.0.0.2:7700', '10.0.0.3:7700'];
  let now = 0;
  const clock = { ...systemClock, monotonic: () => now };

  it('takes its own host last, and what failed lately after what did not', () => {
    const choice = new ControllerChoice('10.0.0.1', clock, () => 0.5);
    const first = choice.next(all).target ?? '';
    expect(first).not.toBe('10.0.0.1:7700');
    choice.failed(first);
    const second = choice.next(all).target ?? '';
    expect([first, '10.0.0.1:7700']).not.toContain(second);
    now += 10;
    choice.failed(second);
    expect(choice.next(all).target).toBe('10.0.0.1:7700');
    now += 10;
    choice.failed('10.0.0.1:7700');
    // All failed: the one that failed longest ago.
    expect(choice.next(all).target).toBe(first);
    now += 120_000;
    expect(choice.next(all).target).not.toBe('10.0.0.1:7700');
    expect(choice.next([]).target).toBeUndefined();
  });

  it('asks one that fell silent once more, where there are others', () => {
    const choice = new ControllerChoice('10.0.0.9', clock, () => 0.5);
    const first = choice.next(all).target ?? '';
    choice.fellSilent(first);
    expect(choice.next(all)).toEqual({ target: first, isOnceMore: true });
    choice.failed(first);
    expect(choice.next(all)).toEqual({ target: expect.not.stringContaining(first) as string, isOnceMore: false });
    choice.fellSilent(first);
    expect(choice.next([first])).toEqual({ target: first, isOnceMore: false });
    choice.fellSilent('10.0.0.4:7700');
    expect(choice.next(all).isOnceMore).toBe(false);
  });

  it('spreads the agents', () => {
    const chosen = new Set(Array.from({ length: 50 }, () => new ControllerChoice('10.0.0.9', clock).next(all).target));
    expect(chosen.size).toBe(3);
  });

  it('knows the controllers of the view and those it was told of, each once', () => {
    const member = { id: 'c1', name: 'c1', address: '10.0.0.2', kind: 'controller', port: 7700 } as const;
    const node = { id: 'n1', name: 'n1', address: '10.0.0.9', kind: 'node', index: 1 } as const;
    expect(knownControllers([member, node], ['10.0.0.1:7700', '10.0.0.2:7700'])).toEqual(['10.0.0.2:7700', '10.0.0.1:7700']);
  });
});
