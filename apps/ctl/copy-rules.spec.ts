import { checkPlaces, destinationOf, readPlace } from './copy-rules.js';

test.each([
  ['-', { kind: 'stream' }],
  ['web:/etc', { kind: 'container', who: 'web', path: '/etc' }],
  ['shop-web-1:etc/x', { kind: 'container', who: 'shop-web-1', path: '/etc/x' }],
  ['./a:b', { kind: 'local', path: './a:b' }],
  ['/a:b', { kind: 'local', path: '/a:b' }],
  ['plain', { kind: 'local', path: 'plain' }],
])('%s', (text, place) => expect(readPlace(text)).toEqual(place));

const file = { kind: 'file' as const, path: 'dir/f.txt' };
const directory = { kind: 'directory' as const, path: 'dir' };
const content = { kind: 'directory' as const, path: 'dir/.' };

test.each([
  ['a file into a directory', file, '/srv', 'directory', { directory: '/srv', as: 'f.txt' }],
  ['a file over a file', file, '/srv/old', 'file', { directory: '/srv', as: 'old' }],
  ['a file under a new name', file, '/srv/new', undefined, { directory: '/srv', as: 'new' }],
  ['a file in the directory here', file, 'new', undefined, { directory: '.', as: 'new' }],
  ['a directory into a directory', directory, '/srv/', 'directory', { directory: '/srv/', as: 'dir' }],
  ['its content into a directory', content, '/srv', 'directory', { directory: '/srv', as: '' }],
  ['a directory under a new name', directory, '/srv/new', undefined, { directory: '/srv', as: 'new' }],
  ['its content under a new name', content, '/srv/new/.', undefined, { directory: '/srv', as: 'new' }],
] as const)('%s', (_, source, path, there, expected) => expect(destinationOf(source, path, there)).toEqual(expected));

test.each([
  ['a directory over a file', directory, '/srv/f', 'file', 'CONFLICT'],
  ['a file below a file', file, '/srv/f/', 'file', 'CONFLICT'],
  ['a file into a directory that is not there', file, '/srv/none/', undefined, 'NOT_FOUND'],
] as const)('refuses %s', (_, source, path, there, code) =>
  expect(() => destinationOf(source, path, there)).toThrow(expect.objectContaining({ code })),
);

test('one end is in a container, the other is not', () => {
  expect(checkPlaces(readPlace('web:/a'), readPlace('-'))).toBe('out');
  expect(checkPlaces(readPlace('a'), readPlace('web:/a'))).toBe('in');
  expect(() => checkPlaces(readPlace('a'), readPlace('b'))).toThrow(expect.objectContaining({ code: 'USAGE' }));
  expect(() => checkPlaces(readPlace('web:/a'), readPlace('db:/b'))).toThrow(expect.objectContaining({ code: 'USAGE' }));
});
