import { formatPlatform, hostPlatform, parseConfig, parseManifest, selectPlatform } from './image-config.js';
import type { Descriptor } from './image-config.js';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const descriptor = (changes: Partial<Descriptor> = {}): Descriptor => ({ mediaType: 'm', digest: DIGEST, size: 1, ...changes });
const HOST = { os: 'linux', architecture: 'amd64' };

test('a config as Go writes it, with null for what is empty', () => {
  const config = parseConfig(
    bytes({
      os: 'linux',
      architecture: 'amd64',
      config: { User: '', Env: null, Cmd: ['x'], Entrypoint: null },
      rootfs: { type: 'layers', diff_ids: null },
    }),
    'c',
  );
  expect(config).toEqual({ platform: { os: 'linux', architecture: 'amd64' }, env: [], entrypoint: [], cmd: ['x'], diffIds: [] });
});

test('index and manifest are told apart by what they hold', () => {
  expect(parseManifest(bytes({ manifests: [descriptor()] }), 'm')).toHaveProperty('index');
  expect(parseManifest(bytes({ config: descriptor(), layers: [] }), 'm')).toHaveProperty('manifest');
});

test.each([
  '',
  'null',
  '[]',
  '{}',
  '{"manifests":{}}',
  { config: descriptor(), layers: [descriptor({ digest: 'sha256:../../x' })] },
  { config: descriptor(), layers: [descriptor({ size: -1 })] },
  { config: descriptor(), layers: [{ digest: DIGEST, size: 1.5 }] },
  Buffer.from([0xff, 0xfe]).toString('latin1'),
])('%j is refused', (value) => {
  expect(() => parseManifest(bytes(value), 'm')).toThrow(expect.objectContaining({ code: 'IMAGE_INVALID' }));
});

test('the entry for this platform', () => {
  const arm = descriptor({ platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } });
  const amd = descriptor({ platform: HOST });
  expect(selectPlatform([arm, amd], HOST)).toBe(amd);
  expect(selectPlatform([arm], HOST)).toBeUndefined();
  const bare = descriptor();
  expect(selectPlatform([bare], HOST)).toBe(bare);
  expect(selectPlatform([bare, arm], HOST)).toBeUndefined();
  expect(selectPlatform([], HOST)).toBeUndefined();
});

test('names of platforms', () => {
  expect(formatPlatform({ os: 'linux', architecture: 'arm', variant: 'v7' })).toBe('linux/arm/v7');
  expect([hostPlatform('x64'), hostPlatform('arm64')].map(formatPlatform)).toEqual(['linux/amd64', 'linux/arm64']);
});
