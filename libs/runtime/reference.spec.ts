import fc from 'fast-check';
import { formatReference, normalizeReference, parseReference } from './reference.js';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

test.each([
  ['busybox', 'docker.io/library/busybox:latest'],
  ['busybox:1.36', 'docker.io/library/busybox:1.36'],
  // Without a path it is a name, not a registry.
  ['ghcr.io', 'docker.io/library/ghcr.io:latest'],
  ['team/app', 'docker.io/team/app:latest'],
  ['docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/team/app:1', 'docker.io/team/app:1'],
  ['ghcr.io/team/app:V1.2-rc_3', 'ghcr.io/team/app:V1.2-rc_3'],
  ['localhost/app', 'localhost/app:latest'],
  ['localhost:5000/app:1', 'localhost:5000/app:1'],
  ['127.0.0.1:5000/a/b/c', '127.0.0.1:5000/a/b/c:latest'],
  ['[::1]:5000/app', '[::1]:5000/app:latest'],
  ['Registry/app', 'Registry/app:latest'],
  [`busybox@${DIGEST}`, `docker.io/library/busybox@${DIGEST}`],
  [`busybox:1@${DIGEST}`, `docker.io/library/busybox:1@${DIGEST}`],
  ['a__b/c--d.e', 'docker.io/a__b/c--d.e:latest'],
])('%s means %s', (text, whole) => {
  expect(normalizeReference(text)).toBe(whole);
});

test.each([
  '',
  'Busybox',
  'a b',
  'busybox\n',
  'busybox:1\n2',
  'busybox:',
  'busybox:-x',
  `busybox:${'x'.repeat(129)}`,
  'busybox@sha256:12',
  `busybox@sha512:${'0'.repeat(128)}`,
  `busybox@${DIGEST}@${DIGEST}`,
  `busybox@${DIGEST.toUpperCase()}`,
  'a//b',
  '/a',
  'a/',
  '../a',
  'a/../b',
  'ghcr.io/',
  'http://ghcr.io/a',
  'user@host/a',
  'ghcr.io:abc/a',
  '-x',
  '--flag',
  'a___b',
  '0'.repeat(64),
  `${'a'.repeat(250)}/b`,
])('%j is refused', (text) => {
  expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'BAD_NAME' }));
});

test('the whole form means itself, and has nothing that a shell or a header could stumble over', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ab0.-_/:@A \n[]') }), (text) => {
      let whole: string;
      try {
        whole = normalizeReference(text);
      } catch {
        return;
      }
      expect(normalizeReference(whole)).toBe(whole);
      expect(formatReference(parseReference(whole))).toBe(whole);
      expect(whole).toMatch(/^[A-Za-z0-9._:/@[\]-]+$/);
    }),
    { numRuns: 2000 },
  );
});
