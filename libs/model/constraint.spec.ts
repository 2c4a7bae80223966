import { meets, parseConstraint, type NodeAttributes } from './constraint.js';

const node: NodeAttributes = {
  id: 'ab12',
  hostnames: ['n1', 'host-1'],
  role: 'worker',
  os: 'linux',
  arch: 'amd64',
  address: '192.0.2.7',
  labels: { disk: 'ssd' },
};

function holds(text: string): boolean {
  const parsed = parseConstraint(text);
  if (!parsed.ok) throw new Error(parsed.why);
  return meets(node, parsed.constraint);
}

describe('constraints', () => {
  it.each([
    ['node.id == ab12', true],
    ['node.hostname==N1', true],
    ['node.hostname == host-1', true],
    ['node.hostname != host-1', false],
    ['node.role == manager', false],
    ['node.role != manager', true],
    ['node.platform.os == linux', true],
    ['node.platform.arch == x86_64', true],
    ['node.platform.arch == arm64', false],
    ['node.ip == 192.0.2.0/24', true],
    ['node.ip != 192.0.2.7', false],
    ['node.labels.disk == ssd', true],
    ['node.labels.disk != ssd', false],
    ['node.labels.zone == a', false],
    ['node.labels.zone != a', true],
  ])('%s: %s', (text, wanted) => expect(holds(text)).toBe(wanted));

  it.each([
    ['node.labels.disk', /expected ATTRIBUTE/],
    ['node.labels.disk = ssd', /expected ATTRIBUTE/],
    ['node.size == 4', /no attribute node.size/],
    ['engine.labels.x == y', /no attribute/],
    ['node.id ==', /value is missing/],
    ['node.role == boss', /manager or worker/],
    ['node.ip == 10.0.0', /neither an address/],
  ])('%s is refused', (text, why) => expect(parseConstraint(text)).toEqual({ ok: false, why: expect.stringMatching(why) as string }));
});
