import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { seenIn } from './observe.js';

describe('what `ip` says of a namespace', () => {
  const four = '[]\n[]\n[]\n[]\n';

  it('is nothing of namespaces on a host that has made none since it started (no /run/netns)', () => {
    expect(seenIn(NODE_NAMESPACE, four).taskNamespaces).toEqual(new Map());
    const names = [
      { name: 'weft-0123456789ab', id: 3 },
      { name: 'other', id: 4 },
    ];
    expect(seenIn(NODE_NAMESPACE, `${four}${JSON.stringify(names)}\n`).taskNamespaces).toEqual(new Map([[3, 'weft-0123456789ab']]));
  });

  it('is refused where answers are missing, or are too many', () => {
    expect(() => seenIn(NODE_NAMESPACE, '[]\n[]\n[]\n')).toThrow('3 answers to 5 questions');
    expect(() => seenIn('weft-0123456789ab', `${four}[]\n`)).toThrow('5 answers to 4 questions');
  });
});
