import { linkedSignal } from './linked-signal.js';

describe('a linked signal', () => {
  const sources = () => [new AbortController(), new AbortController()] as const;

  it.each([0, 1] as const)('is aborted with source %d, for its reason', (which) => {
    const both = sources();
    const { signal } = linkedSignal(both[0].signal, both[1].signal);
    expect(signal.aborted).toBe(false);
    const heard: unknown[] = [];
    signal.addEventListener('abort', () => heard.push(signal.reason));
    both[which].abort('enough');
    both[1 - which]?.abort('late');
    expect(heard).toEqual(['enough']);
  });

  it('is aborted at once where a source is', () => {
    const [a, b] = sources();
    b.abort('before');
    expect(linkedSignal(a.signal, b.signal).signal).toMatchObject({ aborted: true, reason: 'before' });
  });

  it('hears nothing once it let go', () => {
    const [a, b] = sources();
    const { signal, unlink } = linkedSignal(a.signal, b.signal);
    unlink();
    a.abort();
    expect(signal.aborted).toBe(false);
  });
});
