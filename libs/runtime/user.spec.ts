import { resolveGroups, resolveUser, withGroups } from './user.js';

const PASSWD =
  'root:x:0:0::/root:/bin/sh\n# remark\nweb:x:33:34::/:/bin/false\n1234:x:77:78::/:/\nbroken\nnoid:x:x:1::/:/\r\nlast:x:90:91::/:/';
const GROUP = 'root:x:0:\nweb:x:34:\nssl:x:50:web,last\nlog:x:40:last,web\nroots:x:60:root\n1234:x:99:\n';
const resolve = (text?: string) => {
  const { uid, gid, additionalGids } = resolveUser(text, PASSWD, GROUP);
  return [uid, gid, additionalGids];
};

test.each<[string | undefined, unknown[]]>([
  [undefined, [0, 0, [60]]],
  ['', [0, 0, [60]]],
  ['web', [33, 34, [40, 50]]],
  ['33', [33, 34, [40, 50]]],
  ['last', [90, 91, [40, 50]]],
  ['web:ssl', [33, 50, []]],
  ['web:7', [33, 7, []]],
  [':log', [0, 40, []]],
  ['5000', [5000, 0, []]],
  ['5000:6000', [5000, 6000, []]],
  ['4294967294', [4294967294, 0, []]],
])('%s', (text, expected) => {
  expect(resolve(text)).toEqual(expected);
});

test('a name of digits is a name first', () => {
  expect(resolve('1234')).toEqual([77, 78, []]);
  expect(resolve('0:1234')).toEqual([0, 99, []]);
});

test.each(['nobody', 'noid', 'web:nogroup', 'a:b:c', '-1', '4294967295', '99999999999', 'web\n', '0x10'])('%j is refused', (text) => {
  expect(() => resolve(text)).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }));
});

test('an image without the files has root and numbers', () => {
  expect(resolveUser(undefined, '', '')).toEqual({ uid: 0, gid: 0, additionalGids: [] });
  expect(resolveUser('7:8', '', '')).toEqual({ uid: 7, gid: 8, additionalGids: [] });
});

test('further groups: names of the file, or numbers', () => {
  expect(resolveGroups(['ssl', '1234', '4711'], GROUP)).toEqual([50, 99, 4711]);
  expect(resolveGroups(undefined, GROUP)).toEqual([]);
  expect(() => resolveGroups(['nobody-here'], GROUP)).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }));
  expect(withGroups({ uid: 1, gid: 2, additionalGids: [3] }, [3, 4])).toEqual({ uid: 1, gid: 2, additionalGids: [3, 4] });
});
