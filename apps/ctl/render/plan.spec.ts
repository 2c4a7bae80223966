import { changesNothing, planRows, planText } from './plan.js';

const keep = { action: 'keep', kind: 'service', name: 'db', details: [] };
const change = { action: 'change', kind: 'service', name: 'web', details: ['replicas: 1 → 2', 'deploy.labels changed (a)'] };

it('tells what changes, and counts what stays', () => {
  expect(planText([change, keep], false)).toBe('~ change service web: replicas: 1 → 2; deploy.labels changed (a)\n1 thing unchanged\n');
  expect(planText([keep], false)).toBe('nothing to change\n');
});

it('as a whole names what stays, too', () => {
  expect(planText([change, keep], false, true)).toBe(
    '~ change service web: replicas: 1 → 2; deploy.labels changed (a)\n= keep service db\n',
  );
  expect([planText([keep], false, true), changesNothing([keep])]).toEqual(['= keep service db\nnothing to change\n', true]);
});

it('is rows for programs', () =>
  expect(planRows([change])).toEqual([
    { action: 'change', kind: 'service', name: 'web', details: 'replicas: 1 → 2; deploy.labels changed (a)' },
  ]));
